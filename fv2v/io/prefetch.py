# SPDX-License-Identifier: Apache-2.0
"""Stages that run at the same time: an iterator read in a thread of its own, and a clock on iterators."""

import contextvars
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Worker:
    """Base of classes with a thread that runs `_work` whenever `_has_work`.

    `_stop` ends the thread, and so does the end of the program, or of the worker: while the thread waits it
    does not keep the worker alive. `_changed` guards what the thread shares with others. `_work` has to
    return soon after `_closed` is set; what it raises ends the thread and is kept in `_error`.
    """

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._error: BaseException | None = None
        self._ended = False
        run = contextvars.copy_context().run  # `use_backend`, say, holds there, too
        self._thread = threading.Thread(
            target=run, args=(self._run, weakref.ref(self), self._changed), name=name, daemon=True
        )

    @property
    def _closed(self) -> bool:
        return self._closing.is_set()

    def _has_work(self) -> bool:
        """Whether `_work` has something to do; `_changed` is held."""
        raise NotImplementedError

    def _work(self) -> None:
        """Do what there is to do; waiting for more is left to the caller."""
        raise NotImplementedError

    def _start(self) -> None:
        # also at exit: networks still running while the interpreter shuts down would abort the process
        self._end = weakref.finalize(self, _end, self._closing, self._changed, self._thread)
        self._thread.start()

    def _stop(self) -> None:
        self._end()
        self._thread.join()

    @staticmethod
    def _run(reference: "weakref.ref[Worker]", changed: threading.Condition) -> None:
        """The thread, which holds the worker only while it works."""
        while True:
            with changed:
                while (self := reference()) is not None and not (self._closed or self._has_work()):
                    self = None
                    if reference() is None:  # that was the last reference, and nobody will wake this thread
                        return
                    changed.wait()
                if self is None:
                    return
            try:
                ended = self._closed
                if not ended:
                    self._work()
            except BaseException as error:  # raised again where results are asked for
                self._error, ended = error, True
            if ended:
                with changed:
                    self._ended = True
                    changed.notify_all()
                return
            self = None


def _end(closing: threading.Event, changed: threading.Condition, thread: threading.Thread) -> None:
    with changed:
        closing.set()
        changed.notify_all()
    if thread is not threading.current_thread():
        thread.join()


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

    def _has_work(self) -> bool:
        return True

    def _work(self) -> None:
        for item in self._items:
            with self._changed:
                self._changed.wait_for(lambda: len(self._ready) < self._room or self._closed)
                if self._closed:
                    return
                self._ready.append(item)
                self._changed.notify_all()
            del item  # or it would be kept while the next one is made
        self._closing.set()


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
