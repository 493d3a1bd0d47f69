# SPDX-License-Identifier: Apache-2.0
"""Whose faces are cut out of pictures and films, and how."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # OpenCV need not be imported for `--help`
    from fv2v.face.cropping import CropChoice, Numbers

WHOSE = ("source", "driving", "both", "none")
TRUTHS = {"true": "both", "false": "none"}  # as rows of `fv2v batch` may have it


@dataclass(frozen=True)
class CropOptions:
    """Whose faces are cut out, and how."""

    crop: Annotated[
        str,
        typer.Option(
            "--crop",
            metavar="source|driving|none",
            help="Whose face is cut out (--no-crop: none). It is found, and a steady square cut around it; "
            "of what is not cut the middle square is taken as it is, for face crops. --crop alone is both.",
        ),
    ] = "both"
    crop_scale: Annotated[
        str | None,
        typer.Option(
            "--crop-scale",
            metavar="SCALE[,SCALE]",
            help="The square's side, of the portrait and, after a comma, of the driver. In sides of what "
            "landmarks of the face span, 2.3,2.2 by default, as in LivePortrait; else of the detector's box, "
            "1.9 by default.",
            hidden=True,
            show_default=False,
        ),
    ] = None
    crop_shift: Annotated[
        str | None,
        typer.Option(
            "--crop-shift",
            metavar="SHIFT[,SHIFT]",
            help="How far the square moves down the face, in its own sides; negative is up. By default "
            "-0.125,-0.1 with landmarks, as in LivePortrait, else what keeps it in the picture.",
            hidden=True,
            show_default=False,
        ),
    ] = None
    no_rotate: Annotated[
        bool,
        typer.Option(
            "--no-rotate",
            help="Leave the portrait's square upright. By default it turns with the face, where landmarks "
            "tell how it is tilted.",
            hidden=True,
        ),
    ] = False

    def crops(self, *, driver_alone: bool = False, source_max_side: int | None = None) -> "CropChoice":
        """These options, as `fv2v.reenact` takes them; with `driver_alone` one number is the driver's."""
        from fv2v.face.cropping import CropChoice

        return CropChoice(
            TRUTHS.get(self.crop.lower(), self.crop),
            _numbers("crop-scale", self.crop_scale, driver_alone),
            _numbers("crop-shift", self.crop_shift, driver_alone),
            not self.no_rotate,
            source_max_side,
        )


def with_whose(words: Sequence[str]) -> Iterator[str]:
    """Words of a command line: `--crop` may stand alone, for both, and `--no-crop` for none."""
    ended = False
    for word, after in zip(words, [*words, ""][1:], strict=True):
        ended = ended or word == "--"
        if not ended and word == "--no-crop":
            yield "--crop=none"
        elif not ended and word == "--crop" and after not in WHOSE:
            yield "--crop=both"
        else:
            yield word


def _numbers(name: str, value: str | None, driver_alone: bool) -> "Numbers":
    """The value of `--crop-scale 2.3,2.2`."""
    try:
        numbers = [] if value is None else [float(number) for number in value.split(",")]
    except ValueError:
        numbers = [0.0] * 3
    match numbers:
        case []:
            return None
        case [number]:
            return (None, number) if driver_alone else number
        case [source, driving]:
            return source, driving
    raise ValueError(f"--{name}: expected one number, or two, as 2.3,2.2; got {value!r}")
