# SPDX-License-Identifier: Apache-2.0
"""What an interrupt does while a film is written: where that is wanted it ends the film, and not the call."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

# Whether a film that an interrupt ended is kept; or what is asked for it, with the name that it would have.
Keep = bool | Callable[[Path], bool]


class Interruption:
    """`with Interruption(keep) as stop:` a film is written of `stop.until(frames)`, named by `stop.named`.

    An interrupt ends the frames, and the film of those so far is whole and has another name. Interrupts are
    Ctrl-C and SIGTERM where each raises KeyboardInterrupt; where `keep` asks, Ctrl-C alone. A second one
    raises it, as does one before the first frame.

    Attributes:
        arrived: whether there was one.
        kept: the name that the film then has.
    """

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._waiting = False  # for a frame: until then encoders must not be interrupted
        self._frames = 0
        self.arrived = False
        self.kept: Path | None = None

    def __enter__(self) -> "Interruption":
        if self._keep and threading.current_thread() is threading.main_thread():
            numbers = (signal.SIGINT, signal.SIGTERM) if self._keep is True else (signal.SIGINT,)
            for number in numbers:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._before[number] = handler
                    signal.signal(number, self._arrive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def until(self, frames: Iterable[T]) -> Iterator[T]:
        """The frames up to the interrupt."""
        remaining = iter(frames)
        while not self.arrived:
            try:
                self._waiting = True
                frame = next(remaining)
                self._waiting = False
            except StopIteration:
                self._waiting = False
                return
            except KeyboardInterrupt:
                if not self.arrived:
                    raise
                break
            self._frames += 1
            yield frame
            del frame
        self._waiting = False
        if not self._frames:
            raise KeyboardInterrupt

    def named(self, path: Path) -> Path:
        """The name of what was written for `path`: after an interrupt a new one, if it is kept.

        Raises:
            KeyboardInterrupt: it is not.
        """
        if not self.arrived:
            return path
        name = _partial(path)
        if self._keep is not True and not (callable(self._keep) and self._keep(name)):
            raise KeyboardInterrupt
        self.kept = name
        return name

    def _arrive(self, number: int, frame: FrameType | None) -> None:
        again, self.arrived = self.arrived, True
        try:
            self._before[number](number, frame)
        except KeyboardInterrupt:
            if again or self._waiting:
                raise


def _partial(path: Path) -> Path:
    """`out.partial.mp4` for `out.mp4`, or `out.partial-2.mp4`, or the next that is free."""
    names = (path.with_name(f"{path.stem}.partial{f'-{i}' * (i > 1)}{path.suffix}") for i in count(1))
    return next(name for name in names if not name.exists())
