# SPDX-License-Identifier: Apache-2.0
"""Pictures as video: the encoders that fv2v offers, of those that FFmpeg was built with."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from fv2v.io.hardware import FORMAT, HARDWARE, opens

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
    "gif": {"gif": {}},
    "webp": {"libwebp": {"quality": "90"}},
    "prores": {"prores_ks": {"profile": "4444"}},
    "png": {"png": {}},
    **{name: {name: maker.told} for name, maker in HARDWARE.items()},
}
FILMS = (".mp4", ".m4v", ".mov", ".mkv")  # what H.264 goes into
CONTAINERS = {
    "libx264": FILMS,
    "libopenh264": FILMS,
    "vp9": (".mp4", ".mkv", ".webm"),
    "av1": (".mp4", ".mkv", ".webm"),
    "gif": (".gif",),
    "webp": (".webp",),
    "png": (".png",),
    "prores": (".mov",),
    **{name: FILMS if name.startswith("h264") else (".mp4", ".mov", ".mkv") for name in HARDWARE},
}
TRANSPARENT = {  # codecs that hold opacity: the format of their pixels then, and where they do
    "vp9": ("yuva420p", (".mkv", ".webm")),
    "prores": ("yuva444p10le", (".mov",)),
    "gif": ("pal8", (".gif",)),
    "webp": ("bgra", (".webp",)),
    "png": ("rgba", (".png",)),
}
BY_SUFFIX = {".webm": "vp9", ".gif": "gif", ".webp": "webp", ".png": "png"}  # H.264 elsewhere
COARSEST = {"libx264": 51, "libvpx-vp9": 63, "libsvtav1": 63, "libaom-av1": 63}  # crf; the finest is 0
COARSEST |= {name: 51 for name, maker in HARDWARE.items() if maker.quality}
_X264 = "ultrafast superfast veryfast faster fast medium slow slower veryslow placebo"
SPEEDS: dict[str, tuple[str, list[str]]] = {  # FFmpeg's name of the option, and its values
    "libx264": ("preset", _X264.split()),
    "libvpx-vp9": ("cpu-used", [str(i) for i in range(9)]),
    "libsvtav1": ("preset", [str(i) for i in range(14)]),
    "libaom-av1": ("cpu-used", [str(i) for i in range(9)]),
    **{name: (maker.speed, [*maker.speeds]) for name, maker in HARDWARE.items()},
}
TICKS = {"gif": Fraction(1, 100), "webp": Fraction(1, 1000)}  # seconds, where the format has but one
PICTURES = {"gif": "pal8", "webp": "bgra", "png": "rgb24"}  # formats of pixels that halve no colours
# x264's look-ahead takes eight macroblocks of a row at once, and past its end reads memory that nobody wrote:
# the same frames then do not always give the same film. It makes films up to a third smaller, so only narrow
# ones go without
ROW, NARROW = 128, 256  # pixels
BITS = 0.2  # a pixel, for encoders that have no constant quality


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a film is encoded; what is left out is as the file's ending and the encoder have it."""

    codec: str | None = None  # a key of `ENCODERS`
    crf: int | None = None  # constant quality: 0 is the finest, x264's default here 18, VP9's and AV1's 24
    preset: str | None = None  # how fast: x264's names, SVT-AV1's 0 to 13, VP9's 0 to 8, NVIDIA's p1 to p7
    keyframes: int | None = None  # frames from one to the next at most; None: as the encoder has it

    def codec_of(self, path: Path) -> str:
        """The codec of the file `path`."""
        return self.codec or BY_SUFFIX.get(path.suffix.lower(), DEFAULT)

    def check(self, path: Path) -> None:
        """Check that a film can be written to `path` so.

        Raises:
            ValueError: no such codec, none in this FFmpeg or machine, or none for such a file; or options
                that it does not have.
        """
        codec = self.codec_of(path)
        present = [name for name in ENCODERS if _encoder(name)]
        if codec not in present:
            why = "this FFmpeg has no such encoder" if codec in ENCODERS else "unknown"
            raise ValueError(f"codec: expected one of {', '.join(present)}; got {codec!r} ({why})")
        suffixes = CONTAINERS[codec]
        if path.suffix.lower() not in suffixes:
            raise ValueError(f"{path}: {codec} goes into {' or '.join(suffixes)}, got {path.suffix!r}")
        encoder = _encoder(codec)
        coarsest = COARSEST.get(encoder)
        if self.crf is not None and not (coarsest and 0 <= self.crf <= coarsest):
            expected = f"0 to {coarsest} for {codec}" if coarsest else f"none: {codec} has no such option"
            raise ValueError(f"crf: expected {expected}, got {self.crf}")
        _, speeds = SPEEDS.get(encoder, ("", []))
        if self.preset is not None and self.preset not in speeds:
            expected = f"one of {', '.join(speeds)}" if speeds else f"none: {codec} has no such option"
            raise ValueError(f"encoder preset: expected {expected}; got {self.preset!r}")
        if codec in HARDWARE and not opens(codec):
            machine = HARDWARE[codec].machine
            raise ValueError(f"codec: {codec} cannot be opened here: expected {machine}, or another codec")
        if self.keyframes is not None and self.keyframes < 1:
            raise ValueError(
                f"keyframes: expected 1 frame or more from one to the next, got {self.keyframes}"
            )

    def holds_opacity(self, path: Path) -> bool:
        """Whether frames of that file may be transparent."""
        _, suffixes = TRANSPARENT.get(self.codec_of(path), ("", ()))
        return path.suffix.lower() in suffixes

    def is_h264(self, path: Path) -> bool:
        """Whether that file is H.264, however it is encoded."""
        codec = self.codec_of(path)
        return codec in ("libx264", "libopenh264") or codec.startswith("h264")

    def options(self, codec: str) -> dict[str, str]:
        """What the encoder of a codec is told."""
        encoder = _encoder(codec)
        options = dict(ENCODERS[codec][encoder])
        if self.crf is not None and codec in HARDWARE:
            options |= dict.fromkeys(HARDWARE[codec].quality, str(max(1, self.crf)))  # 0 is automatic
        elif self.crf is not None:
            options["crf"] = str(self.crf)
        if self.preset is not None:
            options[SPEEDS[encoder][0]] = self.preset
        if self.keyframes is not None:
            options["g"] = str(self.keyframes)
        return options


