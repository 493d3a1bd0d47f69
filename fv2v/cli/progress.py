# SPDX-License-Identifier: Apache-2.0
"""How far a long command has come, and what came of it, on the terminal."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fv2v.cli.notes import tell_waiting
from fv2v.cli.printable import printable
from fv2v.io.interruption import Keep
from fv2v.progress import BatchProgress, FrameProgress, StepProgress

if TYPE_CHECKING:  # torch takes seconds to import, and `--help` should not
    from fv2v.pipelines.report import Report

SELDOM = 60.0  # seconds from a line to the next where there is no terminal


@contextmanager
def frame_progress() -> Iterator[FrameProgress]:
    """A bar on stderr, gone when the work is done; where that is no terminal, a line a minute.

    What it yields is to be called after each frame.
    """
    with film_progress() as (show, _):
        yield show


@contextmanager
def film_progress() -> Iterator[tuple[FrameProgress, Keep]]:
    """The same; and what asks whether a film that was interrupted is kept, or False without a terminal."""
    console = Console(stderr=True, soft_wrap=True)
    with _bar(console) as bar:
        task = bar.add_task("loading", total=None, rate="")
        now_and_then = _NowAndThen(console)

        def show(done: int, total: int | None) -> None:
            tell_waiting()
            speed, left = bar.tasks[0].speed, bar.tasks[0].time_remaining
            rate = f"{speed:.1f} frames/s" if speed else ""
            bar.update(task, description="frames", completed=done, total=total, rate=rate)
            of = "" if total is None else f" of {total}"
            rest = "" if left is None else f", {timedelta(seconds=round(left))} left"
            now_and_then(f"{done}{of} frames{rate and f', {rate}'}{rest}")

        def ask(name: Path) -> bool:
            bar.stop()
            return typer.confirm(f"Keep the film so far as {printable(str(name))}?", err=True)

        yield show, ask if console.is_terminal and sys.stdin and sys.stdin.isatty() else False


class _NowAndThen:
    """Prints a line of those that it is called with once a minute, where the console is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console, self._said = console, time.monotonic()

    def __call__(self, line: str) -> None:
        if not self._console.is_terminal and time.monotonic() - self._said >= SELDOM:
            self._said = time.monotonic()
            self._console.print(line, highlight=False, markup=False, emoji=False)


def print_report(report: "Report", more: str = "") -> None:
    """A line on stdout, with `more` at its end, and its notes."""
    typer.echo(printable(f"{report}{more}"))
    print_notes(report)


def print_notes(report: "Report") -> None:
    """On stderr a line for each note of a report."""
    for note in report.notes:
        typer.echo(f"fv2v: note: {printable(note)}", err=True)


@contextmanager
def step_progress(every: int) -> Iterator[StepProgress]:
    """A line on stderr after every so many steps of training; where it is a terminal, a bar below them.

    What it yields is to be called after each step.
    """
    console = Console(stderr=True, soft_wrap=True)
    with _bar(console) as bar:
        task = bar.add_task("loading", total=None, rate="")
        since: tuple[int, float] | None = None  # step and time of the last line

        def show(done: int, total: int, samples: int, values: Mapping[str, float]) -> None:
            nonlocal since
            now = time.monotonic()
            if since is None:  # the first step also warms up: it is left out of the pace
                since = done, now
                bar.reset(task, completed=done, total=total, description="steps")
            bar.update(task, completed=done)
            if done % every and done != total:
                return
            losses = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            pace = ""
            if done > since[0]:
                step = (now - since[1]) / (done - since[0])
                left = timedelta(seconds=round(step * (total - done)))
                pace = f", {samples / step:.3g} samples/s, {left} left"
                bar.update(task, rate=f"{samples / step:.3g} samples/s")
            console.print(f"step {done} of {total}{pace}: {losses}", highlight=False)
            since = done, now

        yield show


@contextmanager
def batch_progress() -> Iterator[tuple[BatchProgress, Callable[[str], None]]]:
    """A bar over all clips on stderr, or a line a minute, and what prints a line above it."""
    console = Console(stderr=True, soft_wrap=True)
    with _bar(console) as bar:
        task = bar.add_task("reading", total=None, rate="")
        now_and_then = _NowAndThen(console)

        def show(done: float, total: int) -> None:
            bar.update(task, description="clips", completed=done, total=total)
            now_and_then(f"{done:.1f} of {total} clips")

        def complain(line: str) -> None:
            console.print(line, highlight=False, markup=False, emoji=False)

        yield show, complain


def _bar(console: Console) -> Progress:
    """Shown where the console is a terminal; `rate` is a field of its tasks."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
