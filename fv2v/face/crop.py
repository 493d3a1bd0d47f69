# SPDX-License-Identifier: Apache-2.0
"""The square around a face that the networks see.

It is 1.9 times as wide as the box that a face detector finds: hair, chin and some shoulder, as in the
VoxCeleb crops that the public weights were trained on.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from fv2v.face.detectors.base import Face
from fv2v.io.resize import AREA, GAUSSIAN, TRIANGLE
from fv2v.io.tensors import as_batch, to_images, to_uint8

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

        Coordinates are of pixel centres, as in cv2.resize: the centre of the crop's first pixel lies half a
        crop pixel from the square's edge.
        """
        scale = self.side / size
        edge = (scale - 1) / 2
        return np.array([[scale, 0, self.left + edge], [0, scale, self.top + edge], [0, 0, 1]])


def box_around(
    face: Face, size: tuple[int, int], scale: float | None = None, shift: float | None = None
) -> Box:
    """The square to cut for a face in a picture of `size` (H, W).

    To stay inside the picture it may shrink to `TIGHT` face sides and move by `SHIFT`; the head stays whole.
    A `scale`, its side in face sides, and a `shift` down, in its own sides, are kept to as they are given.
    """
    H, W = size
    fitting = min(max(min(H, W), TIGHT * face.side), WIDE * face.side)
    side = max(1, round(fitting if scale is None else scale * face.side))
    left, top = face.x - side / 2, face.y - side / 2
    lowered = _toward_inside(top, side, H) if shift is None else round(top + shift * side)
    return Box(_toward_inside(left, side, W), lowered, side)


def _toward_inside(start: float, side: int, size: int) -> int:
    """Where `side` pixels from `start` should start to lie inside `size` pixels, or to cover them.

    It moves by no more than `SHIFT` of its length.
    """
    lowest, highest = sorted((0, size - side))
    wanted = min(max(start, lowest), highest)
    return round(start + min(max(wanted - start, -SHIFT * side), SHIFT * side))


def middle_square(image: np.ndarray) -> Box:
    """The largest square in the middle of a (H, W, 3) picture."""
    H, W = image.shape[:2]
    side = min(H, W)
    return Box((W - side) // 2, (H - side) // 2, side)


def cut(image: np.ndarray, box: Box, size: int, resize: str = TRIANGLE) -> np.ndarray:
    """(size, size, 3): what `box` shows of (H, W, 3). Beyond the border the outermost pixels repeat.

    `resize` as `ModelConfig.resize`, with one difference: a crop is reduced by area and enlarged bicubically
    where the networks would be given triangles.
    """
    H, W = image.shape[:2]
    columns = np.clip(np.arange(box.left, box.left + box.side), 0, W - 1)
    rows = np.clip(np.arange(box.top, box.top + box.side), 0, H - 1)
    inside = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top, left = max(0, -box.top), max(0, -box.left)
    bottom, right = max(0, box.top + box.side - H), max(0, box.left + box.side - W)
    if top or left or bottom or right:
        inside = cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REPLICATE)
    return resized(inside, size, resize)


def resized(image: np.ndarray, size: int, resize: str = TRIANGLE) -> np.ndarray:
    """(size, size, 3) of a (n, n, 3) uint8 picture, as `cut` has it."""
    if resize == GAUSSIAN:
        levels = as_batch([image], size, torch.device("cpu"))
        return to_uint8(to_images(levels, size, resize))[0].numpy()
    by_area = resize == AREA or len(image) > size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if by_area else cv2.INTER_CUBIC)
