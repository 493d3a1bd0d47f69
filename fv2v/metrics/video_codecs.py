# SPDX-License-Identifier: Apache-2.0
"""Video codecs to compare with, through PyAV: one key frame, then predicted frames only."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from fv2v.io.encoders import to_frame

ENDLESS = "9999"  # frames between key frames: one at the start alone


@dataclass(frozen=True, slots=True)
class VideoCodec:
    """An encoder with its setting, and the decoder of what it makes."""

    encoder: str
    decoder: str
    options: dict[str, str]
    levels: tuple[int, ...]  # of `crf`, from fine to coarse

    @property
    def setting(self) -> str:
        """In words, for reports."""
        return " ".join(f"{name}={value}" for name, value in self.options.items())


CODECS = {
    "H.264": VideoCodec(
        "libx264", "h264", {"preset": "medium", "g": ENDLESS}, (18, 22, 26, 30, 34, 38, 42, 46, 51)
    ),
    "H.265": VideoCodec(
        "libx265",
        "hevc",
        {"preset": "medium", "g": ENDLESS, "x265-params": f"keyint={ENDLESS}:log-level=none"},
        (18, 22, 26, 30, 34, 38, 42, 46, 51),
    ),
    "VP9": VideoCodec(
        "libvpx-vp9",
        "vp9",
        {"deadline": "good", "cpu-used": "2", "b": "0", "g": ENDLESS},
        (20, 30, 40, 50, 63),
    ),
    "AV1": VideoCodec("libsvtav1", "libdav1d", {"preset": "6", "g": ENDLESS}, (25, 35, 45, 55, 63)),
}


@dataclass(frozen=True, slots=True)
class CodedVideo:
    sizes: list[int]  # bytes of each frame, headers of no container counted
    frames: list[np.ndarray]  # as decoded, (H, W, 3) uint8


def available() -> dict[str, VideoCodec]:
    """Those of CODECS that this build of FFmpeg encodes and decodes."""
    found = {}
    for name, codec in CODECS.items():
        try:
            av.Codec(codec.encoder, "w")
            av.Codec(codec.decoder, "r")
        except (av.error.FFmpegError, ValueError):
            continue
        found[name] = codec
    return found


def code_video(codec: VideoCodec, level: int, frames: Sequence[np.ndarray], fps: float) -> CodedVideo:
    """Encode frames (H, W, 3) uint8 at a level of `crf`, and decode them again."""
    H, W = frames[0].shape[:2]
    os.environ.setdefault("SVT_LOG", "1")  # errors alone: SVT-AV1 prints its settings otherwise
    encoder: Any = av.CodecContext.create(codec.encoder, "w")
    encoder.width, encoder.height, encoder.pix_fmt = W + W % 2, H + H % 2, "yuv420p"
    rate = Fraction(fps).limit_denominator(1000)
    encoder.time_base, encoder.framerate = 1 / rate, rate
    encoder.options = codec.options | {"crf": str(level)}
    packets = []
    for number, image in enumerate(frames):
        frame = to_frame(image)
        frame.pts, frame.time_base = number, 1 / rate
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    sizes = [0] * len(frames)
    for packet in packets:  # a frame that is shown again, or shown later, belongs to its time stamp
        sizes[min(max(packet.pts or 0, 0), len(frames) - 1)] += packet.size
    decoder: Any = av.CodecContext.create(codec.decoder, "r")
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)
    return CodedVideo(sizes, [_picture(frame)[:H, :W] for frame in decoded])


def _picture(frame: av.VideoFrame) -> np.ndarray:
    shown = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU709, src_color_range=ColorRange.MPEG)
    return shown.to_ndarray()
