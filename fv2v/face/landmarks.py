# SPDX-License-Identifier: Apache-2.0
"""The crop of LivePortrait's release, from landmarks: the rotated square around a face; eye and lip ratios.

The release's weights expect such crops. A point is (x, y) in pixels, x to the right and y down, as cv2 takes
it; points are columns to a matrix, q = M p with p = (x, y, 1). The square's own axes are u_x along the eyes
and u_y from the eyes down to the lips; its angle turns the picture's x axis to u_x, clockwise where positive.

Landmarks may come from any detector that gives one of these sets: 5, 9 (a cat's), 68, 101, 106 or 203 points.
Any other set has to have more than 101 points and begin with the set of 101.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

# A square's side in sides of the face, and its shift down the face in its own sides.
SCALE, VY = 2.3, -0.125  # a source's
DRIVING_SCALE, DRIVING_VY = 2.2, -0.1  # a driving video's
CLOSE_SCALE = 1.5  # a source's and a driver's in PerformRecast's release, shifted as LivePortrait's source is
# The box around 106 landmarks, from that around a detector's five points: its side, and how far down the face
# its middle is from theirs, in sides of theirs. Means of drawn heads and paintings (test_five_points.py).
FIVE_EXTENT, FIVE_DOWN = 2.0, 0.1
RELEASE_SIZE = 512  # pixels a side of the release's crop, of a source's and of a driving video's
SAME = 1e-3  # points no farther apart are one, in pixels
LONGEST = 32766  # pixels a side that cv2 can warp: it counts them in 16 bits

# Indices of points on the eyes, as many left as right, and on the lips; `eye_and_lip` takes their means.
EYES_AND_LIP = {
    5: ((0, 1), (3, 4)),
    9: ((2, 3, 0, 1), (5, 6)),
    68: ((36, 39, 42, 45), (48, 54)),
    101: ((39, 42, 45, 48, 51, 54, 57, 60), (75, 81)),
    106: ((33, 35, 40, 39, 87, 89, 94, 93), (52, 61)),
    203: ((0, 6, 12, 18, 24, 30, 36, 42), (48, 66)),
}
# In the set of 203, an opening: two points that span its height, two that span its width.
LEFT_EYE, RIGHT_EYE = ((6, 18), (0, 12)), ((30, 42), (24, 36))
LIPS = ((90, 102), (48, 66))


@dataclass(frozen=True, slots=True)
class Square:
    """A rotated square in a picture: `centre` (x, y) and `side` in pixels, `angle` in radians."""

    centre: tuple[float, float]
    side: float
    angle: float = 0.0

    def __post_init__(self) -> None:
        if not (self.side > 0 and all(map(math.isfinite, (*self.centre, self.side, self.angle)))):
            raise ValueError(f"expected a finite square with a side above 0, got {self}")

    def to_crop(self, size: int) -> np.ndarray:
        """(3, 3): the similarity from the original picture to a crop of `size` x `size` pixels."""
        (x, y), half = self.centre, size / 2
        a, b = (size / self.side * f(self.angle) for f in (math.cos, math.sin))
        return np.array([[a, b, half - a * x - b * y], [-b, a, half + b * x - a * y], [0, 0, 1]])

    def to_original(self, size: int) -> np.ndarray:
        """(3, 3): its inverse, from a crop of `size` x `size` pixels to the original picture."""
        (x, y), half = self.centre, size / 2
        a, b = (self.side / size * f(self.angle) for f in (math.cos, math.sin))
        return np.array([[a, -b, x - (a - b) * half], [b, a, y - (a + b) * half], [0, 0, 1]])

    def corners(self) -> np.ndarray:
        """(4, 2): upper left, upper right, lower right, lower left, along the square's own axes."""
        return transform(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]), self.to_original(1))


class LandmarkCrop(NamedTuple):
    """A face cut out of its picture, and the transforms between the two."""

    image: np.ndarray  # (size, size, 3) uint8
    to_crop: np.ndarray  # (3, 3)  original -> crop
    to_original: np.ndarray  # (3, 3)  crop -> original
    landmarks: np.ndarray  # (n, 2)  in the crop


def crop_by_landmarks(
    image: np.ndarray, landmarks: np.ndarray, size: int, scale: float = SCALE, vy: float = VY
) -> LandmarkCrop:
    """The face that `landmarks` (n, 2) mark in a (H, W, 3) uint8 picture, upright in `size` x `size` pixels.

    The release takes a crop of 512 pixels and reduces it to the networks' 256 by area, as `crop.cut` does.

    Raises:
        ValueError: no such picture, size, landmarks (see `square_around`) or scale.
    """
    square = square_around(landmarks, scale, vy)
    to_crop = square.to_crop(size)
    return LandmarkCrop(
        crop_square(image, square, size), to_crop, square.to_original(size), transform(landmarks, to_crop)
    )


