# SPDX-License-Identifier: Apache-2.0
"""Landmarks of every frame of a video, found before it is cropped: its square is the mean of all frames'."""

from collections.abc import Iterable, Iterator
from operator import itemgetter

import numpy as np

from fv2v.face.detectors.base import Face
from fv2v.face.detectors.given import GivenFaces
from fv2v.face.detectors.liveportrait import LivePortraitFaces
from fv2v.face.portrait import FaceChoice

PATIENCE = 10  # frames that a face may be away before another is taken for it


def marked(frames: Iterable[np.ndarray], choice: FaceChoice, name: str = "the video") -> GivenFaces:
    """The landmarks that `choice.landmarks` gives of each (H, W, 3) uint8 frame, as if they had been given.

    Raises:
        ValueError: no such face in any frame, or landmarks of no known set.
    """
    if isinstance(choice.detector, LivePortraitFaces):
        found = list(choice.detector.follow(frames, choice.number))
    else:
        found = list(_marks(frames, choice))
    known = next((each for each in found if each is not None), None)
    if known is None:
        wanted = "no face" if choice.number == 1 else f"no face {choice.number}"
        raise ValueError(f"{name}: {wanted} found in any of {len(found)} frames")
    return GivenFaces([np.full(known.shape, np.nan) if each is None else each for each in found], name)


def _marks(frames: Iterable[np.ndarray], choice: FaceChoice) -> Iterator[np.ndarray | None]:
    """Of the face that is number `choice.number` by size, and then of the nearest one, if it is near."""
    assert choice.landmarks is not None
    last: Face | None = None
    misses = 0
    for index, frame in enumerate(frames):
        faces = choice.detector(frame, index)
        if last is None:
            chosen = dict(enumerate(sorted(faces, key=lambda face: -face.side), 1)).get(choice.number)
        else:
            apart = [(_apart(face, last), face) for face in faces]
            near = [(far, face) for far, face in apart if far < last.side]
            chosen = min(near, key=itemgetter(0))[1] if near else None
        if chosen is None:
            misses += 1
            last = last if misses < PATIENCE else None
            yield None
        else:
            last, misses = chosen, 0
            yield np.asarray(choice.landmarks(frame, chosen, index), np.float64)


def _apart(a: Face, b: Face) -> float:
    return max(abs(a.x - b.x), abs(a.y - b.y), abs(a.side - b.side))
