"""How far a long command has come, on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def frame_progress() -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr, where that is a terminal; gone when the work is done.

    What it yields is called after each frame, with the frames done and the frames in all (None: not known).
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("loading", total=None, rate="")

        def show(done: int, total: int | None) -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed:.1f} frames/s" if speed else ""
            bar.update(task, description="frames", completed=done, total=total, rate=rate)

        yield show
