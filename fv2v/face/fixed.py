# SPDX-License-Identifier: Apache-2.0
"""Crops of a video by landmarks, to a square that stays or to each frame's own; or its middle."""

from collections.abc import Iterable, Iterator

import numpy as np

from fv2v.face.crop import cut, middle_square, resized
from fv2v.face.cropping import Framing
from fv2v.face.detectors.base import FaceDetector
from fv2v.face.detectors.given import GivenFaces
from fv2v.face.landmarks import RELEASE_SIZE, Square, crop_square, square_around


class FixedCrop:
    """Iterates over the crops of a video to one square, as LivePortrait's release crops a driving video.

    Each is cut at the release's 512 pixels, black past the picture's border, and then resized.

    Args:
        frames, size, resize: as `SteadyCrop` takes them.
        square: of the whole video.
        detector: in which frames there is a face.

    Attributes:
        visible: whether there was one in the latest frame.
    """

    def __init__(
        self, frames: Iterable[np.ndarray], square: Square, size: int, detector: FaceDetector, resize: str
    ) -> None:
        self._frames, self._square, self._detector = frames, square, detector
        self._size, self._resize = size, resize
        self.visible = True

    def __iter__(self) -> Iterator[np.ndarray]:
        for number, frame in enumerate(self._frames):
            self.visible = bool(self._detector(frame, number))
            yield self.crop(frame)

    def crop(self, frame: np.ndarray, number: int = 0) -> np.ndarray:
        """(size, size, 3): of one (H, W, 3) frame, whichever number it has."""
        return resized(crop_square(frame, self._square, RELEASE_SIZE), self._size, self._resize)


class UprightCrop:
    """Iterates over crops of a video, each to an upright square of its own, as PerformRecast's release does.

    A frame without a face has the square of the one before it, or of the first that has.

    Args:
        frames, size: as `SteadyCrop` takes them.
        faces: with the landmarks of each frame.
        framing: how they are cut out.

    Attributes:
        visible: whether there was a face in the latest frame.
    """

    def __init__(self, frames: Iterable[np.ndarray], faces: GivenFaces, framing: Framing, size: int) -> None:
        self._frames, self._faces, self._framing, self._size = frames, faces, framing, size
        self.visible = True

    def __iter__(self) -> Iterator[np.ndarray]:
        for number, frame in enumerate(self._frames):
            self.visible = bool(self._faces(frame, number))
            yield self.crop(frame, number)

    def crop(self, frame: np.ndarray, number: int) -> np.ndarray:
        """(size, size, 3): of one (H, W, 3) frame."""
        marks = self._faces.latest(number)
        square = self._framing.turned(square_around(marks, *self._framing.by_landmarks))
        return crop_square(frame, square, self._size)


def middle_crops(frames: Iterable[np.ndarray], size: int, resize: str) -> Iterator[np.ndarray]:
    """The middle squares of a video's frames, resized."""
    return (cut(frame, middle_square(frame), size, resize) for frame in frames)
