# SPDX-License-Identifier: Apache-2.0
"""`fv2v decode`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.motion_options import MotionOptions
from fv2v.cli.options import ModelOptions, ViewOptions
from fv2v.cli.output_options import Sound, SpanOptions, VideoOutput
from fv2v.jobs.call import Call

Coded = Annotated[
    Path, typer.Argument(metavar="CODED", help="What `fv2v encode` wrote: .fv2v.", show_default=False)
]


def decode(
    coded: Coded,
    film: VideoOutput,
    span: SpanOptions,
    model: ModelOptions,
    transfer: MotionOptions,
    view: ViewOptions,
    sound: Sound = None,
) -> Call:
    """Render the film that a .fv2v file stands for, with its time stamps and sound."""
    from fv2v.pipelines.coded import decode as run

    arguments = {
        "coded": coded,
        "output": film.path(),
        **span.span_arguments(),
        **film.encoding_arguments(),
        "view": view.view(),
        "sound": sound,
        **transfer.animation_arguments(),
    }
    return Call(run, model.reenactor_arguments(), arguments)
