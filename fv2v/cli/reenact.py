# SPDX-License-Identifier: Apache-2.0
"""`fv2v reenact`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.edit_options import VideoEditOptions
from fv2v.cli.motion_options import Lost, MotionOptions
from fv2v.cli.options import FaceOptions, ModelOptions, OwnCoefficients, Strict, ViewOptions
from fv2v.cli.output_options import Compare, NamedOutput, Sound, SpanOptions
from fv2v.cli.pipe import PIPE, from_pipe
from fv2v.jobs.call import Call

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="Picture or film of the face that is moved; a folder or pattern of frames is a film.",
        show_default=False,
    ),
]
Driving = Annotated[
    Path,
    typer.Argument(
        metavar="DRIVING",
        help="What moves it: a film, a folder or pattern of frames, as frames/%04d.png; motion, as "
        "`fv2v render` takes it; a picture, of which a picture comes; or -, a film from a pipe.",
        show_default=False,
    ),
]


Fps = Annotated[
    float | None,
    typer.Option(help="Frames a second of folders, 25 by default.", show_default=False),
]


def reenact(
    portrait: Source,
    driving: Driving,
    film: NamedOutput,
    span: SpanOptions,
    model: ModelOptions,
    motion: MotionOptions,
    view: ViewOptions,
    editing: VideoEditOptions,
    faces: FaceOptions,
    sound: Sound = None,
    fps: Fps = None,
    compare: Compare = False,
    source_coefficients: OwnCoefficients = None,
    strict: Strict = False,
    lost: Lost = "hold",
) -> Call:
    """Move SOURCE as the face in DRIVING moves, and write the film: same frames, time stamps and sound."""
    from fv2v.pipelines.reenact import reenact as run

    if driving == PIPE and film.resume:
        raise ValueError("-: expected no --resume with a pipe, whose film cannot be known again")
    output = film.named(portrait, driving).path()
    driving = from_pipe(driving)
    arguments = {
        "portrait": portrait,
        "driving": driving,
        "output": output,
        "view": view.view(),
        "still": editing.still,
        **span.span_arguments(),
        **film.encoding_arguments(),
        "sound": sound,
        "fps": fps,
        "compare": compare,
        "source_coefficients": source_coefficients,
        "strict": strict,
        "lost": lost,
        **editing.keywords(driving if driving.suffix.lower() in (".npz", ".pkl") else None),
        **faces.face_arguments(),
        **motion.animation_arguments(),
    }
    return Call(run, model.reenactor_arguments(), arguments)
