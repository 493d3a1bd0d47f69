# SPDX-License-Identifier: Apache-2.0
"""`fv2v info`."""

from typing import Annotated

import typer

from fv2v.cli.tables import print_table

Preset = Annotated[
    str | None,
    typer.Argument(
        metavar="[PRESET|FILE]",
        help="Show the whole config of this preset; or what a .fv2v file spends its bytes on.",
        show_default=False,
    ),
]


def info(preset: Preset = None) -> None:
    """List the presets: sizes, conventions, parameters and GFLOP of each; or all about one, or a .fv2v."""
    if preset is not None and preset.lower().endswith(".fv2v"):
        from fv2v.diagnostics.coded import recording_tables

        for table in recording_tables(preset):
            print_table(table)
        return
    from fv2v.diagnostics.info import preset_tables, tables
    from fv2v.presets import preset as find_preset

    for table in tables() if preset is None else preset_tables(find_preset(preset)):
        print_table(table)