def note_on_opacity(path: Path, encoding: Encoding) -> str | None:
    """A line for the user where a transparent picture loses its opacity in that file."""
    if encoding.holds_opacity(path):
        return None
    return (
        f"what is transparent in the portrait is white: {encoding.codec_of(path)} in {path.suffix} holds no "
        "opacity; .webm (VP9), .webp, .gif, PNGs, and .mov with --codec prores do"
    )


def video_stream(
    output: av.container.OutputContainer,
    codec: str,
    options: dict[str, str],
    shape: tuple[int, ...],
    rate: Fraction,
    time_base: Fraction,
) -> av.VideoStream:
    """A stream for pictures of (H, W, 3 or 4); `options` as `Encoding.options` has them."""
    encoder = _encoder(codec)
    if encoder == "libwebp" and shape[2] == 4:  # else what is transparent shows the frame before
        encoder = "libwebp_anim"
    if encoder == "libsvtav1":  # it would write to stderr what it does, not errors alone
        os.environ.setdefault("SVT_LOG", "1")
    if encoder == "libx264" and shape[1] < NARROW and shape[1] % ROW:
        options = options | {"rc-lookahead": "0"}
    if encoder == "libvpx-vp9" and shape[2] == 4:
        options = options | {"auto-alt-ref": "0"}  # its frames that are not shown have no opacity
    stream = cast(av.VideoStream, output.add_stream(encoder, rate=rate, options=options))
    context = stream.codec_context
    context.time_base = time_base
    if codec in PICTURES:
        context.height, context.width = shape[:2]
        context.pix_fmt = _pixels(codec, shape)
        return stream
    context.height, context.width = (n + n % 2 for n in shape[:2])
    if encoder not in COARSEST and codec != "prores":
        context.bit_rate = round(BITS * context.height * context.width * rate)
    context.pix_fmt = FORMAT if codec in HARDWARE else _pixels(codec, shape)
    if codec.startswith("hevc") and output.format.name != "matroska":
        context.codec_tag = "hvc1"  # else Apple's players do not know it
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = ColorRange.MPEG
    return stream


def frame_maker(codec: str, shape: tuple[int, ...]) -> Callable[[np.ndarray], av.VideoFrame]:
    """What turns (H, W, 3) uint8 RGB, or RGBA, of that shape into the frames that a codec takes."""
    pixels = _pixels(codec, shape)
    if codec == "gif":
        return _Palettes(shape)
    if codec in PICTURES:
        return lambda image: _rgb(image).reformat(format=pixels)
    return lambda image: to_frame(image, pixels)


def _pixels(codec: str, shape: tuple[int, ...]) -> str:
    """FFmpeg's name of the format of pixels that pictures of (H, W, 3 or 4) are encoded in."""
    if shape[2] == 4:
        return TRANSPARENT[codec][0]
    return "yuv444p10le" if codec == "prores" else PICTURES.get(codec, "yuv420p")


class _Palettes:
    """GIF's frames: each has the 256 colours that suit it best."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._graph = graph = av.filter.Graph()
        H, W, channels = shape
        pixels = av.VideoFormat("rgba" if channels == 4 else "rgb24")
        source = graph.add_buffer(width=W, height=H, format=pixels, time_base=TICKS["gif"])
        split = graph.add("split")
        colours, use = graph.add("palettegen", "stats_mode=single"), graph.add("paletteuse", "new=1")
        sink = graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(colours, 1)
        colours.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        self._count = 0

    def __call__(self, image: np.ndarray) -> av.VideoFrame:
        frame = _rgb(image)
        frame.pts, self._count = self._count, self._count + 1
        self._graph.push(frame)
        return cast(av.VideoFrame, self._graph.pull())


def to_frame(image: np.ndarray, pixels: str = "yuv420p") -> av.VideoFrame:
    """(H, W, 3 or 4) uint8, its last row or column repeated where the size is odd."""
    H, W, _ = image.shape
    even = np.pad(image, ((0, H % 2), (0, W % 2), (0, 0)), mode="edge")
    return _rgb(even).reformat(
        format=pixels, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )


def _rgb(image: np.ndarray) -> av.VideoFrame:
    pixels = "rgba" if image.shape[2] == 4 else "rgb24"
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=pixels)


def _encoder(codec: str) -> str:
    """FFmpeg's name of the encoder; "" where it was built without one."""
    return next((name for name in ENCODERS[codec] if name in av.codecs_available), "")
