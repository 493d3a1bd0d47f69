# SPDX-License-Identifier: Apache-2.0
"""What is written, and of which part of a film or of motion."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fv2v.cli.pipe import PIPE
from fv2v.cli.printable import printable

Video = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="What to write: .mp4, .mov, .mkv, .webm, .gif. Also .m4v or .webp; or for PNGs a new folder, or "
        "a pattern, as out/%04d.png.",
        show_default=False,
    ),
]
NamedVideo = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="What to write, SOURCE--DRIVING.mp4 by default: .mp4, .mov, .mkv, .webm, .gif. Also .m4v or "
        ".webp; or for PNGs a new folder, or a pattern, as out/%04d.png.",
        show_default=False,
    ),
]
Picture = Annotated[
    Path,
    typer.Option("--output", "-o", help="Picture to write: .png, .jpg or .webp.", show_default=False),
]
Sound = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|driving|source|none",
        help="Sound that goes along. Of a video or sound file, of DRIVING (the default, where it has any; "
        "motion has none, but for .fv2v), of a film that is moved, or none.",
        show_default=False,
    ),
]
Compare = Annotated[bool, typer.Option("--compare", help="Portrait, driver and result side by side.")]
Codec = Annotated[
    str | None,
    typer.Option(
        metavar="libx264|libopenh264|vp9|av1|prores",
        help="How the film is encoded. Where FFmpeg has it: H.264 by x264 (GPL), the default, or OpenH264, "
        "VP9, the default of .webm, AV1, or ProRes 4444, for .mov. In hardware, where the machine has it: "
        "h264_nvenc, h264_amf, h264_qsv, h264_videotoolbox, and the same with hevc for H.265.",
        show_default=False,
    ),
]
Crf = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        help="Constant quality, 0 the finest. Of x264 and in hardware to 51, 18 or 19 by default; of VP9 "
        "and AV1 to 63, 24 by default.",
        show_default=False,
    ),
]
EncoderPreset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|NUMBER",
        help="Speed for size. Of x264 ultrafast to placebo, of VP9 0 to 8, of AV1 0 to 13, the fastest; of "
        "h264_nvenc p7 to p1.",
        show_default=False,
    ),
]
Frames = Annotated[
    int | None,
    typer.Option("--frames", "-n", help="Stop after so many frames; the sound is cut to match."),
]
Start = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS|H:M:S",
        help="Begin there, counted from the first frame; the sound is cut to match. Frame numbers and rows "
        "of other options count from there.",
        show_default=False,
    ),
]
End = Annotated[
    str | None, typer.Option(metavar="SECONDS|H:M:S", help="Stop there; as --start.", show_default=False)
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace what --output names. Without it, what is there already stays, and the command ends.",
    ),
]
KeepPartial = Annotated[
    bool,
    typer.Option(
        "--keep-partial",
        help="Ctrl-C leaves the film so far. It is out.partial.mp4, its sound cut to match; SIGTERM does the "
        "same. Without it Ctrl-C asks, on a terminal.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on where this command was cut short. Give it from the first time on: it keeps the pictures "
        "that are made in out.mp4.resume, without loss, until the film is whole. Of other inputs or options "
        "they are made anew.",
    ),
]


@dataclass(frozen=True)
class SpanOptions:
    """Which part of a film or of motion is taken."""

    start: Start = None
    end: End = None
    frames: Frames = None

    def span_arguments(self) -> dict[str, Any]:
        """These options, as `fv2v.reenact` takes them."""
        start, end = seconds("start", self.start), seconds("end", self.end)
        return {"start": start, "end": end, "frames": self.frames}


@dataclass(frozen=True)
class VideoOutput:
    """The film that is written."""

    output: Video
    overwrite: Overwrite = False
    codec: Codec = None
    crf: Crf = None
    encoder_preset: EncoderPreset = None
    keep_partial: KeepPartial = False
    resume: Resume = False

    def path(self) -> Path:
        """The file's name, which is free or may be taken."""
        return free_name(self.output, self.overwrite)

    def encoding_arguments(self) -> dict[str, Any]:
        """How it is encoded, as `fv2v.reenact` takes it."""
        return {"codec": self.codec, "crf": self.crf, "encoder_preset": self.encoder_preset}


@dataclass(frozen=True)
class NamedOutput(VideoOutput):
    """The film that is written."""

    output: NamedVideo = None  # type: ignore[assignment]  # never None where a command reads it: `named`

    def named(self, source: Path, driving: Path) -> "NamedOutput":
        """With a name: without --output one of both in the working folder, which a line on stderr tells."""
        if self.output is not None:
            return self
        from fv2v.pipelines.kinds import PICTURE, kind_of

        still = driving != PIPE and kind_of(driving) == PICTURE
        name = Path(f"{_short(source)}--{_short(driving)}{'.png' if still else '.mp4'}")
        typer.echo(f"fv2v: no --output: writes {printable(str(name))}", err=True)
        return replace(self, output=name)


@dataclass(frozen=True)
class PictureOutput:
    """The picture that is written."""

    output: Picture
    overwrite: Overwrite = False

    def path(self) -> Path:
        """The file's name, which is free or may be taken."""
        return free_name(self.output, self.overwrite)


def _short(path: Path) -> str:
    """What a file is called without its ending; of a pattern its folder's name."""
    if path == PIPE:
        return "stdin"
    return path.absolute().parent.name if "%" in path.name else path.absolute().stem


def free_name(output: Path, overwrite: bool) -> Path:
    """`output`; ValueError where a file of that name is there and must not be replaced."""
    if output.is_file() and not overwrite:
        raise ValueError(f"{output}: is there already; choose another name, or replace it with --overwrite")
    return output


def seconds(name: str, value: str | None) -> float | None:
    """The value of `--start`: seconds, or hours, minutes and seconds with colons between them."""
    if value is None:
        return None
    parts = value.split(":")
    try:
        *whole, last = parts
        numbers = [*map(int, whole), float(last)]
        if len(parts) > 3 or not min(numbers) >= 0 or max(numbers[1:], default=0) >= 60:
            raise ValueError
    except ValueError:
        raise ValueError(f"--{name}: expected seconds, or h:m:s as 1:02:03.5; got {value!r}") from None
    return sum(number * 60**power for power, number in enumerate(reversed(numbers)))
