# SPDX-License-Identifier: Apache-2.0
"""The options that edit motion between the driver and what is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:  # torch takes seconds to import, and `--help` should not
    from fv2v.motion.edit import Edit
    from fv2v.motion.ratios import Openness

DRIVER = "driver"
DRIVING_OPTIONS = ("expression-friendly", "pose-friendly")


@dataclass(frozen=True)
class EditOptions:
    """What is edited in a picture."""

    region: Annotated[
        str,
        typer.Option(
            metavar="all|expression|pose|lips|eyes",
            help="What of the driver's motion is taken; the rest stays the portrait's. lips, eyes: "
            "LivePortrait.",
        ),
    ] = "all"
    strength: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[GROUP=]NUMBER",
            help="How strong the driver's expression is. Of a group of keypoints, as lips=0.5 (LivePortrait: "
            "lips, eyes, brows) or 0,3,7=1.5 (`fv2v inspect` shows their numbers). May be given more than "
            "once.",
        ),
    ] = None
    multiplier: Annotated[
        float, typer.Option(help="How far keypoints move. Times the way from where the portrait has them.")
    ] = 1.0

    def edit_arguments(self) -> dict[str, Any]:
        """The fields of an `Edit`."""
        strength = _weights("strength", self.strength)
        return {"region": self.region, "strength": strength, "multiplier": self.multiplier}

    def edit(self) -> "Edit | None":
        """None where nothing is edited."""
        from fv2v.motion.edit import Edit

        edit = Edit(**self.edit_arguments())
        return None if edit == Edit() else edit


@dataclass(frozen=True)
class VideoEditOptions(EditOptions):
    """What is edited in a video."""

    still: Annotated[
        Path | None,
        typer.Option(metavar="PICTURE", help="Blend this face's expression into the driver's."),
    ] = None
    blend: Annotated[
        list[str] | None,
        typer.Option(metavar="[GROUP=]NUMBER", help="How much of --still, 0 to 1. Groups as for --strength."),
    ] = None
    eyes: Annotated[
        str | None,
        typer.Option(
            metavar=f"RATIO|{DRIVER}",
            help="LivePortrait: how far to open the eyes. Height over width, about 0 to 0.5, or as the "
            "driver's are. With --relative nothing else moves then, as in its release.",
        ),
    ] = None
    lips: Annotated[
        str | None,
        typer.Option(
            metavar=f"RATIO|{DRIVER}",
            help="LivePortrait: how far to open the lips. About 0 to 0.8; as --eyes.",
        ),
    ] = None
    portrait_open: Annotated[
        str | None,
        typer.Option(
            metavar="L,R,LIPS|FILE.npy",
            help="How far the portrait's eyes and lips are open. Left eye, right eye and lips, as "
            "0.31,0.29,0.02; or its 203 landmarks, (203, 2). For --eyes, --lips and --normalize-lips; "
            "LivePortrait's folder of weights may hold what finds them.",
        ),
    ] = None
    driving_open: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"The driver's landmarks, for {DRIVER!r}. A .npy of the driver's 203 landmarks, (T, 203, "
            "2), or those ratios, (T, 3); or a file of motion that holds them, as LivePortrait's templates "
            "do. By default `fv2v render` reads them from MOTION, and `fv2v reenact` as for --portrait-open.",
        ),
    ] = None
    normalize_lips: Annotated[
        bool,
        typer.Option(
            "--normalize-lips",
            help="LivePortrait: close the portrait's lips first. Where they are open, before it moves.",
        ),
    ] = False
    driving_option: Annotated[
        str,
        typer.Option(
            metavar="|".join(DRIVING_OPTIONS),
            help="LivePortrait's, changes nothing. Its release scales relative motion by 1.",
        ),
    ] = DRIVING_OPTIONS[0]

    def edit_arguments(self) -> dict[str, Any]:
        """The fields of an `Edit`; `still` is the caller's to fill in."""
        return super().edit_arguments() | {
            "blend": _weights("blend", self.blend),
            "eyes": _ratio("eyes", self.eyes),
            "lips": _ratio("lips", self.lips),
            "normalize_lips": self.normalize_lips,
            "portrait": _openness(self.portrait_open),
        }

    def keywords(self, motion: Path | None = None) -> dict[str, Any]:
        """`edit` or `edit_from`, as `fv2v.reenact` takes them: what the options leave open landmarks tell.

        `motion` is the file that tells how open the driver's eyes and lips are, where no other is given.
        """
        self._check()
        follows = DRIVER in (self.eyes, self.lips)
        if (self._starts and self.portrait_open is None) or (follows and not (self.driving_open or motion)):
            self.edit_arguments()  # each by itself, before faces are looked for
            return {"edit_from": partial(self.edits, motion)}
        return {"edit": self.edits(motion)}

    def edits(
        self,
        motion: Path | None = None,
        portrait: "Openness | None" = None,
        driver: "Sequence[Openness] | None" = None,
    ) -> "Edit | list[Edit] | None":
        """One for all frames or one a frame, as `AnimationOptions` takes them; None where nothing is edited.

        `portrait` and `driver`: how open their eyes and lips are, where no option tells.
        """
        self._check()
        from fv2v.motion.edit import Edit, following
        from fv2v.motion.ratios import read_openness

        arguments = self.edit_arguments()
        if self._starts and (arguments["portrait"] or portrait) is None:
            raise ValueError(
                "--eyes, --lips and --normalize-lips start from how open the portrait's eyes and lips are: "
                "expected --portrait-open, or --face with a file of 203 landmarks, or LivePortrait's folder "
                "of weights with the files that find them; got none"
            )
        edit = Edit(**arguments | {"portrait": arguments["portrait"] or portrait})
        if DRIVER not in (self.eyes, self.lips):
            return None if edit == Edit(portrait=edit.portrait) else edit
        if file := self.driving_open or motion:
            driver = read_openness(file)
        if driver is None:
            raise ValueError(
                f"--eyes {DRIVER} and --lips {DRIVER} need 203 landmarks of the driver's face in each frame: "
                "expected --driving-open or --driving-face, a file of them, or LivePortrait's folder of "
                "weights with the files that find them; got none"
            )
        return list(following(edit, driver, eyes=self.eyes == DRIVER, lips=self.lips == DRIVER))

    @property
    def _starts(self) -> bool:
        """Whether it starts from how open the portrait's eyes and lips are."""
        return self.eyes is not None or self.lips is not None or self.normalize_lips

    def _check(self) -> None:
        if self.driving_option not in DRIVING_OPTIONS:
            options = " or ".join(DRIVING_OPTIONS)
            raise ValueError(f"--driving-option: expected {options}, got {self.driving_option!r}")
        if self.blend and self.still is None:
            raise ValueError("--blend weighs the expression of --still: expected --still PICTURE, too")
        if self.driving_open is not None and DRIVER not in (self.eyes, self.lips):
            raise ValueError(
                f"--driving-open is followed by --eyes {DRIVER} and --lips {DRIVER}: expected both, got a "
                "file alone"
            )


