"""Which faces are in a picture: what finds them, and the way that is built in.

A detector is anything that can be called as `FaceDetector` says, a landmark detector as `LandmarkDetector`.
Built in is `find_faces`: OpenCV's Haar cascade `haarcascade_frontalface_alt2`, whose box runs from the middle
of the forehead to the chin. `given_faces.py` takes what the user knows of the faces.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Protocol

import cv2
import cv2.data
import numpy as np

SEARCHED = 640  # a picture's longest side when all of it is searched, in pixels
FOLLOWED = 200  # the same for the neighbourhood of a face already known: 6 ms instead of 100
LOOK_AHEAD = 150  # the first face is sought in so many frames


@dataclass(frozen=True, slots=True)
class Face:
    """A face in a picture: centre and side of its square box, in pixels, from mid-forehead to chin."""

    x: float
    y: float
    side: float


class FaceDetector(Protocol):
    """Finds the faces in a picture."""

    def __call__(self, image: np.ndarray, frame: int = 0, near: Face | None = None) -> Sequence[Face]:
        """The faces in a (H, W, 3) uint8 RGB picture, in any order.

        `frame` is its number in the video, from 0. Where `near` is given only that face is wanted, which was
        in a frame shortly before: what cannot be it is left out.
        """
        ...


class LandmarkDetector(Protocol):
    """Marks a face in a picture."""

    def __call__(self, image: np.ndarray, face: Face, frame: int = 0) -> np.ndarray:
        """(n, 2) pixels (x, y), one of the sets of `landmarks.py`, of a face in a (H, W, 3) uint8 picture."""
        ...


def find_faces(image: np.ndarray, frame: int = 0, near: Face | None = None) -> list[Face]:
    """The built-in `FaceDetector`: largest first; faces seen from the front. `frame` makes no difference."""
    return _search(image, SEARCHED, least=0.0) if near is None else _search_near(image, near)


def find_face(
    image: np.ndarray, name: str = "the picture", number: int = 1, detector: FaceDetector = find_faces
) -> Face:
    """A face in a (H, W, 3) uint8 RGB picture.

    Args:
        image: the picture.
        name: what errors call it.
        number: 1 is the largest face, 2 the next, and so on.
        detector: what finds them.

    Raises:
        ValueError: there is none, or fewer than `number`.
    """
    faces = _sorted(detector(image))
    if not faces:
        H, W = image.shape[:2]
        raise ValueError(
            f"{name}: no face found in {W} x {H} pixels; expected one seen from the front "
            "(or a square crop of a face, used as it is with --no-crop, crop=False)"
        )
    if not 1 <= number <= len(faces):
        raise ValueError(_too_few(name, number, len(faces)))
    return faces[number - 1]


def find_first_face(
    frames: Iterable[np.ndarray],
    name: str = "the video",
    number: int = 1,
    detector: FaceDetector = find_faces,
) -> Face:
    """A face, as `find_face` counts them, of the first frame that has so many.

    Raises:
        ValueError: none of the first 150 frames has.
    """
    count = most = 0
    for frame in islice(frames, LOOK_AHEAD):
        faces = _sorted(detector(frame, count))
        if len(faces) >= number >= 1:
            return faces[number - 1]
        count, most = count + 1, max(most, len(faces))
    if most:
        raise ValueError(f"{_too_few(name, number, most)} at once in the first {count} frames")
    raise ValueError(
        f"{name}: no face found in the first {count} frames; cut the video to where a face is seen from the "
        "front (or give square crops of a face, used as they are with --no-crop, crop=False)"
    )


def _too_few(name: str, number: int, found: int) -> str:
    counted = " (they count from 1, the largest)" if number < 1 else ""
    return f"{name}: asked for face {number}{counted}, found {found}"


def _sorted(faces: Iterable[Face]) -> list[Face]:
    """Largest first."""
    return sorted(faces, key=lambda face: -face.side)


def _search_near(image: np.ndarray, face: Face) -> list[Face]:
    """Faces, largest first, of a like size whose centres lie in the box of `face`."""
    left, top = (max(0, int(centre - face.side)) for centre in (face.x, face.y))
    near = image[top : int(face.y + face.side), left : int(face.x + face.side)]
    if near.size == 0:
        return []
    found = [replace(it, x=it.x + left, y=it.y + top) for it in _search(near, FOLLOWED, least=0.3)]
    return [it for it in found if max(abs(it.x - face.x), abs(it.y - face.y)) < face.side / 2]


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
    return _sorted(faces)


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
