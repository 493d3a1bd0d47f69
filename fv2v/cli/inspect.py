# SPDX-License-Identifier: Apache-2.0
"""`fv2v inspect`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.crop_options import CropOptions
from fv2v.cli.options import (
    Detector,
    DrivingFace,
    Face,
    ModelOptions,
    OwnCoefficients,
    Portrait,
    Relative,
    chosen_face,
)
from fv2v.cli.output_options import PictureOutput

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
    output: PictureOutput,
    model: ModelOptions,
    cropping: CropOptions,
    source_coefficients: OwnCoefficients = None,
    frame: FrameNumbers = None,
    relative: Relative = None,
    face: Face = "1",
    driving_face: DrivingFace = "1",
    detector: Detector = None,
) -> None:
    """Draw what the model makes of PORTRAIT and DRIVING: keypoints, masks, deformation, occlusion, views."""
    from fv2v.cli.progress import print_notes
    from fv2v.pipelines.inspect import inspect as run

    report = run(
        portrait,
        driving,
        output.path(),
        source_coefficients=source_coefficients,
        frames=frame or (),
        relative=relative,
        crop=cropping.crops(),
        face=chosen_face(face, detector),
        driving_face=chosen_face(driving_face, detector),
        **model.reenactor_arguments(by_coefficients=source_coefficients is not None),
    )
    typer.echo(f"{report.output}: written")
    print_notes(report)
