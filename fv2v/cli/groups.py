# SPDX-License-Identifier: Apache-2.0
"""Groups of options: dataclasses that are declared once, and that a command takes as one argument each."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Any

Command = Callable[..., Any]


def spell_out(command: Command) -> Command:
    """`command` as typer takes it: in place of each group among its arguments an option for each field.

    A group's options stand in `--help` where the group stands in the signature.
    """
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            parameters += map(_as_parameter, fields(parameter.annotation))
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def run(**given: Any) -> Any:
        taken = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(**given, **taken)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _as_parameter(field: Field[Any]) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=field.type
    )
