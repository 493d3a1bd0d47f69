"""Where the face is, and the square around it that the networks see.

Faces are found by OpenCV's Haar cascade `haarcascade_frontalface_alt2`, whose box runs from the middle of the
forehead to the chin. The square is 1.9 times as wide: hair, chin and some shoulder, as in the VoxCeleb crops
that the public weights learned from. Over a video it holds still: a shift of it would be read as motion.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

import cv2
import cv2.data
import numpy as np

SEARCHED = 640  # a picture's longest side when all of it is searched, in pixels
FOLLOWED = 200  # the same for the neighbourhood of a face already known: 6 ms instead of 100
LOOK_AHEAD = 150  # the first face is sought in so many frames

WIDE, TIGHT = 1.9, 1.6  # the square's side in face sides: wanted, and least where the picture is small
SHIFT = 0.1  # how far it may move off the face to stay inside the picture, in sides of the square


@dataclass(frozen=True, slots=True)
class Face:
    """A face in a picture: centre and side of its square box, in pixels."""

    x: float
    y: float
    side: float


@dataclass(frozen=True, slots=True)
class Box:
    """A square of whole pixels; it may reach past the picture's border."""

    left: int
    top: int
    side: int


def find_faces(image: np.ndarray) -> list[Face]:
    """The faces in a (H, W, 3) uint8 RGB picture, largest first."""
    return _search(image, SEARCHED, least=0.0)


def find_face(image: np.ndarray, name: str = "the picture") -> Face:
    """The largest face in a (H, W, 3) uint8 RGB picture. ValueError, naming `name`, if there is none."""
    faces = find_faces(image)
    if not faces:
        H, W = image.shape[:2]
        raise ValueError(
            f"{name}: no face found in {W} x {H} pixels; expected one seen from the front "
            "(or a square crop of a face, used as it is with --no-crop, crop=False)"
        )
    return faces[0]


def find_first_face(frames: Iterable[np.ndarray], name: str = "the video") -> Face:
    """The largest face of the first frame that has one. Raises ValueError if the first 150 have none."""
    count = 0
    for frame in islice(frames, LOOK_AHEAD):
        faces = find_faces(frame)
        if faces:
            return faces[0]
        count += 1
    raise ValueError(
        f"{name}: no face found in the first {count} frames; cut the video to where a face is seen from the "
        "front (or give square crops of a face, used as they are with --no-crop, crop=False)"
    )


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

    def __init__(self, start: Face) -> None:
        self.face = start
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
        found = _search_near(frame, self._seen)
        if found is None and self._in_vain >= self.PATIENCE:
            found = next(iter(find_faces(frame)), None)
            if found is not None:
                self._target = found  # another place, perhaps another shot: nothing to average with
        if found is None:
            self._in_vain += 1
            return
        self._in_vain = 0
        self._seen = found
        self._target = _between(self._target, found, self.TRUST)

    def _glide(self) -> None:
        distance = _distance(self.face, self._target)
        self._follows = distance > (self.ARRIVES if self._follows else self.LEAVES)
        if self._follows:
            self.face = _between(self.face, self._target, self.PACE)


class SteadyCrop:
    """Iterates over the square crops of a video, (size, size, 3) uint8, one for each (H, W, 3) frame.

    `start` is the first face (`find_first_face`): it places the square until the tracker sees that face. So a
    video may begin with frames without a face; they are counted in `missing` like those later on.
    """

    def __init__(self, frames: Iterable[np.ndarray], start: Face, size: int) -> None:
        self._frames = frames
        self._size = size
        self._tracker = FaceTracker(start)

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self._frames:
            yield cut(frame, box_around(self._tracker.update(frame), frame.shape[:2]), self._size)

    @property
    def missing(self) -> int:
        """Frames so far in which the face was out of sight."""
        return self._tracker.missing


def driving_crops(frames: Iterable[np.ndarray], start: Face | None, size: int) -> Iterable[np.ndarray]:
    """The steady square around the driver's face, from `start` on; without one the middle square."""
    return SteadyCrop(frames, start, size) if start else (cut(f, middle_square(f), size) for f in frames)


def _between(a: Face, b: Face, part: float) -> Face:
    return Face(a.x + part * (b.x - a.x), a.y + part * (b.y - a.y), a.side + part * (b.side - a.side))


def _distance(a: Face, b: Face) -> float:
    """How far b is from a, or how much larger or smaller, in sides of a: whichever is more."""
    return max(abs(b.x - a.x), abs(b.y - a.y), abs(b.side - a.side)) / a.side


def _search_near(image: np.ndarray, face: Face) -> Face | None:
    """The largest face of a like size whose centre lies in the box of `face`."""
    left, top = (max(0, int(centre - face.side)) for centre in (face.x, face.y))
    near = image[top : int(face.y + face.side), left : int(face.x + face.side)]
    if near.size == 0:
        return None
    for found in _search(near, FOLLOWED, least=0.3):
        found = replace(found, x=found.x + left, y=found.y + top)
        if max(abs(found.x - face.x), abs(found.y - face.y)) < face.side / 2:
            return found
    return None


def _search(image: np.ndarray, longest: int, least: float) -> list[Face]:
    """Faces, largest first, in the picture reduced to `longest`; `least`: the smallest, as a part of it."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, longest / max(grey.shape))
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    smallest = round(least * min(grey.shape))
    with _one_thread():
        boxes = _cascade().detectMultiScale(
            cv2.equalizeHist(grey), scaleFactor=1.1, minNeighbors=5, minSize=(smallest, smallest)
        )
    faces = [Face((x + w / 2) / scale, (y + h / 2) / scale, w / scale) for x, y, w, h in boxes]
    return sorted(faces, key=lambda face: -face.side)


@cache
def _cascade() -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"))


@contextmanager
def _one_thread() -> Iterator[None]:
    """The cascade is no faster on more threads, and they would take the cores from the networks."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
