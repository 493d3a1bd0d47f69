# SPDX-License-Identifier: Apache-2.0
"""What a page may ask of a session while it runs: messages of JSON, none of which is trusted."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fv2v.geometry import View
from fv2v.live.session import Session
from fv2v.motion.edit import Edit
from fv2v.motion.smoothing import STEADY, Cutoff, Steadiness

LARGEST = 1 << 14  # characters of a message


@dataclass(slots=True)
class Controls:
    """A session's settings as a page has them.

    `steadiness` is 0 for none, 1 for the default's; `eyes` and `lips` are ratios of `Openness`, or None.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    strength: float = 1.0
    multiplier: float = 1.0
    steadiness: float = 1.0
    eyes: float | None = None
    lips: float | None = None

    def apply(self, session: Session, text: object) -> None:
        """Change a session as a message asks: an object with any of `RANGES`, `relative`, `mirror`, `anchor`.

        Raises:
            ValueError: anything else; nothing is changed then.
        """
        asked = _parsed(text)
        numbers = {name: _number(name, asked[name]) for name in RANGES if name in asked}
        flags = {name: _flag(name, asked[name]) for name in FLAGS if name in asked}
        unknown = asked.keys() - numbers.keys() - flags.keys()
        if unknown:
            raise ValueError(f"expected one of {', '.join((*RANGES, *FLAGS))}; got {sorted(unknown)[0]!r}")
        before = {name: getattr(self, name) for name in numbers}
        try:
            for name, number in numbers.items():
                setattr(self, name, number)
            self._set(session, numbers, flags)
        except ValueError:
            for name, number in before.items():
                setattr(self, name, number)
            raise

    def _set(self, session: Session, numbers: Mapping[str, float | None], flags: Mapping[str, bool]) -> None:
        keywords: dict[str, Any] = {}
        if numbers.keys() & {"yaw", "pitch", "roll"}:
            keywords["view"] = View(pitch=self.pitch, yaw=self.yaw, roll=self.roll)
        if numbers.keys() & {"strength", "multiplier", "eyes", "lips"}:
            keywords["edit"] = Edit(
                strength=self.strength,
                multiplier=self.multiplier,
                eyes=self.eyes,
                lips=self.lips,
                portrait=session.openness,
            )
        if "steadiness" in numbers:
            keywords["steady"] = steadier(self.steadiness)
        if "relative" in flags:
            keywords["relative"] = flags["relative"]
        if keywords:
            session.change(**keywords)
        if "mirror" in flags and flags["mirror"] != session.mirror:
            session.mirror = flags["mirror"]
            if session.options.relative:
                session.anchor()  # the old one is of the other side
        if flags.get("anchor"):
            session.anchor()


# of each number: the least and the largest, and whether it may be null
RANGES: Mapping[str, tuple[float, float, bool]] = {
    "yaw": (-60, 60, False),
    "pitch": (-45, 45, False),
    "roll": (-45, 45, False),
    "strength": (0, 2, False),
    "multiplier": (0, 2, False),
    "steadiness": (0, 4, False),
    "eyes": (0, 1, True),
    "lips": (0, 1, True),
}
FLAGS = ("relative", "mirror", "anchor")


def steadier(steadiness: float) -> Steadiness | None:
    """The default filter with cutoffs divided by `steadiness`; None, no filter, for 0."""
    if not steadiness:
        return None
    divided: Callable[[Cutoff], Cutoff] = lambda cutoff: Cutoff(  # noqa: E731
        cutoff.least / steadiness, cutoff.rise / steadiness
    )
    parts = ("rotation", "translation", "expression", "scale")
    return Steadiness(**{name: divided(getattr(STEADY, name)) for name in parts})


def _parsed(text: object) -> dict[str, Any]:
    if not isinstance(text, str) or len(text) > LARGEST:
        raise ValueError(f"expected a message of at most {LARGEST} characters of JSON")
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("expected a message of JSON") from None
    if not isinstance(asked, dict):
        raise ValueError(f"expected an object of JSON, got {type(asked).__name__}")
    return asked


def _number(name: str, value: object) -> float | None:
    least, most, may_be_none = RANGES[name]
    if value is None and may_be_none:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not least <= value <= most:  # type: ignore[arg-type,operator]
        raise ValueError(f"{name}: expected a number from {least:g} to {most:g}")
    return float(value)  # type: ignore[arg-type]


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected true or false")
    return value