def crop_square(image: np.ndarray, square: Square, size: int) -> np.ndarray:
    """(size, size, 3): what `square` shows of (H, W, 3), linear between pixels, black past the border."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
    H, W = image.shape[:2]
    if not all(1 <= side <= LONGEST for side in (H, W, size)):
        raise ValueError(
            f"expected 1 to {LONGEST} pixels a side, got a picture of {W} x {H}, a crop of {size}"
        )
    return cv2.warpAffine(image, square.to_crop(size)[:2], (size, size), flags=cv2.INTER_LINEAR)


def square_around(landmarks: np.ndarray, scale: float = SCALE, vy: float = VY) -> Square:
    """The square around a face, rotated with it.

    Args:
        landmarks: (n, 2), n one of the sets.
        scale: its side, in sides of the smallest such square that holds all landmarks.
        vy: its shift along u_y, down the face, in its own sides; negative is up.

    Raises:
        ValueError: not (n, 2), not finite, an unknown n, or all in one place; or a scale that is not above 0.
    """
    landmarks = _checked(landmarks)
    eye, lip = eye_and_lip(landmarks)
    down = lip - eye
    length = math.hypot(*down)
    u_y = down / length if length > SAME else np.array([0.0, 1.0])
    u_x = np.array([u_y[1], -u_y[0]])
    axes = np.stack([u_x, u_y])  # a row each: rotates into them
    mean = landmarks.mean(axis=0)
    rotated = (landmarks - mean) @ axes.T
    low, high = rotated.min(axis=0), rotated.max(axis=0)
    extent = float((high - low).max())
    if extent <= SAME:
        raise ValueError(f"landmarks: expected a face, got {len(landmarks)} points in one place, {mean}")
    side = scale * extent
    x, y = mean + (low + high) / 2 @ axes + vy * side * u_y
    return Square((float(x), float(y)), side, math.atan2(u_x[1], u_x[0]))


def square_by_five(points: np.ndarray, scale: float = SCALE, vy: float = VY) -> Square:
    """About the square around a face's 106 landmarks, of its eyes, nose and corners of the mouth (5, 2)."""
    return square_around(points, scale * FIVE_EXTENT, vy + FIVE_DOWN / (scale * FIVE_EXTENT))


def upright_square(
    frames: Iterable[np.ndarray], scale: float = DRIVING_SCALE, vy: float = DRIVING_VY
) -> Square:
    """The one square that a driving video is cropped to: the mean of its frames' squares, not rotated.

    `frames`: the (n, 2) landmarks of each. ValueError if there are none, and as `square_around`.
    """
    squares = [square_around(landmarks, scale, vy) for landmarks in frames]
    if not squares:
        raise ValueError("frames: expected the landmarks of one frame at least, got none")
    x, y, side = np.mean([(*square.centre, square.side) for square in squares], axis=0)
    return Square((float(x), float(y)), float(side))


def eye_and_lip(landmarks: np.ndarray) -> np.ndarray:
    """(2, 2): the points between the eyes and between the corners of the mouth, of (n, 2) landmarks."""
    landmarks = _checked(landmarks)
    count = len(landmarks) if len(landmarks) in EYES_AND_LIP else 101
    return np.stack([landmarks[list(indices)].mean(axis=0) for indices in EYES_AND_LIP[count]])


def eye_ratios(landmarks: np.ndarray) -> np.ndarray:
    """(2,): how far the left and the right eye are open, height over width, of (203, 2) landmarks."""
    return np.array([_openness(landmarks, eye) for eye in (LEFT_EYE, RIGHT_EYE)])


def lip_ratio(landmarks: np.ndarray) -> float:
    """How far the lips are open, height over width, of (203, 2) landmarks."""
    return _openness(landmarks, LIPS)


def transform(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Move points (n, 2) by an affine matrix (3, 3): (n, 2) float64."""
    return np.asarray(points, np.float64) @ matrix[:2, :2].T + matrix[:2, 2]


def _openness(landmarks: np.ndarray, pairs: tuple[tuple[int, int], tuple[int, int]]) -> float:
    landmarks = _checked(landmarks)
    if len(landmarks) != 203:
        raise ValueError(f"landmarks: expected the set of 203 points for ratios, got {len(landmarks)}")
    height, width = (math.dist(landmarks[i], landmarks[j]) for i, j in pairs)
    return height / (width + 1e-6)  # the release's guard against no width


def _checked(landmarks: np.ndarray) -> np.ndarray:
    """`landmarks` in float64. ValueError unless they are (n, 2), of a known set and finite."""
    landmarks = np.asarray(landmarks, np.float64)
    if landmarks.ndim != 2 or landmarks.shape[1] != 2:
        raise ValueError(f"landmarks: expected (n, 2), got {landmarks.shape}")
    if len(landmarks) not in EYES_AND_LIP and len(landmarks) < 101:
        known = ", ".join(map(str, EYES_AND_LIP))
        raise ValueError(
            f"landmarks: expected one of the sets of {known} points "
            f"(or more, of which the first 101 are that set), got {len(landmarks)}"
        )
    if not np.isfinite(landmarks).all():
        raise ValueError("landmarks: expected finite pixels, got NaN or infinity")
    return landmarks
