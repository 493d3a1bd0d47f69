# SPDX-License-Identifier: Apache-2.0
"""`fv2v render`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.edit_options import VideoEditOptions
from fv2v.cli.motion_options import MotionOptions
from fv2v.cli.options import ModelOptions, OwnCoefficients, Portrait, PortraitOptions, ViewOptions
from fv2v.cli.output_options import Compare, Sound, SpanOptions, VideoOutput
from fv2v.jobs.call import Call

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
) -> Call:
    """Move PORTRAIT by MOTION from a file, and write the video: a frame for each of its frames."""
    from fv2v.pipelines.render import render as run

    arguments = {
        "portrait": portrait,
        "motion": motion,
        "output": film.path(),
        "source_coefficients": source_coefficients,
        "sound": sound,
        "compare": compare,
        **span.span_arguments(),
        **film.encoding_arguments(),
        "view": view.view(),
        "still": editing.still,
        **editing.keywords(motion if motion.suffix.lower() != ".fv2v" else None),
        **faces.face_arguments(),
        **transfer.animation_arguments(),
    }
    return Call(run, model.reenactor_arguments(), arguments)
