# SPDX-License-Identifier: Apache-2.0
"""The square crops of a video, around a face that is followed (tracking.py)."""

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
    """

    def __init__(
        self,
        frames: Iterable[np.ndarray],
        start: Face,
        size: int,
        detector: FaceDetector = find_faces,
        resize: str = TRIANGLE,
        begin: int = 0,
    ) -> None:
        self._frames = frames
        self._size, self._resize = size, resize
        self._tracker = FaceTracker(start, detector, begin=begin)

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame, box in self.boxes():
            yield cut(frame, box, self._size, self._resize)

    def boxes(self) -> Iterator[tuple[np.ndarray, Box]]:
        """Each frame whole, and the square in it: for pasting back (paste.py)."""
        for frame in self._frames:
            yield frame, box_around(self._tracker.update(frame), frame.shape[:2])

    @property
    def visible(self) -> bool:
        """Whether the face could be read in the latest frame."""
        return self._tracker.visible

    @property
    def found(self) -> Face:
        """The latest detection, with its score and points."""
        return self._tracker.found

    @property
    def missing(self) -> int:
        """Frames so far in which the face could not be read."""
        return self._tracker.missing

    @property
    def others(self) -> list[int]:
        """Frames from which on another face is followed, as `FaceTracker` has them."""
        return self._tracker.others
