# SPDX-License-Identifier: Apache-2.0
"""Waiting for what other threads, tasks and processes do: for the thing itself, never for so many seconds."""

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 120.0  # seconds that anything may take on a busy machine


async def until(true: Callable[[], Any], what: str = "") -> None:
    """Until a function, which may be a coroutine's, returns something true; other tasks run meanwhile."""
    end = time.monotonic() + PATIENCE
    while not (await found if inspect.isawaitable(found := true()) else found):
        assert time.monotonic() < end, f"it never came: {what}"
        await asyncio.sleep(0.02)


def wait_until(true: Callable[[], Any], what: str = "") -> None:
    """The same, where there is no event loop."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"it never came: {what}"
        time.sleep(0.001)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """In an event loop of its own, in which no task is left afterwards."""

    async def checked() -> None:
        before = asyncio.all_tasks()
        await test()
        await until(lambda: not asyncio.all_tasks() - before, "the end of all tasks")

    asyncio.run(asyncio.wait_for(checked(), 3 * PATIENCE))


@contextmanager
def no_thread_left() -> Iterator[None]:
    """Threads that begin meanwhile end, too."""
    before = {*threading.enumerate()}
    yield
    wait_until(lambda: {*threading.enumerate()} <= before, "the end of all threads")
