# SPDX-License-Identifier: Apache-2.0
"""Encoders that are hardware, by FFmpeg's names: H.264 and H.265 of NVIDIA, AMD, Intel and Apple.

That FFmpeg has one says nothing of the machine: whether it is there shows when it is opened.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import cast

import av

SIDE = 256  # pixels; NVIDIA's take no less than some 150


@dataclass(frozen=True, slots=True)
class Maker:
    """What the encoders of one maker are told."""

    machine: str  # that has them
    told: dict[str, str]
    quality: tuple[str, ...] = ()  # options that hold a constant quality, 1 the finest to 51
    speed: str = ""  # the option that says how fast, and its values
    speeds: tuple[str, ...] = ()


MAKERS = {
    "nvenc": Maker(
        "an NVIDIA GPU with an encoder",
        {"rc": "vbr", "b": "0", "cq": "19"},
        ("cq",),
        "preset",
        tuple(f"p{i}" for i in range(1, 8)),
    ),
    "amf": Maker(
        "an AMD GPU",
        {"rc": "cqp", "qp_i": "19", "qp_p": "19"},
        ("qp_i", "qp_p"),
        "quality",
        ("speed", "balanced", "quality"),
    ),
    "qsv": Maker(
        "an Intel GPU",
        {"global_quality": "19"},
        ("global_quality",),
        "preset",
        ("veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"),
    ),
    "videotoolbox": Maker("a Mac", {}),
}
HARDWARE = {f"{kind}_{name}": maker for name, maker in MAKERS.items() for kind in ("h264", "hevc")}
FORMAT = "nv12"  # of the pixels that all of them take: yuv420p with U and V in turns


@cache
def opens(encoder: str) -> bool:
    """Whether this machine has it."""
    context = cast(av.VideoCodecContext, av.CodecContext.create(encoder, "w"))
    context.width = context.height = SIDE
    context.pix_fmt = FORMAT
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.options = dict(HARDWARE[encoder].told)
    try:
        context.open()
    except av.error.FFmpegError:
        return False
    return True
