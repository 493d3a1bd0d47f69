# SPDX-License-Identifier: Apache-2.0
"""The choice of a face in a portrait or a video, and the portrait's crop that the networks see."""

from dataclasses import dataclass, replace
from os import PathLike as OsPath
from typing import Any, NamedTuple

import numpy as np

from fv2v.face.crop import Box, box_around, cut, middle_square
from fv2v.face.cropping import CropChoice, Crops, Framing
from fv2v.face.detectors.base import Face, FaceDetector, LandmarkDetector
from fv2v.face.detectors.choice import find_faces
from fv2v.face.detectors.given import GivenFaces, read_faces
from fv2v.face.detectors.liveportrait import LivePortraitFaces
from fv2v.face.find import find_face
from fv2v.face.landmarks import (
    RELEASE_SIZE,
    Square,
    crop_square,
    square_around,
    square_by_five,
)
from fv2v.face.paste import paste_back
from fv2v.face.visibility import remarks
from fv2v.io.image import read_with_opacity
from fv2v.io.opacity import with_opacity
from fv2v.io.paths import PathLike


@dataclass(frozen=True, slots=True)
class FaceChoice:
    """Which face, and the detector that finds it."""

    number: int = 1  # 1 the largest in the picture, 2 the next, ...
    detector: FaceDetector = find_faces
    # of the face, which is then cut as LivePortrait's release does: a portrait's crop is rotated upright, a
    # driver's is not, since a tilt of the head is motion, and a driving video's is the mean of its frames'
    landmarks: LandmarkDetector | None = None
    by_points: bool = False  # cut so, but of about that size, by five points where the detector has them

    def scaled(self, factor: float) -> "FaceChoice":
        """The same in pictures that are so much larger: coordinates that were given are so, too."""
        if factor == 1 or not isinstance(self.detector, GivenFaces):
            return self
        given = self.detector.scaled(factor)
        return replace(self, detector=given, landmarks=given.landmarks if given.marked else None)


class CroppedPortrait(NamedTuple):
    """A portrait, and the crop of it that the networks see."""

    picture: np.ndarray  # (H, W, 3) uint8
    image: np.ndarray  # (n, n, 3) uint8
    crop: Box | Square
    face: Face | None = None  # what was found in it; None: nothing was looked for
    landmarks: np.ndarray | None = None  # (n, 2) in `picture`, where they are known; of 203 tell openness
    opacity: np.ndarray | None = None  # (H, W) uint8 of `picture`; None: nothing of it is transparent

    def as_opaque(self, shown: np.ndarray, whole: bool) -> np.ndarray:
        """(h, w, 4): the whole picture, or a rendered crop of it, (h, w, 3), as opaque as the portrait is.

        What moves beyond the portrait's outline is cut off there.
        """
        opacity = np.full(self.picture.shape[:2], 255, np.uint8) if self.opacity is None else self.opacity
        if whole:
            return with_opacity(shown, opacity)
        levels, size = np.repeat(opacity[..., None], 3, axis=2), len(shown)
        crop = self.crop
        cropped = cut(levels, crop, size) if isinstance(crop, Box) else crop_square(levels, crop, size)
        return with_opacity(shown, cropped[..., 0])

    @property
    def remarks(self) -> tuple[str, ...]:
        """What of the face cannot be seen (visibility.py), a line each; often none."""
        return () if self.face is None else tuple(remarks(self.face, self.picture.shape[:2]))

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
        raise ValueError(
            "what is not cropped (--no-crop, crop=False) is its middle square: expected no face to be chosen"
        )
    return choice


def _choice(face: Any) -> FaceChoice:
    if isinstance(face, FaceChoice):
        return face
    if isinstance(face, int) and not isinstance(face, bool):
        return FaceChoice(face)
    if isinstance(face, LivePortraitFaces):
        return FaceChoice(detector=face, landmarks=face.landmarks)
    if callable(face) and not isinstance(face, GivenFaces):
        return FaceChoice(detector=face)
    if isinstance(face, str | OsPath):
        face = read_faces(face)
    given = face if isinstance(face, GivenFaces) else GivenFaces(face)
    return FaceChoice(detector=given, landmarks=given.landmarks if given.marked else None)


def crop_portrait(
    picture: PathLike | np.ndarray, crop: Crops = True, face: Any = 1, *, drives: bool = False
) -> CroppedPortrait:
    """A picture, of a file or (H, W, 3) uint8 RGB, and its crop around a face, as `choose_face` takes it.

    The crop has the picture's own resolution; by landmarks, the 512 pixels of LivePortrait's crops.
    `crop` as `CropChoice.of` takes it; False takes the middle square. A picture that `drives` is not rotated
    upright: its tilt is motion.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no picture, or no such face in it (see `choose_face` and `find_face`).
    """
    framing = CropChoice.of(crop).framing(drives)
    choice = choose_face(face, framing.cut)
    name, opacity = "the picture", None
    if not isinstance(picture, np.ndarray):
        name, (picture, opacity) = str(picture), read_with_opacity(picture)
    elif picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueError(f"picture: expected (H, W, 3) uint8, got {picture.shape} {picture.dtype}")
    choice = choice.scaled(framing.factor(picture.shape[:2]))
    picture, opacity = framing.reduced(picture), None if opacity is None else framing.reduced(opacity)
    if framing.cut:
        return _cropped(picture, name, choice, framing)._replace(opacity=opacity)
    box = middle_square(picture)
    return CroppedPortrait(picture, cut(picture, box, box.side), box, opacity=opacity)


def crop_face(picture: PathLike | np.ndarray, face: Any = 1) -> np.ndarray:
    """(n, n, 3) uint8: the square around a face, as `Reenactor.encode` and `fv2v.reenact` want a portrait.

    Args:
        picture: a file, or (H, W, 3) uint8 RGB.
        face: which one, as `choose_face` takes it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no picture, or no such face in it.
    """
    return crop_portrait(picture, face=face).image


def _cropped(picture: np.ndarray, name: str, choice: FaceChoice, framing: Framing) -> CroppedPortrait:
    found = find_face(picture, name, choice.number, choice.detector)
    if square_and_marks := _marked_square(picture, found, choice, framing):
        square, landmarks = square_and_marks
        return CroppedPortrait(picture, crop_square(picture, square, RELEASE_SIZE), square, found, landmarks)
    box = box_around(found, picture.shape[:2], *framing.by_box)
    return CroppedPortrait(picture, cut(picture, box, box.side), box, found)


def _marked_square(
    picture: np.ndarray, found: Face, choice: FaceChoice, framing: Framing
) -> tuple[Square, np.ndarray | None] | None:
    """The square by a face's landmarks, and the most of them that are known; None where there are none."""
    if choice.landmarks is None:
        if not choice.by_points or found.points is None:
            return None
        return framing.turned(square_by_five(found.points, *framing.by_landmarks)), None
    landmarks = coarse = choice.landmarks(picture, found)
    if isinstance(choice.detector, LivePortraitFaces):
        landmarks = choice.detector.refined(picture, coarse)
    marks = landmarks if framing.drives else coarse
    return framing.turned(square_around(marks, *framing.by_landmarks)), landmarks
