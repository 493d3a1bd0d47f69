"""Stages that run at the same time: an iterator in a thread of its own, and how long iterators take."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Iterator[T], Generic[T]):
    """`with Ahead(items, room) as ahead:` runs through `items` in a thread, up to `room` ahead of its reader.

    What `items` raises is raised where it is read, after the items before it. Leaving the `with` ends the
    thread, once the item in the making is there.
    """

    def __init__(self, items: Iterable[T], room: int) -> None:
        self._items = items
        self._room = room
        self._ready: deque[T] = deque()
        self._error: BaseException | None = None
        self._ended = self._closed = False
        self._changed = threading.Condition()
        # a daemon: an interrupt between its start and the `with` cannot keep the process from ending
        self._thread = threading.Thread(target=self._run, name="fv2v-ahead", daemon=True)

    def __enter__(self) -> "Ahead[T]":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended)
            if self._ready:
                item = self._ready.popleft()
                self._changed.notify_all()
                return item
        if self._error is not None:
            raise self._error
        raise StopIteration

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._hand_over(item):
                    break
                del item  # or it would be kept while the next one is made
        except BaseException as error:  # for whoever reads
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _hand_over(self, item: T) -> bool:
        """False where nobody reads any more."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._ready) < self._room or self._closed)
            if self._closed:
                return False
            self._ready.append(item)
            self._changed.notify_all()
            return True


class Timed(Iterator[T], Generic[T]):
    """Iterates over `items`. `seconds`: how long whoever reads has waited for them so far."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self.seconds = 0.0

    def __next__(self) -> T:
        started = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.seconds += time.perf_counter() - started
