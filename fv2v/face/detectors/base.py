# SPDX-License-Identifier: Apache-2.0
"""What a face detector and a landmark detector are: any callables with these signatures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Face:
    """A face in a picture: centre and side of its square box, in pixels, from mid-forehead to chin."""

    x: float
    y: float
    side: float
    score: float = 1.0  # the detector's own, 0 to 1: how sure it is that this is a face
    # (5, 2) pixels (x, y): the eyes, the tip of the nose, the corners of the mouth; of each pair first the
    # one that is to the left in the picture of an upright face; None: the detector has none
    points: np.ndarray | None = field(default=None, compare=False)
    roll: float = 0.0  # degrees by which the head is tilted, clockwise in the picture


class FaceDetector(Protocol):
    """Finds the faces in a picture."""

    def __call__(self, image: np.ndarray, frame: int = 0, near: Face | None = None) -> Sequence[Face]:
        """The faces in a (H, W, 3) uint8 RGB picture, in any order.

        `frame` is its number in the video, from 0. `near` is a face found in a frame shortly before: then
        only boxes that may be the same face are returned.
        """
        ...


class LandmarkDetector(Protocol):
    """Marks a face in a picture."""

    def __call__(self, image: np.ndarray, face: Face, frame: int = 0) -> np.ndarray:
        """(n, 2) pixels (x, y), one of the sets of landmarks.py, of a face in a (H, W, 3) uint8 picture."""
        ...


def overlap(a: Face, b: Face) -> bool:
    """Whether two boxes can be of one face: the centre of one lies in the other."""
    return max(abs(a.x - b.x), abs(a.y - b.y)) < max(a.side, b.side) / 2
