# SPDX-License-Identifier: Apache-2.0
"""Groups of options: dataclasses that are declared once, and that a command takes as one argument each."""

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_args

import typer

from fv2v.cli.help import show_all

Command = Callable[..., Any]
HelpAll = Annotated[
    bool,
    typer.Option(
        "--help-all", is_eager=True, callback=show_all, help="Say more of each option, and of rare ones."
    ),
]


def spell_out(command: Command) -> Command:
    """`command` as typer takes it: in place of each group among its arguments an option for each field.

    A group's options stand in `--help` where the group stands in the signature, under its docstring.
    """
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            title = (inspect.getdoc(parameter.annotation) or "").split("\n")[0].rstrip(".")
            parameters += (_as_parameter(field, title) for field in fields(parameter.annotation))
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    parameters.append(
        inspect.Parameter("help_all", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=HelpAll)
    )

    @wraps(command)
    def run(help_all: bool = False, **given: Any) -> Any:
        taken = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(**given, **taken)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _as_parameter(field: Field[Any], title: str) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    kind, shared = get_args(field.type)
    option = copy(shared)  # which may stand in other groups too
    option.rich_help_panel = title
    annotation: Any = Annotated.__class_getitem__((kind, option))  # type: ignore[attr-defined]
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
