# SPDX-License-Identifier: Apache-2.0
"""OpenCV's Haar cascade `haarcascade_frontalface_alt2`, the detector where no other is installed.

It knows upright faces seen from the front. A picture in which it finds none is searched at finer scale and
then turned, in steps of 15 degrees. It looks at red, in which dark skin has the contrast that it expects;
what it is not sure of has to be found in grey, too. Its box runs from the middle of the forehead to the chin.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import cv2.data
import numpy as np

from fv2v.face.detectors.base import Face, overlap

WHOLE_SIZE = 640  # a whole picture is searched with its longest side reduced to this, in pixels
FINE_SIZE = 1600  # the same where it shows no face at that size
TURNED_SIZE = 400  # the same of a picture that is searched turned
NEAR_SIZE = 200  # the same for the neighbourhood of a known face: 6 ms instead of 100
LEANING = (15, -15, 30, -30, 45, -45)  # degrees a picture is turned by
LYING = (*range(60, 181, 15), *range(-60, -180, -15))
NEIGHBOURS = 5  # overlapping boxes that make a face: the cascade's own measure of certainty
TURNED_NEIGHBOURS = 12  # the same of turned pictures, of which each is one more chance to be wrong, together
SURE = 24  # the count from which on a hit needs no second look
CONTRAST, TILES = 2.0, (4, 4)  # by how much contrast is raised at most, in so many parts of the picture


def find_faces(image: np.ndarray, frame: int = 0, near: Face | None = None) -> list[Face]:
    """Faces seen from the front, largest first: a `FaceDetector`.

    In a frame after a video's first, only faces that lean by 45 degrees at most: to look for others takes
    a second.
    """
    if near is not None:
        return _search_near(image, near)
    faces = _confirmed(image, _search(image, WHOLE_SIZE))
    if not faces and max(image.shape) > WHOLE_SIZE:
        faces = _confirmed(image, _search(image, FINE_SIZE))
    return faces or _turned(image, LEANING) or ([] if frame else _turned(image, LYING))


def _search_near(image: np.ndarray, face: Face) -> list[Face]:
    """Faces of a similar size whose centres lie in the box of `face`, largest first."""
    left, top = (max(0, int(centre - face.side)) for centre in (face.x, face.y))
    near = image[top : int(face.y + face.side), left : int(face.x + face.side)]
    if near.size == 0:
        return []
    found = _rolled(near, NEAR_SIZE, face.roll, least=0.3)
    found = [replace(it, x=it.x + left, y=it.y + top) for it in found]
    return [it for it in found if max(abs(it.x - face.x), abs(it.y - face.y)) < face.side / 2]


def _turned(image: np.ndarray, turns: tuple[int, ...]) -> list[Face]:
    """Faces of the picture at some turn, those at once that are surest, largest first.

    A face is found at neighbouring turns, too: their counts are added.
    """
    found = [it for turn in turns for it in _rolled(image, TURNED_SIZE, turn, neighbours=1)]
    kept: list[Face] = []
    for face in sorted(found, key=lambda face: -face.score):
        count = sum(_count(it) for it in found if _same(it, face))
        if count >= TURNED_NEIGHBOURS and not any(overlap(face, it) for it in kept):
            kept.append(face)
    return sorted(_confirmed(image, kept), key=lambda face: -face.side)


def _confirmed(image: np.ndarray, faces: list[Face]) -> list[Face]:
    """Those that are sure, and those that are found again at another scale in grey."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return [face for face in faces if _count(face) >= SURE or _search_near(grey, face)]


def _same(found: Face, face: Face) -> bool:
    """Whether hits at two turns are of one face."""
    return overlap(found, face) and 0.6 < found.side / face.side < 1.7


def _rolled(
    image: np.ndarray, longest: int, roll: float, least: float = 0.0, neighbours: int = NEIGHBOURS
) -> list[Face]:
    """`_search` of the picture turned about its middle, so that faces tilted by `roll` stand upright."""
    if roll == 0:
        return _search(image, longest, least)
    H, W = image.shape[:2]
    scale = min(1.0, longest / max(H, W))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    turn = cv2.getRotationMatrix2D((small.shape[1] / 2, small.shape[0] / 2), roll, 1.0)
    w, h = np.ceil(np.abs(turn[:, :2]) @ small.shape[1::-1]).astype(int).tolist()
    turn[:, 2] += (w - small.shape[1]) / 2, (h - small.shape[0]) / 2
    upright = cv2.warpAffine(small, turn, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    back = cv2.invertAffineTransform(turn)
    faces = []
    for face in _search(upright, longest, least, neighbours):
        x, y = (back[:, :2] @ (face.x, face.y) + back[:, 2]) / scale
        if 0 <= x < W and 0 <= y < H:
            faces.append(Face(float(x), float(y), face.side / scale, face.score, roll=roll))
    return faces


def _search(image: np.ndarray, longest: int, least: float = 0.0, neighbours: int = NEIGHBOURS) -> list[Face]:
    """Upright faces in the picture reduced to `longest`, largest first.

    `least`: the side of the smallest face, as a part of the picture's shorter side.
    """
    grey = np.ascontiguousarray(image[..., 0])  # in red, skin of any colour is lighter than eyes and lips
    scale = min(1.0, longest / max(grey.shape))
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if np.ptp(grey) == 0:
        return []
    smallest = round(least * min(grey.shape))
    with _one_thread():
        boxes, counts = _cascade().detectMultiScale2(
            _evened(grey), scaleFactor=1.1, minNeighbors=neighbours, minSize=(smallest, smallest)
        )
    faces = [
        Face((x + w / 2) / scale, (y + h / 2) / scale, w / scale, count / (count + NEIGHBOURS))
        for (x, y, w, h), count in zip(
            np.array(boxes, float).tolist(), np.ravel(counts).tolist(), strict=True
        )
    ]
    return sorted(faces, key=lambda face: -face.side)


def _evened(grey: np.ndarray) -> np.ndarray:
    """The full range of levels, and more contrast where there is little, whatever surrounds the face."""
    full = cv2.normalize(grey, None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]
    return cv2.createCLAHE(CONTRAST, TILES).apply(full)


def _count(face: Face) -> float:
    """The overlapping boxes that made it, from its score."""
    return NEIGHBOURS * face.score / (1 - face.score)


@cache
def _cascade() -> "cv2.CascadeClassifier":  # OpenCV 5 has none, and needs none to be imported
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
