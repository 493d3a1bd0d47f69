"""Pictures as H.264 yuv420p, which browsers and phones play."""

from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

BT709 = 1  # primaries, transfer and matrix all have this number in ITU-T H.273
PLAYED = 36_864  # macroblocks of 16 x 16 in a frame of level 5.2, the last that most players know (Annex A)
LARGEST = 139_264  # of level 6.2, the last there is


def note_on_size(size: tuple[int, int]) -> str | None:
    """A line for the user where frames of `size` (H, W) are larger than most players take."""
    H, W = size
    blocks = -(-H // 16) * -(-W // 16)
    if blocks <= PLAYED:
        return None
    level = "level 6 of H.264" if blocks <= LARGEST else "more than any level of H.264 has"
    return (
        f"frames of {W} x {H} pixels take {level}, which many players and browsers do not show; "
        "a smaller portrait, at most 4096 x 2304, plays everywhere"
    )


def h264_stream(
    output: av.container.OutputContainer, shape: tuple[int, ...], rate: Fraction, time_base: Fraction
) -> av.VideoStream:
    """A stream for pictures of (H, W, 3), odd sizes made even."""
    stream = output.add_stream("libx264", rate=rate, options={"crf": "18"})
    context = stream.codec_context
    context.height, context.width = (n + n % 2 for n in shape[:2])
    context.pix_fmt = "yuv420p"
    context.time_base = time_base
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = ColorRange.MPEG
    return stream


def to_frame(image: np.ndarray) -> av.VideoFrame:
    """(H, W, 3) uint8 RGB, its last row or column repeated where the size is odd."""
    H, W, _ = image.shape
    even = np.pad(image, ((0, H % 2), (0, W % 2), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
