# SPDX-License-Identifier: Apache-2.0
"""Tests that only a GPU can run: counted on a machine without one, not skipped one by one.

The operators' contract is not generated for backends of a GPU; other tests and parameters carry the mark
`gpu`, and are dropped once they are collected. The number is printed where pytest ends. On a machine with a
GPU `pytest --gpu` runs those alone.
"""

from collections import Counter
from typing import Any

import pytest
import torch

SENT = "cases for a GPU"
counted: list[int] = []  # by this process, or by those that pytest-xdist started, which count the same


def keep_alone(items: list[pytest.Item]) -> None:
    """Drop what a machine without a GPU runs as well."""
    items[:] = [
        item
        for item in items
        if item.get_closest_marker("gpu") or ((place := _place(item)) and place[0] == "cuda")
    ]


def leave_out(items: list[pytest.Item]) -> None:
    """Drop the marked ones, and count them and the contract's cases that were not generated."""
    from op_contract import PLACES, PLACES_HERE

    if torch.cuda.is_available():
        return
    marked = [item for item in items if item.get_closest_marker("gpu")]
    items[:] = [item for item in items if item not in set(marked)]
    # a test of the contract has as many cases in one place as in another
    places = Counter(_place(item) for item in items)
    absent = len(set(PLACES) - set(PLACES_HERE)) * places[PLACES_HERE[0]]
    counted.append(len(marked) + absent)


def _place(item: pytest.Item) -> tuple[str, str] | None:
    return item.callspec.params.get("place") if hasattr(item, "callspec") else None


def send_count(config: pytest.Config) -> None:
    if hasattr(config, "workeroutput"):
        config.workeroutput[SENT] = counted


def receive_count(node: Any) -> None:
    counted.extend(getattr(node, "workeroutput", {}).get(SENT, ()))


def print_left_out(terminal: pytest.TerminalReporter) -> None:
    if counted and max(counted):
        terminal.write_line(f"{max(counted):,} cases need a GPU: not generated on this machine")
