# SPDX-License-Identifier: Apache-2.0
"""How many tests of the operators' contract ran, by operator and backend: a table where pytest ends.

Each test says whose it is in a property of its report; one that ran others, in a process of its own, says
so for them.
"""

from collections import Counter
from collections.abc import Iterator

import pytest

from fv2v_kernels import OPS

PROPERTY = "contract"
OUTCOMES = ("passed", "failed", "error", "skipped")

Place = tuple[str, str, str]  # operator, device, backend


def count(item: pytest.Item, op: str, device: str, backend: str, times: int = 1) -> None:
    """This test stands for `times` of the contract's."""
    item.user_properties += [(PROPERTY, (op, device, backend))] * times


def print_counts(terminal: pytest.TerminalReporter) -> None:
    tests = [(outcome, *each) for outcome in OUTCOMES for each in _counted(terminal, outcome)]
    if not tests:
        return
    numbers = Counter((outcome, place) for outcome, place, _ in tests)
    backends = list(dict.fromkeys(place[1:] for _, place, _ in sorted(tests, key=lambda test: test[1][1:])))
    operators = [op for op in OPS if any(place[0] == op for _, place, _ in tests)]
    terminal.section("contract of the operators: tests passed (skipped)")
    rows = [["", *(f"{device}: {backend}" for device, backend in backends)]]
    rows += [[op, *(_cell(numbers, (op, *backend)) for backend in backends)] for op in operators]
    for row in rows:
        terminal.write_line("".join(cell.ljust(17) for cell in row).rstrip())
    totals = Counter(outcome for outcome, *_ in tests)
    terminal.write_line(f"in all: {', '.join(f'{number} {outcome}' for outcome, number in totals.items())}")
    skipped = Counter((place[1], why) for outcome, place, why in tests if outcome == "skipped")
    for (device, why), number in skipped.items():
        terminal.write_line(f"skipped on {device}: {number} tests: {why}")


def _counted(terminal: pytest.TerminalReporter, outcome: str) -> Iterator[tuple[Place, str]]:
    """The place of each test of the contract that ended so, and why it was skipped."""
    for report in terminal.stats.get(outcome, ()):
        for name, place in getattr(report, "user_properties", ()):
            if name == PROPERTY:
                why = report.longrepr[-1].removeprefix("Skipped: ") if outcome == "skipped" else ""
                yield tuple(place), why  # pytest-xdist makes lists of tuples


def _cell(numbers: Counter[tuple[str, Place]], place: Place) -> str:
    passed, failed, errors, skipped = (numbers[outcome, place] for outcome in OUTCOMES)
    parts = [f"{passed}" if passed else "", f"({skipped})" if skipped else ""]
    parts += [f"{failed + errors} FAILED"] if failed + errors else []
    return " ".join(filter(None, parts)) or "-"
