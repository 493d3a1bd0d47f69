# SPDX-License-Identifier: Apache-2.0
"""`fv2v render`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.edit_options import VideoEditOptions
from fv2v.cli.motion_options import MotionOptions
from fv2v.cli.options import ModelOptions, OwnCoefficients, Portrait, PortraitOptions, ViewOptions
from fv2v.cli.output_options import Compare, Sound, SpanOptions, VideoOutput

MotionFile = Annotated[
    Path,
    typer.Argument(
        metavar="MOTION",
        help="What `fv2v extract` wrote; LivePortrait's .pkl, for its preset; 3DMM coefficients, 25 rows a "
        "second, for SadTalker's; or .fv2v.",
        show_default=False,
    ),
]


def render(
    portrait: Portrait,
    motion: MotionFile,
    film: VideoOutput,
    span: SpanOptions,
    model: ModelOptions,
    transfer: MotionOptions,
    view: ViewOptions,
    editing: VideoEditOptions,
    faces: PortraitOptions,
    source_coefficients: OwnCoefficients = None,
    sound: Sound = None,
    compare: Compare = False,
) -> None:
    """Move PORTRAIT by MOTION from a file, and write the video: a frame for each of its frames."""
    from fv2v.cli.progress import frame_progress, print_report
    from fv2v.pipelines.render import render as run

    with frame_progress() as progress:
        report = run(
            portrait,
            motion,
            film.path(),
            source_coefficients=source_coefficients,
            sound=sound,
            compare=compare,
            **span.span_arguments(),
            **film.encoding_arguments(),
            view=view.view(),
            still=editing.still,
            progress=progress,
            **editing.keywords(motion if motion.suffix.lower() != ".fv2v" else None),
            **faces.face_arguments(),
            **transfer.animation_arguments(),
            **model.reenactor_arguments(),
        )
    print_report(report)
