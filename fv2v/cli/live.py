# SPDX-License-Identifier: Apache-2.0
"""`fv2v live`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.notes import tell_waiting
from fv2v.cli.options import (
    Detector,
    DrivingFace,
    Face,
    ModelOptions,
    TransferOptions,
    ViewOptions,
    chosen_face,
)
from fv2v.cli.output_options import Overwrite, free_name
from fv2v.cli.printable import printable

Portraits = Annotated[
    list[Path],
    typer.Argument(
        metavar="PORTRAIT...",
        help="Pictures with a face: the first is shown, the key n shows the next.",
        show_default=False,
    ),
]
Camera = Annotated[
    str,
    typer.Option(
        "--camera", metavar="NUMBER|FILE", help="What moves the portrait: a camera's number, or a film."
    ),
]
Virtual = Annotated[
    bool,
    typer.Option(
        "--virtual",
        help="Show it as a virtual camera, for other programs, where pyvirtualcam is installed (GPL-2; no "
        "part of fv2v).",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="A film of what is shown, as .mp4.", show_default=False),
]
Crop = Annotated[
    bool,
    typer.Option(
        "--crop/--no-crop",
        help="Find the face in PORTRAIT; --no-crop takes its middle square. The camera's face is followed in "
        "any case.",
    ),
]
Seconds = Annotated[float | None, typer.Option(help="End after so many seconds.", show_default=False)]
Mirror = Annotated[bool, typer.Option("--mirror", help="Move as a mirror does.")]


def live(
    portraits: Portraits,
    model: ModelOptions,
    transfer: TransferOptions,
    view: ViewOptions,
    camera: Camera = "0",
    virtual: Virtual = False,
    output: Output = None,
    overwrite: Overwrite = False,
    seconds: Seconds = None,
    mirror: Mirror = False,
    crop: Crop = True,
    face: Face = "1",
    driving_face: DrivingFace = "1",
    detector: Detector = None,
) -> None:
    """Move PORTRAIT by a camera, in a window or as a virtual camera. Late frames are dropped."""
    from fv2v.live.play import play as run
    from fv2v.pipelines.model import ModelChoice

    chosen = ModelChoice(**model.reenactor_arguments())
    tell_waiting()
    try:
        report = run(
            portraits,
            camera,
            chosen,
            output=None if output is None else free_name(output, overwrite),
            virtual=virtual,
            seconds=seconds,
            crop=crop,
            face=chosen_face(face, detector),
            driving_face=chosen_face(driving_face, detector),
            mirror=mirror,
            tell=lambda line: typer.echo(f"fv2v: {printable(line)}", err=True),
            view=view.view(),
            steady=True,
            **transfer.animation_arguments(),
        )
    except KeyboardInterrupt:  # how it ends
        typer.echo("ended")
        return
    typer.echo(printable(str(report)))
