# SPDX-License-Identifier: Apache-2.0
"""`fv2v extract`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.crop_options import CropOptions
from fv2v.cli.motion_options import Lost
from fv2v.cli.options import (
    BatchSize,
    Detector,
    DrivingFace,
    ModelOptions,
    OwnCoefficients,
    Strict,
    chosen_face,
)
from fv2v.cli.output_options import Overwrite, SpanOptions, free_name

Driving = Annotated[
    Path,
    typer.Argument(
        metavar="DRIVING",
        help="Video of the face whose motion is taken; for SadTalker's presets 3DMM coefficients, 25 rows "
        "a second.",
        show_default=False,
    ),
]
MotionFile = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Motion to write: .npz, numpy's arrays; or .pkl, a motion template of LivePortrait, from its "
        "preset and at a constant rate.",
        show_default=False,
    ),
]


def extract(
    driving: Driving,
    output: MotionFile,
    model: ModelOptions,
    span: SpanOptions,
    cropping: CropOptions,
    source_coefficients: OwnCoefficients = None,
    strict: Strict = False,
    lost: Lost = "hold",
    driving_face: DrivingFace = "1",
    detector: Detector = None,
    batch_size: BatchSize = 1,
    overwrite: Overwrite = False,
) -> None:
    """Keep the motion of the face in DRIVING in a file, for `fv2v render`: time stamps with it, no sound."""
    from fv2v.cli.progress import frame_progress, print_report
    from fv2v.pipelines.extract import extract as run

    with frame_progress() as progress:
        report = run(
            driving,
            free_name(output, overwrite),
            source_coefficients=source_coefficients,
            **span.span_arguments(),
            strict=strict,
            lost=lost,
            crop=cropping.crops(driver_alone=True),
            driving_face=chosen_face(driving_face, detector),
            batch_size=batch_size,
            progress=progress,
            **model.reenactor_arguments(),
        )
    print_report(report, "; without sound, which fv2v render takes with --sound")
