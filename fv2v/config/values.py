# SPDX-License-Identifier: Apache-2.0
"""Frozen dataclasses from nested dicts, as files hold them: every field there, and of its type."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints


def from_values(cls: Any, values: Mapping[str, Any]) -> Any:
    """A `cls` of the values. ValueError for fields that are missing or unknown, or of other types."""
    wanted = {f.name for f in fields(cls)}
    if not isinstance(values, Mapping) or values.keys() != wanted:
        got = sorted(values) if isinstance(values, Mapping) else repr(values)
        raise ValueError(f"{cls.__name__}: expected the fields {sorted(wanted)}, got {got}")
    return cls(**{name: _value(cls, name, hint, values[name]) for name, hint in get_type_hints(cls).items()})


def _value(cls: Any, name: str, hint: Any, value: Any) -> Any:
    part = next((each for each in (hint, *get_args(hint)) if is_dataclass(each)), None)
    if part and not (value is None and type(None) in get_args(hint)):
        return from_values(part, value)
    found = tuple(value) if isinstance(value, list) else value
    if not _is(hint, found):
        kind = getattr(hint, "__name__", hint)
        raise ValueError(f"ModelConfig: expected {name} of {cls.__name__} as {kind}, got {value!r}")
    return found


def _is(hint: Any, value: Any) -> bool:
    """Whether a value is of a field's type; whole numbers may stand for others."""
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(type(each) is get_args(hint)[0] for each in value)
    return type(value) is hint or type(value) in get_args(hint) or (hint is float and type(value) is int)
