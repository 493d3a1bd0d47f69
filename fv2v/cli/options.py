"""Arguments and options of the commands that run a model, and what `--help` says of them."""

from pathlib import Path
from typing import Annotated, Any

import typer

DEGREES, WALK = "DEGREES", "so many degrees in place of the driver's, or a walk through them, as -30,0,30."

Portrait = Annotated[
    Path, typer.Argument(metavar="PORTRAIT", help="Picture with the face to be shown.", show_default=False)
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        "-w",
        metavar="PATH|random",
        help="Trained weights: a release's .pth.tar, or the folder with its files, or our .safetensors; once "
        "a file for a release of several. `random` runs untrained ones, for timing and plumbing: the "
        "pictures are grey. Left out: the starter's, which ship and learned on drawn heads alone.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        "-p",
        help="Which model the weights are for (`fv2v info` lists them). Our .safetensors knows; a release is "
        "recognised; `random` needs it, and takes vox-256 (talk: sadtalker-256).",
    ),
]
Crop = Annotated[
    bool,
    typer.Option(
        "--crop/--no-crop",
        help="Find the face and cut a steady square around it. --no-crop takes the middle square as it is, "
        "for pictures and videos that are face crops already.",
    ),
]
Face = Annotated[
    str,
    typer.Option(
        "--face",
        metavar="N|FILE",
        help="Which face of PORTRAIT: 1 is the largest, 2 the next; or a file (.csv, .npy, .npz, .json) with "
        "its box (left, top, right, bottom) or its landmarks, by which the crop is turned upright.",
    ),
]
DrivingFace = Annotated[
    str,
    typer.Option(
        "--driving-face",
        metavar="N|FILE",
        help="Which face of DRIVING, as --face; in a file one for all frames, or one a frame.",
    ),
]
PasteBack = Annotated[
    bool,
    typer.Option(
        "--paste-back",
        help="Put the face back into the whole of PORTRAIT, at its full size, and write that.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda or cuda:1. By default the GPU where there is one."),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype", help="float32 is exact; float16 and bfloat16 are faster on a GPU and use half the memory."
    ),
]
Video = Annotated[
    Path,
    typer.Option("--output", "-o", help="Video to write: .mp4, .m4v, .mov or .mkv.", show_default=False),
]
BatchSize = Annotated[
    int,
    typer.Option(help="Frames rendered at once: more is faster on a GPU, and takes more of its memory."),
]
Driving = Annotated[
    Path,
    typer.Argument(metavar="DRIVING", help="Video of the face whose motion is taken.", show_default=False),
]
Relative = Annotated[
    bool | None,
    typer.Option(
        "--relative/--absolute",
        help="--relative adds the driver's movement since the first frame to the portrait's own pose, so "
        "the portrait keeps its place and build; --absolute takes the driver's pose as it is. By default "
        "what the preset's release does.",
        show_default=False,
    ),
]
Yaw = Annotated[float | None, typer.Option(help="Turn the head to its side by so many degrees.")]
Pitch = Annotated[float | None, typer.Option(help="Nod the head by so many degrees.")]
Roll = Annotated[float | None, typer.Option(help="Tilt the head by so many degrees.")]
ViewMode = Annotated[
    str,
    typer.Option(
        metavar="compose|replace",
        help="compose turns the head by those angles from where the driver has it; replace holds it at them.",
    ),
]
AdaptScale = Annotated[
    bool,
    typer.Option(
        "--adapt-scale",
        help="With --relative: scale the driver's movement to the portrait's size of face.",
    ),
]
Frames = Annotated[
    int | None,
    typer.Option("--frames", "-n", help="Stop after so many frames; the sound is cut to match."),
]
Coefficients = Annotated[
    Path,
    typer.Argument(
        metavar="COEFFICIENTS",
        help="The driver's 3DMM coefficients: SadTalker's .mat, or .npy or .npz; a row a frame.",
        show_default=False,
    ),
]
SourceCoefficients = Annotated[
    Path,
    typer.Option(metavar="FILE", help="The portrait's own; its first row counts.", show_default=False),
]
Still = Annotated[
    bool, typer.Option("--still", help="Hold the head where the portrait has it; only the face moves.")
]
ExpressionScale = Annotated[float, typer.Option(help="How strong the driver's expression is.")]
YawWalk = Annotated[str | None, typer.Option(metavar=DEGREES, help=f"Turn of the head: {WALK}")]
PitchWalk = Annotated[str | None, typer.Option(metavar=DEGREES, help=f"Nod of the head: {WALK}")]
RollWalk = Annotated[str | None, typer.Option(metavar=DEGREES, help=f"Tilt of the head: {WALK}")]
Fps = Annotated[float, typer.Option(help="Frames a second.")]
Stitch = Annotated[
    bool,
    typer.Option(
        "--stitch/--no-stitch",
        help="LivePortrait: fit the moved head to the neck and shoulders of the portrait.",
    ),
]
Steady = Annotated[
    bool,
    typer.Option("--steady", help="Take the tremor out of the driver's motion; a turn comes a frame late."),
]
Driver = Annotated[
    Path,
    typer.Argument(
        metavar="DRIVING",
        help="Video of the face whose motion is taken; for SadTalker's presets 3DMM coefficients, 25 rows "
        "a second.",
        show_default=False,
    ),
]
MotionInput = Annotated[
    Path,
    typer.Argument(
        metavar="MOTION",
        help="What `fv2v extract` wrote; LivePortrait's .pkl, for its preset; or 3DMM coefficients, 25 rows "
        "a second, for SadTalker's.",
        show_default=False,
    ),
]
MotionOutput = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Motion to write: .npz, numpy's arrays; or .pkl, a motion template of LivePortrait, from its "
        "preset and at a constant rate.",
        show_default=False,
    ),
]
OwnCoefficients = Annotated[
    Path | None,
    typer.Option(
        "--source-coefficients",
        metavar="FILE",
        help="The portrait's own 3DMM coefficients, where the preset reads them; the first row counts.",
        show_default=False,
    ),
]
Sound = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Video or sound that the output's sound is taken from; motion has none.",
        show_default=False,
    ),
]
DrivingPicture = Annotated[
    Path,
    typer.Argument(
        metavar="DRIVING", help="Picture of the face whose expression is taken.", show_default=False
    ),
]
Picture = Annotated[
    Path,
    typer.Option("--output", "-o", help="Picture to write: .png, .jpg or .webp.", show_default=False),
]
RelativePicture = Annotated[
    bool | None,
    typer.Option(
        "--relative/--absolute",
        help="--relative (LivePortrait, and its default) takes the expression against lips at rest and keeps "
        "the portrait's pose; --absolute takes the driver's pose as well.",
        show_default=False,
    ),
]


