# SPDX-License-Identifier: Apache-2.0
"""Pictures as video: the encoders that fv2v offers, of those that FFmpeg was built with."""

import os
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

BT709 = 1  # primaries, transfer and matrix all have this number in ITU-T H.273
DEFAULT = "libx264"
# FFmpeg's names of the encoders that serve, the first one there, and what they are told
ENCODERS: dict[str, dict[str, dict[str, str]]] = {
    "libx264": {"libx264": {"crf": "18"}},
    "libopenh264": {"libopenh264": {}},
    "vp9": {"libvpx-vp9": {"crf": "24", "b": "0", "cpu-used": "4", "row-mt": "1"}},
    "av1": {
        "libsvtav1": {"crf": "24", "preset": "8"},
        "libaom-av1": {"crf": "24", "b": "0", "cpu-used": "6", "row-mt": "1"},
    },
}
CONTAINERS = {"vp9": (".mp4", ".mkv"), "av1": (".mp4", ".mkv")}  # H.264 goes into all
SMALL = 64  # pixels a side; x264's look-ahead reads memory that nobody wrote in films smaller than this
BITS = 0.2  # a pixel, for libopenh264, which has no constant quality


def check_codec(codec: str, path: Path) -> None:
    """Check that a video in `codec`, a key of `ENCODERS`, can be written to `path`.

    Raises:
        ValueError: no such codec, none in this FFmpeg, or none for such a file.
    """
    present = [name for name in ENCODERS if _encoder(name)]
    if codec not in present:
        why = "this FFmpeg has no such encoder" if codec in ENCODERS else "unknown"
        raise ValueError(f"codec: expected one of {', '.join(present)}; got {codec!r} ({why})")
    suffixes = CONTAINERS.get(codec)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: {codec} goes into {' or '.join(suffixes)}, got {path.suffix!r}")


def video_stream(
    output: av.container.OutputContainer,
    codec: str,
    shape: tuple[int, ...],
    rate: Fraction,
    time_base: Fraction,
) -> av.VideoStream:
    """A stream for pictures of (H, W, 3), odd sizes made even; `codec` as `check_codec` takes it."""
    encoder = _encoder(codec)
    if encoder == "libsvtav1":  # it would write to stderr what it does, not errors alone
        os.environ.setdefault("SVT_LOG", "1")
    options = dict(ENCODERS[codec][encoder])
    if encoder == "libx264" and min(shape[:2]) < SMALL:
        options["rc-lookahead"] = "0"  # or the same frames would not always give the same bytes
    stream = cast(av.VideoStream, output.add_stream(encoder, rate=rate, options=options))
    context = stream.codec_context
    context.height, context.width = (n + n % 2 for n in shape[:2])
    if codec == "libopenh264":
        context.bit_rate = round(BITS * context.height * context.width * rate)
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


def _encoder(codec: str) -> str:
    """FFmpeg's name of the encoder; "" where it was built without one."""
    return next((name for name in ENCODERS[codec] if name in av.codecs_available), "")
