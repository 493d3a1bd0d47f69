# SPDX-License-Identifier: Apache-2.0
"""The square crops of a video, around the face that is followed in it."""

from collections.abc import Iterable, Iterator

import numpy as np

from fv2v.face.crop import Box, box_around, cut
from fv2v.face.detectors.base import Face, FaceDetector
from fv2v.face.detectors.choice import find_faces
from fv2v.face.tracking import FaceTracker
from fv2v.io.resize import TRIANGLE


class SteadyCrop:
    """Iterates over the square crops of a video, (size, size, 3) uint8, one for each (H, W, 3) frame.

    Args:
        frames: the video.
        start: the first face (`find_first_face`): it places the square until the tracker finds that face. So
            a video may begin with frames without a face; they count as `missing` like those later on.
        size: pixels on a side of a crop.
        detector: what finds the face.
        resize: how crops come to that size, as `cut` takes it.
        begin: how many frames come before the one of `start`, where that is known: they are not searched.
        scale, shift: of the square, as `box_around` takes them.

    Attributes:
        tracker: what follows the face.
    """

    def __init__(
        self,
        frames: Iterable[np.ndarray],
        start: Face,
        size: int,
        detector: FaceDetector = find_faces,
        resize: str = TRIANGLE,
        begin: int = 0,
        scale: float | None = None,
        shift: float | None = None,
    ) -> None:
        self._frames, self._scale, self._shift = frames, scale, shift
        self._size, self._resize = size, resize
        self.tracker = FaceTracker(start, detector, begin=begin)

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame, box in self.boxes():
            yield cut(frame, box, self._size, self._resize)

    def boxes(self) -> Iterator[tuple[np.ndarray, Box]]:
        """Each frame whole, and the square in it: for pasting back (paste.py)."""
        for frame in self._frames:
            yield frame, box_around(self.tracker.update(frame), frame.shape[:2], self._scale, self._shift)

    @property
    def visible(self) -> bool:
        """Whether the face could be read in the latest frame."""
        return self.tracker.visible

    @property
    def missing(self) -> int:
        """Frames so far in which the face could not be read."""
        return self.tracker.missing
