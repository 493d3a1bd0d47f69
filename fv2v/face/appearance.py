# SPDX-License-Identifier: Apache-2.0
"""What a tracker remembers of faces and of the picture around them: enough to tell neighbours apart.

No network looks here: a face is its brightness pattern and its colours. One that changed much (a turned head,
other light) may pass for a stranger, and people who resemble each other for one.
"""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from fv2v.face.crop import WIDE
from fv2v.face.detectors.base import Face

PATCH = 16  # cells on a side of a face's pattern
COLOUR_SIZE, COLOUR_WIDTH = 48, 1.5  # pixels on a side of what colours are counted in; its side in face sides
BINS, RANGES = (6, 12, 12), ((0, 256), (96, 176), (96, 176))  # of OpenCV's 8-bit L, a, b
CELLS = (18, 32)  # rows and columns of a frame's thumbnail
CHANGE = 20.0  # levels by which a cell of a thumbnail has changed
CUT, DISSOLVED = 0.2, 0.5  # share of changed cells around the square, from one frame to the next, and later
TIGHT_CUT = 0.6  # of all cells, where the square leaves few
GREY = 110.0  # the mean level at which colours are counted
PLAINER = 0.6  # the contrast of one place in that of another, down to which they may be the same
# Likeness: of 362 pairs of one person (paintings, films, drawn heads) 98 % are above 0.6, of 4,198 of two 1 %
SAME = 0.6  # anywhere in the picture, this is the person
KNOWN = 0.85  # nothing new to remember
LOOKS = 8  # looks of a person that are kept


class Place(NamedTuple):
    """The levels of a face, or of the place where one was."""

    pattern: np.ndarray  # (PATCH²,) its levels, of mean 0 and length 1
    contrast: float  # their standard deviation

    def resembles(self, other: "Place", least: float) -> bool:
        """Whether the patterns correlate by more than `least`, and are about as plain."""
        dim, bright = sorted((self.contrast, other.contrast))
        return dim > PLAINER * bright and float(self.pattern @ other.pattern) > least


class Appearance(NamedTuple):
    """How a face looks in a frame."""

    place: Place
    colours: np.ndarray  # square roots of the shares of its colours: length 1

    def likeness(self, other: "Appearance") -> float:
        """1 for the same pixels, about 0 for other people; their brightness makes no difference."""
        return float(self.place.pattern @ other.place.pattern + self.colours @ other.colours) / 2


class Person:
    """Somebody to be recognised: the looks so far, and those of others to be told from.

    Attributes:
        double: whether one of the others looks the same, so that only the place tells them apart.
        contrast: of the person's face, as it mostly is.
    """

    def __init__(self, look: Appearance, others: Iterable[Appearance] = ()) -> None:
        self._looks = [look]
        beside = list(others)
        self._others = [other for other in beside if look.likeness(other) < SAME]
        self.double = len(self._others) < len(beside)
        self.contrast = look.place.contrast

    def likeness(self, look: Appearance) -> float:
        """To the nearest of the looks; 0 where one of the others is nearer."""
        own = max(look.likeness(known) for known in self._looks)
        return own if own > max((look.likeness(other) for other in self._others), default=-1.0) else 0.0

    def is_other(self, look: Appearance) -> bool:
        """Whether it is one of the others."""
        return any(look.likeness(other) >= SAME for other in self._others)

    def remember(self, look: Appearance) -> None:
        """A look of this person, of a later frame."""
        self.contrast += (look.place.contrast - self.contrast) / 8
        if self.likeness(look) < KNOWN:
            self._looks.append(look)
            del self._looks[1 : len(self._looks) - LOOKS + 1]  # the first one stays


def appearance(image: np.ndarray, face: Face) -> Appearance:
    """Of a face in a (H, W, 3) uint8 RGB picture."""
    pixels = _small(image, face, COLOUR_WIDTH, (COLOUR_SIZE, COLOUR_SIZE)).astype(np.float32)
    pixels *= GREY / max(float(pixels.mean()), 1.0)
    lab = cv2.cvtColor(pixels.clip(0, 255).astype(np.uint8), cv2.COLOR_RGB2LAB)
    counts = cv2.calcHist([lab], [0, 1, 2], None, BINS, [edge for pair in RANGES for edge in pair]).ravel()
    return Appearance(place_of(image, face), np.sqrt(counts / max(float(counts.sum()), 1.0)))


def place_of(image: np.ndarray, face: Face) -> Place:
    """The first field of `Appearance`, at a fraction of its cost."""
    grey = cv2.cvtColor(_small(image, face, 1.0, (PATCH, PATCH)), cv2.COLOR_RGB2GRAY).astype(np.float32)
    pattern = (grey - grey.mean()).ravel()
    length = float(np.linalg.norm(pattern))
    return Place(pattern / max(length, 1.0), length / PATCH)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(18, 32, 3) float32 of a (H, W, 3) uint8 picture."""
    return _reduced(image, CELLS).astype(np.float32)


def is_cut(
    before: np.ndarray, now: np.ndarray, face: Face, size: tuple[int, int], share: float = CUT
) -> bool:
    """Whether the thumbnails of two frames of `size` (H, W) may be of different shots, by the cells changed.

    What counts is the picture around the square of the face: a hand before the face is no cut.
    """
    (H, W), (rows, columns) = size, CELLS
    changed = np.abs(now - before).mean(axis=-1) > CHANGE
    reach = WIDE * face.side / 2
    y, x = (np.arange(n) + 0.5 for n in CELLS)
    around = (np.abs(y * H / rows - face.y) > reach)[:, None] | (np.abs(x * W / columns - face.x) > reach)
    if around.mean() < CUT:
        return bool(changed.mean() > TIGHT_CUT)
    return bool(changed[around].mean() > share)


def _small(image: np.ndarray, face: Face, width: float, size: tuple[int, int]) -> np.ndarray:
    """(*size, 3): the square of `width` face sides about a face, as far as it lies in the picture."""
    H, W = image.shape[:2]
    half = width * face.side / 2
    left, right = (int(min(max(face.x + sign * half, 0), W)) for sign in (-1, 1))
    top, bottom = (int(min(max(face.y + sign * half, 0), H)) for sign in (-1, 1))
    if right <= left or bottom <= top:
        return np.zeros((*size, 3), np.uint8)
    return _reduced(image[top:bottom, left:right], size)


def _reduced(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """By area, of every n-th pixel where there are many."""
    step = max(1, min(image.shape[0] // (4 * size[0]), image.shape[1] // (4 * size[1])))
    few = np.ascontiguousarray(image[::step, ::step])
    return cv2.resize(few, size[::-1], interpolation=cv2.INTER_AREA)
