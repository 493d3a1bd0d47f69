"""The command that draws what a model does."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.options import (
    Crop,
    Device,
    DrivingFace,
    Dtype,
    Face,
    OwnCoefficients,
    Picture,
    Portrait,
    Preset,
    Relative,
    Weights,
    the_face,
    the_preset,
    the_weights,
)

Driving = Annotated[
    Path,
    typer.Argument(
        metavar="DRIVING",
        help="Picture or video of the face whose motion is taken; for SadTalker its coefficients.",
        show_default=False,
    ),
]
FrameNumbers = Annotated[
    list[int] | None,
    typer.Option(
        "--frame",
        "-n",
        metavar="NUMBER",
        help="A frame of DRIVING to show, counted from 0; may be given more than once. By default three of "
        "its first two seconds.",
    ),
]


def inspect(
    portrait: Portrait,
    driving: Driving,
    output: Picture,
    weights: Weights = None,
    preset: Preset = None,
    source_coefficients: OwnCoefficients = None,
    frame: FrameNumbers = None,
    relative: Relative = None,
    crop: Crop = True,
    face: Face = "1",
    driving_face: DrivingFace = "1",
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Draw what the model makes of PORTRAIT and DRIVING: keypoints, masks, deformation, occlusion, views."""
    from fv2v.pipelines.inspect import inspect as run

    untrained = "vox-256" if source_coefficients is None else "sadtalker-256"
    written = run(
        portrait,
        driving,
        output,
        the_preset(preset, weights, untrained, ships=source_coefficients is None),
        weights=the_weights(weights),
        source_coefficients=source_coefficients,
        frames=frame or (),
        relative=relative,
        crop=crop,
        face=the_face(face),
        driving_face=the_face(driving_face),
        device=device,
        dtype=dtype,
    )
    typer.echo(f"{written}: written")
