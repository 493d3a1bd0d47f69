# SPDX-License-Identifier: Apache-2.0
"""A log in words: a line for each time that something was measured, which people and programs read."""

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from fv2v.io.limits import TEXT, check_bytes

LOG = "log.txt"  # of a training run, in its folder
STEP = re.compile(r"\S+ step (\d+): (.+)")


class NumberLog:
    """The file of that name, to whose end lines are written; the first says after which step they come."""

    def __init__(self, path: Path, step: int) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")  # whole lines
        self._write(f"after step {step}")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """A line of them: `2026-01-31T12:00:00+00:00 step 50: loss/gan 0.25, rate 0.0002`."""
        self._write(f"step {step}: " + ", ".join(f"{name} {value:.6g}" for name, value in values.items()))

    def close(self) -> None:
        self._file.close()

    def _write(self, line: str) -> None:
        self._file.write(f"{datetime.now(timezone.utc).isoformat(timespec='seconds')} {line}\n")


def read_numbers(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by name, steps rising; of a step that a resumed run took again the later line counts.

    Lines that are none of `NumberLog`'s are left out. ValueError for a larger file than the limit.
    """
    check_bytes(path, TEXT, "bytes of a log")
    found: dict[str, dict[int, float]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if (match := STEP.fullmatch(line)) is None:
            continue
        step = int(match[1][:18])
        for each in match[2].split(", "):
            name, _, value = each.rpartition(" ")
            try:
                found.setdefault(name, {})[step] = float(value)
            except ValueError:
                continue
    return {name: sorted(values.items()) for name, values in found.items() if values}
