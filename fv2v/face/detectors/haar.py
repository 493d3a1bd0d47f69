# SPDX-License-Identifier: Apache-2.0
"""The built-in detector: OpenCV's Haar cascade `haarcascade_frontalface_alt2`.

Its box runs from the middle of the forehead to the chin.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import cv2.data
import numpy as np

from fv2v.face.detectors.base import Face

WHOLE_SIZE = 640  # a whole picture is searched with its longest side reduced to this, in pixels
NEAR_SIZE = 200  # the same for the neighbourhood of a known face: 6 ms instead of 100


def find_faces(image: np.ndarray, frame: int = 0, near: Face | None = None) -> list[Face]:
    """Faces seen from the front, largest first: a `FaceDetector`. `frame` makes no difference."""
    return _search(image, WHOLE_SIZE, least=0.0) if near is None else _search_near(image, near)


def _search_near(image: np.ndarray, face: Face) -> list[Face]:
    """Faces of a similar size whose centres lie in the box of `face`, largest first."""
    left, top = (max(0, int(centre - face.side)) for centre in (face.x, face.y))
    near = image[top : int(face.y + face.side), left : int(face.x + face.side)]
    if near.size == 0:
        return []
    found = [replace(it, x=it.x + left, y=it.y + top) for it in _search(near, NEAR_SIZE, least=0.3)]
    return [it for it in found if max(abs(it.x - face.x), abs(it.y - face.y)) < face.side / 2]


def _search(image: np.ndarray, longest: int, least: float) -> list[Face]:
    """Faces in the picture reduced to `longest`, largest first.

    `least`: the side of the smallest face, as a part of the picture's shorter side.
    """
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
