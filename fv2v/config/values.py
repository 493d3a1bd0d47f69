# SPDX-License-Identifier: Apache-2.0
"""Values of configs: what they must not be, and how they come out of a file's tables."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

WIDEST = 1 << 16  # of every whole number in a config
DEEPEST = 64  # blocks of one stage
LONGEST = 16  # stages


def require(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise ValueError(f"ModelConfig: expected {expected}, got {got!r}")


def check_numbers(config: Any) -> None:
    """What a file must not ask for, lest networks of any size be built: ValueError that names the field."""
    for f in fields(config):
        value = getattr(config, f.name)
        lowest, most = (0, DEEPEST) if "blocks" in f.name else (1, WIDEST)
        lowest = 0 if f.name == "detail_channels" else lowest
        numbers = value if isinstance(value, tuple) else (value,)
        whole = [number for number in numbers if type(number) is int]
        fits = all(lowest <= number <= most for number in whole)
        require(fits, f"{f.name} from {lowest} to {most}", value)
        require(0 < len(numbers) <= LONGEST, f"1 to {LONGEST} numbers in {f.name}", value)
        finite = all(math.isfinite(number) for number in numbers if isinstance(number, float))
        require(finite, f"finite numbers in {f.name}", value)


def config_of(cls: Any, values: Mapping[str, Any], parts: Mapping[str, Any]) -> Any:
    """A config from nested tables.

    Args:
        cls: its dataclass.
        values: one for each of its fields.
        parts: the classes of fields that are configs themselves, of which some may be None.

    Raises:
        ValueError: other names or types; it says which were expected.
    """
    wanted = {f.name for f in fields(cls)}
    if not isinstance(values, Mapping) or values.keys() != wanted:
        got = sorted(values) if isinstance(values, Mapping) else repr(values)
        raise ValueError(f"{cls.__name__}: expected the fields {sorted(wanted)}, got {got}")
    hints = get_type_hints(cls)
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in parts and not (value is None and _is(hints[name], None)):
            found[name] = config_of(parts[name], value, parts)
            continue
        found[name] = tuple(value) if isinstance(value, list) else value
        require(
            _is(hints[name], found[name]),
            f"{name} of {cls.__name__} as {getattr(hints[name], '__name__', hints[name])}",
            value,
        )
    return cls(**found)


def _is(hint: Any, value: Any) -> bool:
    """Whether a value is of a field's type; whole numbers may stand for others."""
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(type(each) is get_args(hint)[0] for each in value)
    if value is None:
        return type(None) in get_args(hint)
    return type(value) is hint or type(value) in get_args(hint) or (hint is float and type(value) is int)
