# SPDX-License-Identifier: Apache-2.0
"""Notes on a command's choices, which are said once its work goes on: a refusal is one line."""

import typer

from fv2v.cli.printable import printable

_waiting: list[str] = []


def tell_later(note: str) -> None:
    """Keep a line for `tell_waiting`."""
    _waiting.append(note)


def tell_waiting() -> None:
    """The lines that wait, on stderr."""
    while _waiting:
        typer.echo(f"fv2v: {printable(_waiting.pop(0))}", err=True)


def forget_waiting() -> None:
    """They are said no more."""
    _waiting.clear()
