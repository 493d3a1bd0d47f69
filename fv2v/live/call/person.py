# SPDX-License-Identifier: Apache-2.0
"""The other side as this one sees it: its portrait, moved by its motion, seen from where this side likes."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fv2v.geometry import Motion, View
from fv2v.live.call.messages import clock, difference
from fv2v.live.call.portrait import received_portrait
from fv2v.live.report import Picture
from fv2v.live.stream import Stream
from fv2v.reenactor import Reenactor

LATENCIES = 250  # of the latest pictures, for the percentiles


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture of the other side."""

    image: np.ndarray  # (n, n, 3) uint8
    number: int  # of the frame, as its sender counts
    taken: int  # the sender's `clock` when it was taken
    shown: int  # this machine's when the picture was ready
    latency: int  # milliseconds from the one to the other


class Person:
    """Renders what comes of the other side, over all connections of a call.

    Args:
        reenactor: the model that both sides run.
        show: called for each picture, in a thread.
        relative: as `AnimationOptions` has it.

    Attributes:
        portrait: (n, n, 3) uint8, the other side's; None before it came.
        digest: of its file; empty before.
    """

    def __init__(
        self, reenactor: Reenactor, show: Callable[[Shown], None], relative: bool | None = None
    ) -> None:
        self._reenactor, self._show, self._relative = reenactor, show, relative
        self._view: View | None = None
        self._stream: Stream | None = None
        self._thread: threading.Thread | None = None
        # number, taken, by how much the sender's clock is ahead; the key goes along as the frame's time
        self._under_way: dict[int, tuple[int, int, int]] = {}
        self._count = 0
        self.portrait: np.ndarray | None = None
        self.digest = ""

    def meet(self, digest: str, file: bytes | None) -> None:
        """The portrait is this, or the one from before. ValueError for a file that is no such picture."""
        if file is None:
            return
        portrait = received_portrait(file)
        source = self._reenactor.encode(portrait)
        self.close()
        self.portrait, self.digest = portrait, digest
        self._stream = Stream(
            self._reenactor, source, queue=1, steady=None, relative=self._relative, view=self._view
        )
        self._thread = threading.Thread(target=self._follow, args=(self._stream,), name="fv2v-person")
        self._thread.start()

    def move(self, number: int, taken: int, ahead: int, motion: Motion) -> None:
        """A frame's motion has come, taken at that `clock` of its sender, which is so much ahead of ours.

        Raises:
            ValueError: numbers that no motion has.
        """
        if self._stream is None:
            return
        received = self._reenactor.runner.received(motion, "frames")
        self._count += 1
        self._under_way[self._count] = number, taken, ahead
        self._stream.push(received, float(self._count))

    @property
    def view(self) -> View | None:
        """From where this side looks; None: from where the other's camera does."""
        return self._view

    @view.setter
    def view(self, view: View | None) -> None:
        self._view = view
        if self._stream is not None:
            self._stream.view = view

    def close(self) -> None:
        """Ends the thread."""
        if self._stream is not None and self._thread is not None:
            self._stream.close()
            self._thread.join()

    def _follow(self, stream: Stream) -> None:
        for picture in stream:
            self._show(self._dated(picture))

    def _dated(self, picture: Picture) -> Shown:
        count, now = round(picture.time), clock()
        number, taken, ahead = self._under_way[count]
        for older in [each for each in list(self._under_way) if each <= count]:
            del self._under_way[older]
        return Shown(picture.image, number, taken, now, difference(now, taken - ahead))
