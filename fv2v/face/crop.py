"""The square around a face that the networks see.

It is 1.9 times as wide as the face that a detector finds (`faces.py`): hair, chin and some shoulder, as in
the VoxCeleb crops that the public weights learned from. Over a video it holds still: a shift of it would be
read as motion.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from fv2v.face.find import Face, FaceDetector, find_face, find_faces

WIDE, TIGHT = 1.9, 1.6  # the square's side in face sides: wanted, and least where the picture is small
SHIFT = 0.1  # how far it may move off the face to stay inside the picture, in sides of the square


@dataclass(frozen=True, slots=True)
class Box:
    """A square of whole pixels; it may reach past the picture's border."""

    left: int
    top: int
    side: int

    def to_original(self, size: int) -> np.ndarray:
        """(3, 3): from pixels (x, y) of a crop of `size` x `size`, as `cut` makes it, to the picture's.

        A pixel stands for its middle, as cv2.resize has it: its first is half a crop's pixel from the edge.
        """
        scale = self.side / size
        edge = (scale - 1) / 2
        return np.array([[scale, 0, self.left + edge], [0, scale, self.top + edge], [0, 0, 1]])


def box_around(face: Face, size: tuple[int, int]) -> Box:
    """The square to cut for a face in a picture of `size` (H, W).

    It gives up some width and centring to stay inside the picture, but no more than leaves the head whole.
    """
    H, W = size
    side = round(min(max(min(H, W), TIGHT * face.side), WIDE * face.side))
    return Box(_toward_inside(face.x - side / 2, side, W), _toward_inside(face.y - side / 2, side, H), side)


def _toward_inside(start: float, side: int, size: int) -> int:
    """Where a stretch of `side` pixels starts once it is moved, not far, to lie in or over `size` of them."""
    lowest, highest = sorted((0, size - side))
    wanted = min(max(start, lowest), highest)
    return round(start + min(max(wanted - start, -SHIFT * side), SHIFT * side))


def middle_square(image: np.ndarray) -> Box:
    """The largest square in the middle of a (H, W, 3) picture."""
    H, W = image.shape[:2]
    side = min(H, W)
    return Box((W - side) // 2, (H - side) // 2, side)


def cut(image: np.ndarray, box: Box, size: int) -> np.ndarray:
    """(size, size, 3): what `box` shows of (H, W, 3). Beyond the border the outermost pixels repeat."""
    H, W = image.shape[:2]
    columns = np.clip(np.arange(box.left, box.left + box.side), 0, W - 1)
    rows = np.clip(np.arange(box.top, box.top + box.side), 0, H - 1)
    inside = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top, left = max(0, -box.top), max(0, -box.left)
    bottom, right = max(0, box.top + box.side - H), max(0, box.left + box.side - W)
    if top or left or bottom or right:
        inside = cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REPLICATE)
    shrinks = box.side > size
    return cv2.resize(inside, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def crop_face(image: np.ndarray, size: int, name: str = "the picture") -> np.ndarray:
    """(size, size, 3): the square around the largest face of (H, W, 3). ValueError if there is none."""
    return cut(image, box_around(find_face(image, name), image.shape[:2]), size)


class FaceTracker:
    """The face of a video, kept steady: causal, one frame at a time.

    The face that the tracker shows stands still until the real one has left a dead zone around it; then it
    glides there and stands again. A tracker looks at every third frame and only near the face that it knows.
    While that one is out of sight the tracker stands; after ten looks in vain it takes the largest anywhere.

    Args:
        start: where the face is at first.
        detector: what finds it.

    Attributes:
        face: where the square belongs now.
        frames: how many frames it was shown.
        missing: in how many of them the face was out of sight.
    """

    EVERY = 3  # look at each third frame
    PATIENCE = 10  # looks in vain before the whole picture is searched
    LEAVES = 0.2  # dead zone: how far a face moves or grows, in its own sides, before it is followed
    ARRIVES = 0.02  # and how near the follower gets before it stands again
    PACE = 0.1  # part of the remaining way that it takes with each frame
    TRUST = 0.5  # weight of a new measurement: one bad box in between moves nothing

    def __init__(self, start: Face, detector: FaceDetector = find_faces) -> None:
        self.face = start
        self._detector = detector
        self.frames = self.missing = 0
        self._seen = self._target = start
        self._in_vain = 0
        self._follows = False

    def update(self, frame: np.ndarray) -> Face:
        """Show the tracker the next (H, W, 3) uint8 RGB frame."""
        if self.frames % self.EVERY == 0:
            self._look(frame)
        self.frames += 1
        self.missing += self._in_vain > 0
        self._glide()
        return self.face

    def _look(self, frame: np.ndarray) -> None:
        found = self._largest(frame, self._seen)
        if found is None and self._in_vain >= self.PATIENCE:
            found = self._largest(frame, None)
            if found is not None:
                self._target = found  # another place, perhaps another shot: nothing to average with
        if found is None:
            self._in_vain += 1
            return
        self._in_vain = 0
        self._seen = found
        self._target = _between(self._target, found, self.TRUST)

    def _largest(self, frame: np.ndarray, near: Face | None) -> Face | None:
        faces = self._detector(frame, self.frames, near)
        return max(faces, key=lambda face: face.side, default=None)

    def _glide(self) -> None:
        distance = _distance(self.face, self._target)
        self._follows = distance > (self.ARRIVES if self._follows else self.LEAVES)
        if self._follows:
            self.face = _between(self.face, self._target, self.PACE)


class SteadyCrop:
    """Iterates over the square crops of a video, (size, size, 3) uint8, one for each (H, W, 3) frame.

    `start` is the first face (`find_first_face`): it places the square until the tracker sees that face. So a
    video may begin with frames without a face; they are counted in `missing` like those later on. `detector`
    is what finds it.
    """

    def __init__(
        self, frames: Iterable[np.ndarray], start: Face, size: int, detector: FaceDetector = find_faces
    ) -> None:
        self._frames = frames
        self._size = size
        self._tracker = FaceTracker(start, detector)

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame, box in self.boxes():
            yield cut(frame, box, self._size)

    def boxes(self) -> Iterator[tuple[np.ndarray, Box]]:
        """Each frame whole, and the square in it: for pasting back (`paste.py`)."""
        for frame in self._frames:
            yield frame, box_around(self._tracker.update(frame), frame.shape[:2])

    @property
    def missing(self) -> int:
        """Frames so far in which the face was out of sight."""
        return self._tracker.missing


def driving_crops(
    frames: Iterable[np.ndarray], start: Face | None, size: int, detector: FaceDetector = find_faces
) -> Iterable[np.ndarray]:
    """The steady square around the driver's face, from `start` on; without one the middle square."""
    if start is None:
        return (cut(frame, middle_square(frame), size) for frame in frames)
    return SteadyCrop(frames, start, size, detector)


def _between(a: Face, b: Face, part: float) -> Face:
    return Face(a.x + part * (b.x - a.x), a.y + part * (b.y - a.y), a.side + part * (b.side - a.side))


def _distance(a: Face, b: Face) -> float:
    """How far b is from a, or how much larger or smaller, in sides of a: whichever is more."""
    return max(abs(b.x - a.x), abs(b.y - a.y), abs(b.side - a.side)) / a.side
