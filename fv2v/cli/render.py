# SPDX-License-Identifier: Apache-2.0
"""`fv2v render`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.edit_options import VideoEditOptions
from fv2v.cli.motion_options import MotionOptions
from fv2v.cli.options import (
    Codec,
    ModelOptions,
    OwnCoefficients,
    Portrait,
    PortraitOptions,
    Sound,
    Video,
    ViewOptions,
)
from fv2v.jobs.call import Call

MotionFile = Annotated[
    Path,
    typer.Argument(
        metavar="MOTION",
        help="What `fv2v extract` wrote; LivePortrait's .pkl, for its preset; or 3DMM coefficients, 25 rows "
        "a second, for SadTalker's.",
        show_default=False,
    ),
]


def render(
    portrait: Portrait,
    motion: MotionFile,
    output: Video,
    model: ModelOptions,
    transfer: MotionOptions,
    view: ViewOptions,
    editing: VideoEditOptions,
    faces: PortraitOptions,
    source_coefficients: OwnCoefficients = None,
    sound: Sound = None,
    codec: Codec = "libx264",
) -> Call:
    """Move PORTRAIT by MOTION from a file, and write the video: a frame for each of its frames."""
    from fv2v.pipelines.render import render as run

    arguments = {
        "portrait": portrait,
        "motion": motion,
        "output": output,
        "source_coefficients": source_coefficients,
        "sound": sound,
        "view": view.view(),
        "still": editing.still,
        "codec": codec,
        **editing.keywords(motion),
        **faces.face_arguments(),
        **transfer.animation_arguments(),
    }
    return Call(run, model.reenactor_arguments(), arguments)
