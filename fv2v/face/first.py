# SPDX-License-Identifier: Apache-2.0
"""The frame that a driver's motion is measured against, unless the user names one: the first good one."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from fv2v.face.appearance import place_of
from fv2v.face.detectors.base import Face, FaceDetector
from fv2v.face.detectors.choice import find_faces
from fv2v.face.find import find_first_face

LOOK_AHEAD = 25  # frames after the first face: a fade from black ends, or a blink
BRIGHT, READABLE = 0.8, 0.5  # shares of the highest contrast among them: of a good frame, of one that drives


class FirstFace(NamedTuple):
    """The first good frame, with the face that is to be followed."""

    number: int  # of the frame, from 0
    frame: np.ndarray  # (H, W, 3) uint8
    face: Face
    begin: int  # the number of the first frame in which the face can be read, perhaps an earlier one


def find_first_good_face(
    frames: Iterable[np.ndarray],
    name: str = "the video",
    number: int = 1,
    detector: FaceDetector = find_faces,
    awake: Callable[[int], bool] = lambda frame: True,
) -> FirstFace:
    """The first frame with a face that is bright enough, its eyes open.

    A film that begins with a fade becomes bright; one that stays dark is as good as it gets.

    Args:
        frames, name, number, detector: as `find_first_face` takes them.
        awake: of a frame's number whether eyes are open, where that is known.

    Raises:
        ValueError: as `find_first_face`.
    """
    count, latest = 0, np.empty(0)

    def counted() -> Iterator[np.ndarray]:
        nonlocal count, latest
        for latest in frames:
            count += 1
            yield latest

    reading = counted()
    face = find_first_face(reading, name, number, detector)
    found = [(count - 1, latest, face)]
    for frame in islice(reading, LOOK_AHEAD):
        near = detector(frame, count - 1, face)
        found += [(count - 1, frame, each) for each in near[:1]]
    contrasts = np.array([place_of(frame, face).contrast for _, frame, face in found])
    readable, bright = (np.flatnonzero(contrasts >= part * contrasts.max()) for part in (READABLE, BRIGHT))
    good = next((i for i in bright if awake(found[i][0])), bright[0])
    return FirstFace(*found[good], begin=found[readable[0]][0])
