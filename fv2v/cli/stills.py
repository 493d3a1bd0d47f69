# SPDX-License-Identifier: Apache-2.0
"""`fv2v imitate` and `fv2v frontalize`: one picture made of a portrait."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.edit_options import EditOptions
from fv2v.cli.options import FaceOptions, ModelOptions, PictureOptions, Portrait, PortraitOptions, ViewOptions
from fv2v.cli.output_options import PictureOutput

Driving = Annotated[
    Path,
    typer.Argument(
        metavar="DRIVING", help="Picture of the face whose expression is taken.", show_default=False
    ),
]


def imitate(
    portrait: Portrait,
    driving: Driving,
    output: PictureOutput,
    model: ModelOptions,
    transfer: PictureOptions,
    view: ViewOptions,
    editing: EditOptions,
    faces: FaceOptions,
) -> None:
    """Give PORTRAIT the expression of the face in the picture DRIVING."""
    from fv2v.cli.progress import print_notes
    from fv2v.pipelines.stills import imitate as run

    report = run(
        portrait,
        driving,
        output.path(),
        view=view.view(),
        edit=editing.edit(),
        **faces.face_arguments(),
        **transfer.animation_arguments(),
        **model.reenactor_arguments(),
    )
    typer.echo(f"{report.output}: written")
    print_notes(report)


def frontalize(
    portrait: Portrait, output: PictureOutput, model: ModelOptions, faces: PortraitOptions
) -> None:
    """Turn the face in PORTRAIT to the front."""
    from fv2v.cli.progress import print_notes
    from fv2v.pipelines.stills import frontalize as run

    report = run(portrait, output.path(), **faces.face_arguments(), **model.reenactor_arguments())
    typer.echo(f"{report.output}: written")
    print_notes(report)
