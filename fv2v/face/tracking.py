# SPDX-License-Identifier: Apache-2.0
"""The square around a face, followed over a video.

It stands still as long as the face stays about where it is: the networks would read a shift of the crop as
motion of the head.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from fv2v.face.crop import Box, box_around, cut, middle_square, resized
from fv2v.face.detectors.base import Face, FaceDetector
from fv2v.face.detectors.haar import find_faces
from fv2v.face.landmarks import RELEASE_SIZE, Square, crop_square
from fv2v.io.resize import TRIANGLE


class FaceTracker:
    """The face of a video, kept steady: causal, one frame at a time.

    The tracked face stands still until the detected one has left a dead zone around it; then it glides there
    and stands again. The detector runs on every third frame, and only near the last detection. While it
    finds nothing the tracked face stands; after ten misses the largest face anywhere is taken.

    Args:
        start: where the face is at first.
        detector: what finds it.
        stride: the detector runs on every `stride`-th frame.
        patience: detections that may miss in a row before the whole picture is searched.
        dead_zone: how far a face moves or grows, in its own sides, before it is followed.
        settle: how near the tracked face gets, in the same unit, before it stands again.
        smoothing: the part of the remaining distance that it moves in each frame.
        measurement_weight: of a new detection in the running average: one bad box moves nothing.

    Attributes:
        face: where the square belongs now.
        frames: how many frames have been tracked.
        missing: in how many of them the face was out of sight.
    """

    def __init__(
        self,
        start: Face,
        detector: FaceDetector = find_faces,
        *,
        stride: int = 3,
        patience: int = 10,
        dead_zone: float = 0.2,
        settle: float = 0.02,
        smoothing: float = 0.1,
        measurement_weight: float = 0.5,
    ) -> None:
        self.face = start
        self.frames = self.missing = 0
        self._detector = detector
        self._stride, self._patience = stride, patience
        self._dead_zone, self._settle = dead_zone, settle
        self._smoothing, self._measurement_weight = smoothing, measurement_weight
        self._last_found = self._target = start
        self._misses = 0  # in a row
        self._moving = False

    def update(self, frame: np.ndarray) -> Face:
        """Track the next (H, W, 3) uint8 RGB frame."""
        if self.frames % self._stride == 0:
            self._detect(frame)
        self.frames += 1
        self.missing += self._misses > 0
        self._glide()
        return self.face

    def _detect(self, frame: np.ndarray) -> None:
        found = self._largest(frame, self._last_found)
        if found is None and self._misses >= self._patience:
            found = self._largest(frame, None)
            if found is not None:
                self._target = found  # another place, perhaps another shot: nothing to average with
        if found is None:
            self._misses += 1
            return
        self._misses = 0
        self._last_found = found
        self._target = _between(self._target, found, self._measurement_weight)

    def _largest(self, frame: np.ndarray, near: Face | None) -> Face | None:
        faces = self._detector(frame, self.frames, near)
        return max(faces, key=lambda face: face.side, default=None)

    def _glide(self) -> None:
        distance = _distance(self.face, self._target)
        self._moving = distance > (self._settle if self._moving else self._dead_zone)
        if self._moving:
            self.face = _between(self.face, self._target, self._smoothing)


class SteadyCrop:
    """Iterates over the square crops of a video, (size, size, 3) uint8, one for each (H, W, 3) frame.

    Args:
        frames: the video.
        start: the first face (`find_first_face`): it places the square until the tracker finds that face. So
            a video may begin with frames without a face; they count as `missing` like those later on.
        size: pixels on a side of a crop.
        detector: what finds the face.
        resize: how crops come to that size, as `cut` takes it.
    """

    def __init__(
        self,
        frames: Iterable[np.ndarray],
        start: Face,
        size: int,
        detector: FaceDetector = find_faces,
        resize: str = TRIANGLE,
    ) -> None:
        self._frames = frames
        self._size, self._resize = size, resize
        self._tracker = FaceTracker(start, detector)

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame, box in self.boxes():
            yield cut(frame, box, self._size, self._resize)

    def boxes(self) -> Iterator[tuple[np.ndarray, Box]]:
        """Each frame whole, and the square in it: for pasting back (paste.py)."""
        for frame in self._frames:
            yield frame, box_around(self._tracker.update(frame), frame.shape[:2])

    @property
    def missing(self) -> int:
        """Frames so far in which the face was out of sight."""
        return self._tracker.missing


class FixedCrop:
    """Iterates over the crops of a video to one square, as LivePortrait's release crops a driving video.

    Each is cut at the release's 512 pixels, black past the picture's border, and then resized.

    Args:
        frames, size, resize: as `SteadyCrop` takes them.
        square: of the whole video.
        detector: in which frames there is a face.

    Attributes:
        missing: frames so far in which there was none.
    """

    def __init__(
        self, frames: Iterable[np.ndarray], square: Square, size: int, detector: FaceDetector, resize: str
    ) -> None:
        self._frames, self._square, self._detector = frames, square, detector
        self._size, self._resize = size, resize
        self.missing = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for number, frame in enumerate(self._frames):
            self.missing += not self._detector(frame, number)
            yield resized(crop_square(frame, self._square, RELEASE_SIZE), self._size, self._resize)


def middle_crops(frames: Iterable[np.ndarray], size: int, resize: str) -> Iterator[np.ndarray]:
    """The middle squares of a video's frames, resized."""
    return (cut(frame, middle_square(frame), size, resize) for frame in frames)


def _between(a: Face, b: Face, part: float) -> Face:
    return Face(a.x + part * (b.x - a.x), a.y + part * (b.y - a.y), a.side + part * (b.side - a.side))


def _distance(a: Face, b: Face) -> float:
    """How far b is from a, or how much larger or smaller, in sides of a: whichever is more."""
    return max(abs(b.x - a.x), abs(b.y - a.y), abs(b.side - a.side)) / a.side
