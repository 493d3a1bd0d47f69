# SPDX-License-Identifier: Apache-2.0
"""`fv2v info`."""

from pathlib import Path
from typing import Annotated

import typer

from fv2v.cli.printable import printable
from fv2v.cli.tables import print_table

Preset = Annotated[
    str | None,
    typer.Argument(
        metavar="[PRESET|PATH]",
        help="Show the whole config of this preset; or what a file or folder is, without reading it whole: "
        "weights, a film, a picture, motion; and what a .fv2v spends its bytes on.",
        show_default=False,
    ),
]


def info(preset: Preset = None) -> None:
    """List the presets: sizes, conventions, parameters and GFLOP of each; or tell about one, or a file."""
    if preset is not None and preset.lower().endswith(".fv2v"):
        from fv2v.diagnostics.coded import recording_tables

        for table in recording_tables(preset):
            print_table(table)
        return
    from fv2v.presets import PRESETS

    if preset is not None and preset not in PRESETS and (Path(preset).exists() or "." in preset):
        from fv2v.diagnostics.path_info import about

        typer.echo(printable(f"{preset}: {about(preset)}"))
        return
    from fv2v.diagnostics.info import preset_tables, tables
    from fv2v.presets import preset as find_preset

    for table in tables() if preset is None else preset_tables(find_preset(preset)):
        print_table(table)