def the_weights(given: list[str] | None) -> str | list[str] | None:
    """What `Weights` says, as `Reenactor` takes it."""
    return given[0] if given and len(given) == 1 else given


def the_preset(
    preset: str | None, weights: list[str] | None, untrained: str = "vox-256", *, ships: bool = True
) -> str | None:
    """What `Preset` says. Where it says nothing random weights are `untrained`; none, where `ships`, those
    that come along, and a line says so.
    """
    if preset or weights or not ships:
        return preset or (untrained if weights == ["random"] else None)
    from fv2v.checkpoints import STARTER_NOTE

    typer.echo(f"fv2v: {STARTER_NOTE}", err=True)
    return "starter"


def the_face(given: str) -> int | str:
    """What `Face` says, as `framing.choose_face` takes it: a number, or a file's name."""
    return int(given) if given.removeprefix("-").isdecimal() else given


def the_view(pitch: float | None, yaw: float | None, roll: float | None, mode: str) -> Any:
    """The `View` that `Pitch`, `Yaw`, `Roll` and `ViewMode` ask for, if any."""
    from fv2v.geometry import View

    view = View(pitch=pitch, yaw=yaw, roll=roll, mode=mode)  # also refuses a mode there is not
    return view if any(angle is not None for angle in view.angles) else None
