# SPDX-License-Identifier: Apache-2.0
"""`fv2v reenact`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.edit_options import VideoEditOptions
from fv2v.cli.motion_options import Lost, MotionOptions
from fv2v.cli.options import FaceOptions, ModelOptions, Portrait, Strict, ViewOptions
from fv2v.cli.output_options import SpanOptions, VideoOutput

Driving = Annotated[
    Path,
    typer.Argument(metavar="DRIVING", help="Video of the face whose motion is taken.", show_default=False),
]


def reenact(
    portrait: Portrait,
    driving: Driving,
    film: VideoOutput,
    span: SpanOptions,
    model: ModelOptions,
    motion: MotionOptions,
    view: ViewOptions,
    editing: VideoEditOptions,
    faces: FaceOptions,
    strict: Strict = False,
    lost: Lost = "hold",
) -> None:
    """Move PORTRAIT as the face in DRIVING moves, and write the video: same frames, time stamps and sound."""
    from fv2v.cli.progress import frame_progress, print_report
    from fv2v.pipelines.reenact import reenact as run

    with frame_progress() as progress:
        report = run(
            portrait,
            driving,
            film.path(),
            view=view.view(),
            still=editing.still,
            **span.span_arguments(),
            **film.encoding_arguments(),
            strict=strict,
            lost=lost,
            progress=progress,
            **editing.keywords(),
            **faces.face_arguments(),
            **motion.animation_arguments(),
            **model.reenactor_arguments(),
        )
    print_report(report)
