# SPDX-License-Identifier: Apache-2.0
"""`fv2v decode`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.motion_options import MotionOptions
from fv2v.cli.options import ModelOptions, ViewOptions
from fv2v.cli.output_options import Sound, SpanOptions, VideoOutput

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
) -> None:
    """Render the film that a .fv2v file stands for, with its time stamps and sound."""
    from fv2v.cli.progress import frame_progress, print_report
    from fv2v.pipelines.coded import decode as run

    with frame_progress() as progress:
        report = run(
            coded,
            film.path(),
            **span.span_arguments(),
            **film.encoding_arguments(),
            view=view.view(),
            sound=sound,
            progress=progress,
            **transfer.animation_arguments(),
            **model.reenactor_arguments(),
        )
    print_report(report)
