# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM, held back until the running step is done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Whether a signal has arrived."""

    arrived = False


@contextmanager
def deferred_signals() -> Iterator[Interrupts]:
    """Record the first signal while the block runs, in place of acting on it; a second SIGINT interrupts.

    Outside the main thread, where Python handles no signals, nothing is changed.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return

    def record(number: int, frame: FrameType | None) -> None:
        if interrupts.arrived and number == signal.SIGINT:
            raise KeyboardInterrupt
        interrupts.arrived = True

    before = {number: signal.signal(number, record) for number in SIGNALS}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
