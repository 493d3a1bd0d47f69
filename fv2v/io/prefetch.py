"""Stages that run at the same time: an iterator read in a thread of its own, and a clock on iterators."""

import atexit
import contextvars
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Worker:
    """Base of classes with a thread that runs `_work`. `_stop` ends it, and so does the end of the program.

    `_changed` guards what the thread shares with others. `_work` has to return soon after `_closed` is set;
    what it raises is kept in `_error`.
    """

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._closed = self._ended = False
        run = contextvars.copy_context().run  # `use_backend`, say, holds there, too
        self._thread = threading.Thread(target=run, args=(self._run,), name=name, daemon=True)

    def _work(self) -> None:
        raise NotImplementedError

    def _start(self) -> None:
        # networks still running while the interpreter shuts down would abort the process
        atexit.register(self._stop)
        self._thread.start()

    def _stop(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        atexit.unregister(self._stop)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # raised again where results are asked for
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


class Prefetch(Worker, Iterator[T], Generic[T]):
    """`with Prefetch(items, room) as ahead:` reads `items` in a thread, up to `room` ahead of its reader.

    What `items` raises is raised to the reader, after the items before it. Leaving the `with` ends the thread
    once the item that it is making is finished.
    """

    def __init__(self, items: Iterable[T], room: int) -> None:
        super().__init__("fv2v-ahead")
        self._items = items
        self._room = room
        self._ready: deque[T] = deque()

    def __enter__(self) -> "Prefetch[T]":
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

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

    def _work(self) -> None:
        for item in self._items:
            with self._changed:
                self._changed.wait_for(lambda: len(self._ready) < self._room or self._closed)
                if self._closed:
                    return
                self._ready.append(item)
                self._changed.notify_all()
            del item  # or it would be kept while the next one is made


class Timed(Iterator[T], Generic[T]):
    """Iterates over `items`. `seconds`: how long the reader has waited for them so far."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self.seconds = 0.0

    def __next__(self) -> T:
        started = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.seconds += time.perf_counter() - started
