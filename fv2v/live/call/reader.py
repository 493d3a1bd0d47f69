# SPDX-License-Identifier: Apache-2.0
"""The motion of a camera's frames, in a thread of its own: what a sender needs of the networks."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fv2v.face.lost import check_lost
from fv2v.face.portrait import choose_face
from fv2v.geometry import Motion
from fv2v.io.prefetch import Worker
from fv2v.live.driver import LiveDriver
from fv2v.motion.smoothing import SteadyMotion
from fv2v.reenactor import Reenactor


class MotionReader(Worker):
    """`push` frames; `found` gets the motion of as many as the networks can take, the newest ones.

    Args:
        reenactor: of a preset that pictures drive.
        found: called in the thread, with a motion of one frame on the CPU and the time that `push` was told.
        crop: whether to follow the face; False: frames are squares around it already.
        face, lost: as `fv2v.Stream` takes them; with "source" nothing is found while no face is seen.
        steady: smooth the motion.

    Attributes:
        seen: whether the face was seen in the latest frame.
        pushed, read: how many frames came, and how many were read.
    """

    def __init__(
        self,
        reenactor: Reenactor,
        found: Callable[[Motion, float], None],
        *,
        crop: bool = True,
        face: Any = 1,
        lost: str = "hold",
        steady: bool = True,
    ) -> None:
        super().__init__("fv2v-motion")
        self._runner, self._found = reenactor.runner, found
        choice = choose_face(face, crop)
        self._driver = LiveDriver(reenactor.config, choice, check_lost(lost)) if crop else None
        self._steady = SteadyMotion() if steady else None
        self._waiting: tuple[np.ndarray, float] | None = None
        self._last: float | None = None
        self.seen = False
        self.pushed = self.read = 0
        self._start()

    def push(self, frame: np.ndarray, time: float) -> None:
        """(H, W, 3) uint8, taken at that time; takes the place of one that still waits.

        Raises:
            what an earlier frame raised: this one is not taken.
        """
        with self._changed:
            if self._error is not None:
                raise self._error
            self._waiting = frame, time
            self.pushed += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the thread, once the frame that it reads is read."""
        self._stop()

    def _has_work(self) -> bool:
        return self._waiting is not None

    def _work(self) -> None:
        with self._changed:
            if self._waiting is None:
                return
            (frame, time), self._waiting = self._waiting, None
        crop = frame if self._driver is None else self._driver.crop(frame)
        self.seen = self._driver is None or self._driver.seen
        if crop is None:
            return
        motion = self._runner.extract(self._runner.batch([crop]))
        if self._steady is not None:
            motion = self._steady.step(motion, None if self._last is None else time - self._last)
        self._last = time
        self.read += 1
        self._found(motion.to("cpu"), time)
