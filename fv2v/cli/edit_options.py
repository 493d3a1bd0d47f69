"""Options that edit motion, of the commands that take motion from a driver."""

from pathlib import Path
from typing import Annotated, Any

import typer

DRIVER = "driver"

Region = Annotated[
    str,
    typer.Option(
        metavar="all|expression|pose|lips|eyes",
        help="What of the driver's motion is taken; the rest stays the portrait's. lips, eyes: LivePortrait.",
    ),
]
Strength = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[GROUP=]NUMBER",
        help="How strong the driver's expression is; of a group of keypoints, as lips=0.5 (LivePortrait: "
        "lips, eyes, brows) or 0,3,7=1.5 (`fv2v inspect` shows their numbers). May be given more than once.",
    ),
]
StillPicture = Annotated[
    Path | None,
    typer.Option(metavar="PICTURE", help="Blend the expression of this face into the driver's."),
]
Blend = Annotated[
    list[str] | None,
    typer.Option(metavar="[GROUP=]NUMBER", help="How much of it, 0 to 1; groups as for --strength."),
]
Multiplier = Annotated[float, typer.Option(help="How far keypoints move from where the portrait has them.")]
Eyes = Annotated[
    str | None,
    typer.Option(
        metavar=f"RATIO|{DRIVER}",
        help="LivePortrait: open the eyes so far, height over width, about 0 to 0.5, or as the driver's are. "
        "With --relative nothing else moves then, as in its release.",
    ),
]
Lips = Annotated[
    str | None,
    typer.Option(
        metavar=f"RATIO|{DRIVER}", help="LivePortrait: open the lips so far, about 0 to 0.8; as --eyes."
    ),
]
PortraitOpen = Annotated[
    str | None,
    typer.Option(
        metavar="L,R,LIPS|FILE.npy",
        help="How far the portrait's left eye, right eye and lips are open, as 0.31,0.29,0.02; or its 203 "
        "landmarks, (203, 2). For --eyes, --lips and --normalize-lips.",
    ),
]
DrivingOpen = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=f"For {DRIVER!r}: a .npy of the driver's 203 landmarks, (T, 203, 2), or those ratios, (T, 3); "
        "or motion that tells them, as LivePortrait's templates do. `fv2v render` looks in MOTION.",
    ),
]
NormalizeLips = Annotated[
    bool,
    typer.Option("--normalize-lips", help="LivePortrait: close open lips of the portrait before it moves."),
]
DrivingOption = Annotated[
    str,
    typer.Option(
        metavar="expression-friendly|pose-friendly",
        help="LivePortrait's option, which changes nothing: its release scales relative motion by 1.",
    ),
]


def the_edit(
    region: str,
    strength: list[str] | None,
    multiplier: float,
    *,
    still: Path | None = None,
    blend: list[str] | None = None,
    eyes: str | None = None,
    lips: str | None = None,
    portrait_open: str | None = None,
    driving_open: Path | None = None,
    motion: Path | None = None,
    normalize_lips: bool = False,
    driving_option: str = "expression-friendly",
) -> Any:
    """What the options say, as `Reenactor.animate` takes it: None, an `Edit`, or one a frame.

    `motion` is the file that tells what `driving_open` does where that is left out.
    """
    from fv2v.motion.edit import Edit, following
    from fv2v.motion.ratios import read_openness

    if blend and still is None:
        raise ValueError("--blend says how much of a still expression counts: expected --still PICTURE, too")
    follows = DRIVER in (eyes, lips)
    if follows and driving_open is None:
        driving_open = motion
    if follows != (driving_open is not None):
        raise ValueError(
            f"--eyes {DRIVER} and --lips {DRIVER} follow --driving-open, a file of the driver's landmarks or "
            f"ratios: expected both, got {'no file' if follows else 'a file alone'}"
        )
    edit = Edit(
        region=region,
        strength=_weights("strength", strength),
        blend=_weights("blend", blend),
        multiplier=multiplier,
        eyes=_ratio("eyes", eyes),
        lips=_ratio("lips", lips),
        normalize_lips=normalize_lips,
        portrait=_openness(portrait_open),
    )
    if driving_open is None:
        return None if edit == Edit() else edit
    followed = following(edit, read_openness(driving_open), eyes=eyes == DRIVER, lips=lips == DRIVER)
    return list(followed)


def _openness(given: str | None) -> Any:
    from fv2v.motion.ratios import Openness, read_openness

    if given is None:
        return None
    numbers = given.split(",")
    if len(numbers) == 3:
        return Openness(*(_number("portrait-open", number) for number in numbers))
    return read_openness(given)[0]


def _ratio(name: str, given: str | None) -> float | None:
    """None for the driver's: `following` says then."""
    if given is None or given == DRIVER:
        return None
    return _number(name, given)


def _weights(name: str, given: list[str] | None) -> Any:
    """A number for all, or one a group."""
    if not given:
        return 1.0
    if len(given) == 1 and "=" not in given[0]:
        return _number(name, given[0])
    weights: dict[Any, float] = {}
    for each in given:
        group, equals, number = each.partition("=")
        if not equals:
            raise ValueError(f"--{name}: expected one number for all, or groups, as lips=0.5; got {each!r}")
        members = group.split(",")
        numbered = all(member.strip().isdigit() for member in members)
        weights[tuple(map(int, members)) if numbered else group] = _number(name, number)
    return weights


def _number(name: str, given: str) -> float:
    try:
        return float(given)
    except ValueError:
        raise ValueError(f"--{name}: expected a number, got {given!r}") from None
