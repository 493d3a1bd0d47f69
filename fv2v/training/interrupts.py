"""SIGINT and SIGTERM that wait until the running step is done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """What has arrived."""

    arrived = False


@contextmanager
def waiting() -> Iterator[Interrupts]:
    """Note the first signal while the block runs; a second SIGINT interrupts as ever.

    Outside the main thread, where Python takes no signals, none is noted.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return

    def note(number: int, frame: FrameType | None) -> None:
        if interrupts.arrived and number == signal.SIGINT:
            raise KeyboardInterrupt
        interrupts.arrived = True

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
