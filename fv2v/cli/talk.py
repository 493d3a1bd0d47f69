# SPDX-License-Identifier: Apache-2.0
"""`fv2v talk`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.options import BatchSize, ModelOptions, Portrait, PortraitOptions
from fv2v.cli.output_options import Sound, SpanOptions, VideoOutput
from fv2v.jobs.call import Call

DEGREES, WALK = (
    "DEGREES",
    "one angle in place of the driver's, or several to walk through, as -30,0,30; 90 at most.",
)

Coefficients = Annotated[
    Path,
    typer.Argument(
        metavar="COEFFICIENTS",
        help="The driver's 3DMM coefficients: SadTalker's .mat, or .npy or .npz; a row a frame.",
        show_default=False,
    ),
]
SourceCoefficients = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The portrait's own coefficients, which are needed; the first row counts.",
        show_default=False,
    ),
]
Still = Annotated[
    bool, typer.Option("--still", help="Hold the head where the portrait has it; only the face moves.")
]
ExpressionScale = Annotated[float, typer.Option(help="How strong the driver's expression is.")]
Yaw = Annotated[str | None, typer.Option(metavar=DEGREES, help=f"Turn of the head: {WALK}")]
Pitch = Annotated[str | None, typer.Option(metavar=DEGREES, help=f"Nod of the head: {WALK}")]
Roll = Annotated[str | None, typer.Option(metavar=DEGREES, help=f"Tilt of the head: {WALK}")]
Fps = Annotated[float, typer.Option(help="Frames a second.")]


def talk(
    portrait: Portrait,
    coefficients: Coefficients,
    film: VideoOutput,
    span: SpanOptions,
    model: ModelOptions,
    faces: PortraitOptions,
    source_coefficients: SourceCoefficients = None,
    still: Still = False,
    expression_scale: ExpressionScale = 1.0,
    yaw: Yaw = None,
    pitch: Pitch = None,
    roll: Roll = None,
    fps: Fps = 25.0,
    sound: Sound = None,
    batch_size: BatchSize = 1,
) -> Call:
    """Move PORTRAIT by 3DMM COEFFICIENTS, as SadTalker does, and write the video: a frame a row."""
    from fv2v.pipelines.talk import talk as run

    arguments = {
        "portrait": portrait,
        "coefficients": coefficients,
        "output": film.path(),
        **span.span_arguments(),
        **film.encoding_arguments(),
        "source_coefficients": source_coefficients,
        "still": still,
        "expression_scale": expression_scale,
        "pitch": _degrees("pitch", pitch),
        "yaw": _degrees("yaw", yaw),
        "roll": _degrees("roll", roll),
        "fps": fps,
        "sound": sound,
        "batch_size": batch_size,
        **faces.face_arguments(),
    }
    return Call(run, model.reenactor_arguments(by_coefficients=True), arguments)


def _degrees(name: str, angles: str | None) -> list[float] | None:
    """The numbers of `--yaw -30,0,30`."""
    try:
        return None if angles is None else [float(angle) for angle in angles.split(",")]
    except ValueError:
        raise ValueError(f"--{name}: expected degrees, as 20 or -30,0,30; got {angles!r}") from None
