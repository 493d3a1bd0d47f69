# SPDX-License-Identifier: Apache-2.0
"""`fv2v reenact`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.edit_options import VideoEditOptions
from fv2v.cli.motion_options import Lost, MotionOptions
from fv2v.cli.options import (
    Codec,
    FaceOptions,
    Frames,
    ModelOptions,
    Portrait,
    Strict,
    Video,
    ViewOptions,
)
from fv2v.jobs.call import Call

Driving = Annotated[
    Path,
    typer.Argument(metavar="DRIVING", help="Video of the face whose motion is taken.", show_default=False),
]


def reenact(
    portrait: Portrait,
    driving: Driving,
    output: Video,
    model: ModelOptions,
    motion: MotionOptions,
    view: ViewOptions,
    editing: VideoEditOptions,
    faces: FaceOptions,
    frames: Frames = None,
    strict: Strict = False,
    lost: Lost = "hold",
    codec: Codec = "libx264",
) -> Call:
    """Move PORTRAIT as the face in DRIVING moves, and write the video: same frames, time stamps and sound."""
    from fv2v.pipelines.reenact import reenact as run

    arguments = {
        "portrait": portrait,
        "driving": driving,
        "output": output,
        "view": view.view(),
        "still": editing.still,
        "frames": frames,
        "strict": strict,
        "lost": lost,
        "codec": codec,
        **editing.keywords(),
        **faces.face_arguments(),
        **motion.animation_arguments(),
    }
    return Call(run, model.reenactor_arguments(), arguments)
