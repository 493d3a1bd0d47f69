# SPDX-License-Identifier: Apache-2.0
"""The choice of a face in a portrait or a video, and the portrait's crop that the networks see."""

from dataclasses import dataclass
from os import PathLike as OsPath
from typing import Any, NamedTuple

import numpy as np

from fv2v.face.crop import Box, box_around, cut, middle_square
from fv2v.face.detectors.base import FaceDetector, LandmarkDetector
from fv2v.face.detectors.given import GivenFaces, read_faces
from fv2v.face.detectors.haar import find_faces
from fv2v.face.find import find_face
from fv2v.face.landmarks import RELEASE_SIZE, Square, crop_square, square_around, upright_square
from fv2v.face.paste import paste_back
from fv2v.io.image import read_image
from fv2v.io.paths import PathLike


@dataclass(frozen=True, slots=True)
class FaceChoice:
    """Which face, and the detector that finds it."""

    number: int = 1  # 1 the largest in the picture, 2 the next, ...
    detector: FaceDetector = find_faces
    # of a portrait's face, whose crop is then rotated upright and as wide as LivePortrait's release cuts it.
    # A driving video's crop is never rotated: a tilt of the head is motion.
    landmarks: LandmarkDetector | None = None


class CroppedPortrait(NamedTuple):
    """A portrait, and the crop of it that the networks see."""

    picture: np.ndarray  # (H, W, 3) uint8
    image: np.ndarray  # (n, n, 3) uint8
    crop: Box | Square

    def with_face(self, rendered: np.ndarray) -> np.ndarray:
        """(H, W, 3): the whole picture with a rendered crop (m, m, 3) in its place."""
        return paste_back(self.picture, rendered, self.crop)


def choose_face(face: Any, crop: bool = True) -> FaceChoice:
    """`face` as a `FaceChoice`: a number, a file or an array of coordinates, a detector, or a `FaceChoice`.

    Files and arrays as in detectors/given.py. ValueError for anything else, and without `crop` for any choice
    but the default.
    """
    choice = _choice(face)
    if not crop and choice != FaceChoice():
        raise ValueError("--no-crop, crop=False takes the middle square: expected no face to be chosen")
    return choice


def _choice(face: Any) -> FaceChoice:
    if isinstance(face, FaceChoice):
        return face
    if isinstance(face, int) and not isinstance(face, bool):
        return FaceChoice(face)
    if callable(face) and not isinstance(face, GivenFaces):
        return FaceChoice(detector=face)
    if isinstance(face, str | OsPath):
        face = read_faces(face)
    given = face if isinstance(face, GivenFaces) else GivenFaces(face)
    return FaceChoice(detector=given, landmarks=given.landmarks if given.marked else None)


def crop_portrait(
    path: PathLike, crop: bool = True, face: Any = 1, *, drives: bool = False
) -> CroppedPortrait:
    """The picture in a file, and its crop around a face, as `choose_face` takes it.

    The crop has the picture's own resolution; by landmarks, the 512 pixels of LivePortrait's crops.
    `crop=False` takes the middle square. A picture that `drives` is not rotated upright: its tilt is motion.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no picture, or no such face in it (see `choose_face` and `find_face`).
    """
    choice = choose_face(face, crop)
    picture = read_image(path)
    if not crop:
        box = middle_square(picture)
        return CroppedPortrait(picture, cut(picture, box, box.side), box)
    found = find_face(picture, str(path), choice.number, choice.detector)
    if choice.landmarks:
        landmarks = choice.landmarks(picture, found)
        square = upright_square([landmarks]) if drives else square_around(landmarks)
        return CroppedPortrait(picture, crop_square(picture, square, RELEASE_SIZE), square)
    box = box_around(found, picture.shape[:2])
    return CroppedPortrait(picture, cut(picture, box, box.side), box)
