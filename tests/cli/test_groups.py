# SPDX-License-Identifier: Apache-2.0
"""Options in groups: a dataclass of a command is spelled out for typer, and comes back as one value."""

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from fv2v.cli.groups import spell_out


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(help="Pixels across.")]
    height: Annotated[int, typer.Option(help="Pixels down.")] = 4


@dataclass(frozen=True)
class Volume(Size):
    depth: Annotated[int, typer.Option(help="Slices.")] = 2


def test_a_group_comes_back_as_one_value():
    taken = []

    def command(name: str, size: Size, volume: int = 1) -> None:
        """What it does."""
        taken.append((name, size, volume))

    app = typer.Typer()
    app.command()(spell_out(command))
    runner = CliRunner()
    for arguments in (["a", "--width", "3"], ["b", "--width", "3", "--height", "5", "--volume", "7"]):
        assert runner.invoke(app, arguments).exit_code == 0
    assert taken == [("a", Size(3, 4), 1), ("b", Size(3, 5), 7)]
    assert runner.invoke(app, ["a"]).exit_code == 2, "a field without a default is required"
    text = runner.invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert text.index("What it does.") < text.index("Pixels across.") < text.index("Pixels down.")


def test_a_group_may_extend_another():
    taken = []

    def command(volume: Volume) -> None:
        taken.append(volume)

    app = typer.Typer()
    app.command()(spell_out(command))
    assert CliRunner().invoke(app, ["--width", "3", "--depth", "9"]).exit_code == 0
    assert taken == [Volume(3, 4, 9)]