def _openness(portrait_open: str | None) -> "Openness | None":
    """The value of `--portrait-open`."""
    from fv2v.motion.ratios import Openness, read_openness

    if portrait_open is None:
        return None
    numbers = portrait_open.split(",")
    if len(numbers) == 3:
        return Openness(*(_number("portrait-open", number) for number in numbers))
    return read_openness(portrait_open)[0]


def _ratio(name: str, value: str | None) -> float | None:
    """The number; None where the driver's ratios are followed."""
    return None if value is None or value == DRIVER else _number(name, value)


def _weights(name: str, values: list[str] | None) -> "float | dict[str | tuple[int, ...], float]":
    """A number for all keypoints, or one a group."""
    if not values:
        return 1.0
    if len(values) == 1 and "=" not in values[0]:
        return _number(name, values[0])
    weights: dict[str | tuple[int, ...], float] = {}
    for value in values:
        group, equals, number = value.partition("=")
        if not equals:
            raise ValueError(f"--{name}: expected one number for all, or groups, as lips=0.5; got {value!r}")
        members = group.split(",")
        numbered = all(member.strip().isdigit() for member in members)
        weights[tuple(map(int, members)) if numbered else group] = _number(name, number)
    return weights


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"--{name}: expected a number, got {value!r}") from None
