# SPDX-License-Identifier: Apache-2.0
"""Frozen dataclasses from TOML and from `name=value` on the command line, checked by their annotations."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from fv2v.config import ModelConfig
from fv2v.io.limits import CONFIG, DOTS, LINE, check_bytes, check_limit, reading
from fv2v.io.paths import PathLike, check_input
from fv2v.presets import preset

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = Mapping[str, Any]
T = TypeVar("T")
NONE = "none"  # None in a config file: TOML has no such value
PAPER = "face-vid2vid-256"  # the preset that a model's table starts from, where it names none


def read_table(path: PathLike, most: int = CONFIG) -> dict[str, Any]:
    """The contents of a TOML file of at most `most` bytes. ValueError with the line where it is no TOML."""
    path = check_input(path)
    with reading(path, "no TOML that can be read: its tables are nested too deep"):
        check_bytes(path, most, "bytes of TOML")
        lines = (text := path.read_bytes().decode()).splitlines()
        check_limit("characters of a line", max(map(len, lines), default=0), LINE)
        check_limit("steps through names with dots", sum(line.count(".") ** 2 for line in lines), DOTS)
        try:
            return tomllib.loads(text)
        except ValueError as error:
            raise ValueError(f"no TOML: {error}") from None


def with_assignments(table: Table, assignments: Sequence[str]) -> dict[str, Any]:
    """`table` with the values of assignments such as `name.of.field=value` in place of its own.

    A value is written as in TOML; a string may go without quotes, and `none` is None.
    """
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not (name.strip() and equals):
            raise ValueError(f"expected name=value, as in losses.gan=0; got {assignment!r}")
        table = _with(table, name.strip().split("."), _value(text.strip()))
    return dict(table)


def merged(table: Table, changes: Table) -> dict[str, Any]:
    """`table` with the values of `changes` in place of its own, at any depth."""
    found = dict(table)
    for key, value in changes.items():
        own = found.get(key)
        both = isinstance(own, Mapping) and isinstance(value, Mapping)
        found[key] = merged(own, value) if both else value  # type: ignore[arg-type]
    return found


def build(cls: type[T], table: Table, base: T | None = None, name: str = "") -> T:
    """A dataclass with the values of `table`, and for other fields those of `base`, or else the defaults.

    Args:
        cls: the dataclass.
        table: values by the names of its fields; a table in it is a dataclass of its own.
        base: whose values the table changes; None: the defaults.
        name: of this table within the whole, for errors.

    Raises:
        ValueError: an unknown name, a value of another type, a field without a value; it says which, and what
            was expected.
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"{name}: expected a table of {cls.__name__}'s fields, got {table!r}")
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    prefix = f"{name}." if name else ""
    values: dict[str, Any] = {}
    table = dict(table)
    if cls is ModelConfig:
        base = preset(table.pop("preset", PAPER)) if base is None or "preset" in table else base  # type: ignore[assignment]
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"unknown name {prefix}{key}: expected one of {', '.join(known)}")
        current = getattr(base, key) if base is not None else _default(known[key])
        values[key] = _typed(hints[key], value, current, f"{prefix}{key}")
    if base is not None:
        return replace(base, **values)  # type: ignore[type-var]
    missing = [key for key, f in known.items() if key not in values and _default(f) is MISSING]
    if missing:
        raise ValueError(f"expected a value for {prefix}{missing[0]}: --set {prefix}{missing[0]}=…")
    return cls(**values)


def plain(value: Any) -> Any:
    """A config as tables, lists, numbers and strings."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def as_toml(values: Any, name: str = "") -> str:
    """A config in `plain` form as `build` takes it again, a value a line."""
    if isinstance(values, Mapping):
        named = {json.dumps(key) if "." in key else key: each for key, each in values.items()}
        return "".join(as_toml(each, f"{name}.{key}" if name else key) for key, each in named.items())
    return f"{name} = {json.dumps(NONE if values is None else values, ensure_ascii=False)}\n"


def changes(before: Any, after: Any, name: str = "") -> list[str]:
    """Where two configs in `plain` form differ: `optimiser.lr 0.0002, now 0.0001`."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = dict.fromkeys((*before, *after))
        prefix = f"{name}." if name else ""
        return [each for key in keys for each in changes(before.get(key), after.get(key), f"{prefix}{key}")]
    return [] if before == after else [f"{name} {before}, now {after}"]


def _with(table: Table, path: Sequence[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    below = table.get(first, {})
    if rest:
        value = _with(below if isinstance(below, Mapping) else {}, rest, value)
    return {**table, first: value}


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a string without quotes


def _default(f: Any) -> Any:
    return f.default_factory() if f.default_factory is not MISSING else f.default


def _typed(hint: Any, value: Any, current: Any, name: str) -> Any:
    """`value` as the type `hint`; `current` is the dataclass whose values a table changes."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value == NONE and type(None) in arguments:
            return None
        [hint] = [each for each in arguments if each is not type(None)]
        return _typed(hint, value, current, name)
    if is_dataclass(hint):
        base = current if isinstance(current, hint) else None  # type: ignore[arg-type]
        return build(hint, value, base, name)  # type: ignore[arg-type]
    if origin is tuple:
        return _tuple(arguments, value, name)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _typed(arguments[1], each, None, f"{name}.{key}") for key, each in _flat(value, name)}
    if type(value) is int and abs(value) >= 1 << 63:
        raise ValueError(
            f"{name}: expected {_word(hint)} of at most 64 bits, got one of {value.bit_length()}"
        )
    if hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if hint is float and type(value) is float:
        raise ValueError(f"{name}: expected a finite number, got {value}")
    if hint is Path and isinstance(value, str):
        return Path(value)
    if type(value) is hint:
        return value
    raise ValueError(f"{name}: expected {_word(hint)}, got {value!r}")


def _tuple(arguments: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    endless = len(arguments) == 2 and arguments[1] is Ellipsis
    if not isinstance(value, list) or not (endless or len(value) == len(arguments)):
        wanted = f"a list of {_word(arguments[0])}s" if endless else f"a list of {len(arguments)} values"
        raise ValueError(f"{name}: expected {wanted}, got {value!r}")
    hints = arguments[:1] * len(value) if endless else arguments
    return tuple(
        _typed(hint, each, None, f"{name}[{i}]")
        for i, (hint, each) in enumerate(zip(hints, value, strict=True))
    )


def _flat(value: Any, name: str) -> list[tuple[str, Any]]:
    """Nested tables as one with dots in its names: TOML reads `generator.decoder = 1` as nested tables."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: expected a table, got {value!r}")
    return [
        (f"{key}.{below}" if below else key, number)
        for key, each in value.items()
        for below, number in (_flat(each, name) if isinstance(each, Mapping) else [("", each)])
    ]


def _word(hint: Any) -> str:
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a string", Path: "a path"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))
