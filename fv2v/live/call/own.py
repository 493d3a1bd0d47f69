# SPDX-License-Identifier: Apache-2.0
"""This side's own motion, kept for a file."""

from fractions import Fraction

from fv2v.geometry import Motion
from fv2v.io.limits import FRAMES
from fv2v.io.paths import PathLike, check_output
from fv2v.io.timing import Timing
from fv2v.live.call.messages import clock
from fv2v.motion.npz import write_motion
from fv2v.motion.sequence import MotionSequence

RATE = 25


class OwnMotion:
    """Collects the motion of frames, the first FRAMES of a call; `write` makes the file.

    Raises:
        FileNotFoundError: the file's folder does not exist.
        ValueError: a name that cannot be written.
    """

    def __init__(self, path: PathLike, preset: str) -> None:
        self._path, self._preset = check_output(path, (".npz",)), preset
        self._motions: list[Motion] = []
        self._pts: list[int] = []

    def add(self, motion: Motion, taken: float) -> None:
        """A frame's, taken at that `time.monotonic()`."""
        pts = clock(taken)
        if len(self._pts) < FRAMES and (not self._pts or pts > self._pts[-1]):
            self._motions.append(motion)
            self._pts.append(pts)

    def write(self) -> None:
        """The file, where there is any motion."""
        if self._pts:
            timing = Timing(tuple(self._pts), Fraction(1, 1000), Fraction(RATE))
            write_motion(self._path, MotionSequence(Motion.cat(self._motions), timing, self._preset))
