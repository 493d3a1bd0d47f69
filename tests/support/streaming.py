# SPDX-License-Identifier: Apache-2.0
"""Frames and readers for tests of streams."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fv2v import Stream
from fv2v.live.report import Picture


@dataclass
class Held:
    """A frame, as PIL has them, that keeps the networks waiting until it is let go."""

    picture: np.ndarray
    taken: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def convert(self, mode: str) -> np.ndarray:
        assert mode == "RGB"
        self.taken.set()
        assert self.let_go.wait(timeout=60)
        return self.picture


@contextmanager
def meanwhile(action: Callable[[], Any]) -> Iterator[None]:
    """`action` in a moment, in another thread, whose end is awaited."""
    timer = threading.Timer(0.05, action)
    timer.start()
    yield
    timer.join()


def shown(stream: Stream, frame: Any) -> Picture:
    stream.push(frame)
    picture = stream.get()
    assert picture is not None
    return picture
