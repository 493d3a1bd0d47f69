# SPDX-License-Identifier: Apache-2.0
"""`fv2v convert`."""

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    list[Path],
    typer.Argument(
        metavar="SOURCE...",
        help="A release's file, its files or the folder with them, or a .safetensors of ours.",
        show_default=False,
    ),
]
Target = Annotated[
    Path,
    typer.Argument(
        metavar="TARGET",
        help="What to write: a .safetensors; or what the weights' release has, a .pth.tar or a folder.",
        show_default=False,
    ),
]
Preset = Annotated[
    str | None, typer.Option("--preset", "-p", help="Refuse the weights unless they are of this preset.")
]


def convert(source: Source, target: Target, preset: Preset = None) -> None:
    """Turn a release's weights into a .safetensors that knows its preset: safe to share, quick to load.

    Or back into the release's layout. Every tensor stays as it is, bit for bit.
    """
    from fv2v.checkpoints import convert as run

    typer.echo(f"{target}: {run(source, target, preset).name}")
