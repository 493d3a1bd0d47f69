# SPDX-License-Identifier: Apache-2.0
"""One face of a picture or a video, by its number: 1 the largest, 2 the next."""

from collections.abc import Iterable
from itertools import islice

import numpy as np

from fv2v.face.detectors.base import Face, FaceDetector
from fv2v.face.detectors.choice import find_faces

LOOK_AHEAD = 150  # frames in which the first face of a video is looked for


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
    """Face `number`, as `find_face` counts, of the first frame that has that many faces.

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
