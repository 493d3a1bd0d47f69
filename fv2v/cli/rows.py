# SPDX-License-Identifier: Apache-2.0
"""Rows of a batch as command lines of `fv2v reenact`, `render` and `talk`, whose options they name."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import typer

from fv2v.cli.groups import spell_out
from fv2v.cli.reenact import reenact
from fv2v.cli.render import render
from fv2v.cli.talk import talk
from fv2v.io.limits import shown
from fv2v.io.stores import is_url
from fv2v.jobs.call import Call
from fv2v.jobs.plan import Wish

USAGE_ERROR: Any = typer.BadParameter.__base__  # of click, or of the copy of click that typer has of its own
COMMANDS = {"driving": "reenact", "motion": "render", "coefficients": "talk"}  # by what drives
TRUTHS = {"true": True, "false": False}
OURS = ("output", "overwrite", "keep_partial", "resume")  # options that no row has


def read_values(values: Mapping[str, Any], output: Path | str) -> Wish:
    """A row's values as their command understands them.

    Args:
        values: by the names of options, `-` or `_` in them; a list for one that may be given several times.
            Those that are None or "" count as left out.
        output: the clip's path or URL.

    Raises:
        ValueError: names that the command does not have, values that it does not take.
    """
    given = {
        name.replace("-", "_"): value for name, value in values.items() if value is not None and value != ""
    }
    given.pop("id", None)
    command = _command_for(given)
    known = {each.name: each for each in _group().commands[command].params}
    if unknown := [name for name in given if name not in known or name in OURS]:
        raise ValueError(
            f"unknown name {shown(unknown[0])!r}: expected id, an argument of fv2v {command}, or one of its "
            "options but --output, --overwrite, --keep-partial and --resume"
        )
    given |= {"output": str(output), "overwrite": True}
    arguments = [each for each in known.values() if each.param_type_name == "argument"]
    needed = [each.name for each in arguments] + ["source_coefficients"] * (command == "talk")
    if missing := [name for name in needed if name not in given]:
        raise ValueError(f"expected a value for {missing[0].replace('_', '-')}")
    words = [word for name, value in given.items() for word in _words(known[name], value)]
    words = [*words, "--", *(str(given[each.name]) for each in arguments)]
    try:
        context = _group().commands[command].make_context(command, list(words))
    except USAGE_ERROR as error:
        raise ValueError(error.format_message()) from None
    options = {
        name: given[name] if is_url(str(given.get(name))) else value  # a Path of a URL has another name
        for name, value in context.params.items()
        if name not in OURS and value not in (known[name].default, None, (), [])
    }
    inputs = tuple(str(given[each.name]) for each in arguments)
    return Wish((command, *words), inputs, options)


def call_of(words: Sequence[str]) -> Call:
    """What a command line of `read_values` asks for. ValueError where the command refuses it."""
    try:
        return _group().main(list(words), prog_name="fv2v", standalone_mode=False)
    except USAGE_ERROR as error:
        raise ValueError(error.format_message()) from None


@cache
def _group() -> Any:
    """The commands, which return their calls."""
    app = typer.Typer()
    for command in (reenact, render, talk):
        app.command()(spell_out(command))
    return typer.main.get_command(app)


def _command_for(given: Mapping[str, Any]) -> str:
    drivers = [name for name in COMMANDS if name in given]
    if len(drivers) != 1:
        got = " and ".join(drivers) or "none"
        raise ValueError(f"expected one of {', '.join(COMMANDS)}, got {got}")
    return COMMANDS[drivers[0]]


def _words(option: Any, value: Any) -> Iterator[str]:
    """An option as it stands on a command line; for an argument nothing, which stands at the end."""
    values = value if isinstance(value, list) else [value]
    if len(values) != 1 and not (values and option.param_type_name == "option" and option.multiple):
        raise ValueError(f"{option.name}: expected one value, got {len(values)}")
    if option.param_type_name == "argument":
        if not isinstance(values[0], str):
            raise ValueError(f"{option.name}: expected a file's name, got {values[0]!r}")
        return
    name = option.opts[0]
    for each in values:
        if option.is_flag:
            truth = TRUTHS.get(str(each).lower())
            if truth is None:
                raise ValueError(f"{option.name}: expected true or false, got {each!r}")
            if truth or option.secondary_opts:
                yield name if truth else option.secondary_opts[0]
        elif isinstance(each, bool) and option.name == "crop":
            yield f"{name}={str(each).lower()}"
        elif isinstance(each, bool) or each is None:
            raise ValueError(f"{option.name}: expected a value, got {str(each).lower()}")
        else:
            yield f"{name}={each}"
