# SPDX-License-Identifier: Apache-2.0
"""Everybody in a video: for each person and shot the frames in which one standing square shows the face."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fv2v.face.appearance import DISSOLVED, is_cut, thumbnail
from fv2v.face.crop import Box, box_around
from fv2v.face.detectors.base import Face, FaceDetector, overlap
from fv2v.face.detectors.choice import find_faces
from fv2v.face.tracking import DISSOLVE, FaceTracker

LOOK = 12  # frames from one search of the whole picture to the next: who came in is found so late
REACH = 0.5  # face sides within which a face may be over the frames of a stretch, across and down
GROWTH = 1.3  # and its side: the largest over the smallest


@dataclass(slots=True)
class Stretch:
    """Frames in a row in which a person is seen about the same place."""

    first: int  # the number of the first one, and of the last
    last: int
    size: tuple[int, int]  # (H, W) of the frames
    low: Face  # of its boxes so far the least of each number, and the greatest
    high: Face
    ended: str = "end"  # why it is over: "cut", "hidden", "moved", or "end", of the video

    @property
    def frames(self) -> int:
        """How many there are."""
        return self.last - self.first + 1

    @property
    def square(self) -> Box:
        """The one that shows the face in all of them: about the middle of its places, of its largest size."""
        x, y = (self.low.x + self.high.x) / 2, (self.low.y + self.high.y) / 2
        return box_around(Face(x, y, self.high.side), self.size)

    def take(self, face: Face) -> bool:
        """Whether the person stays about the same place with this box too; if so, it counts from now on."""
        low, high = _each(min, self.low, face), _each(max, self.high, face)
        reach = REACH * low.side
        if high.side > GROWTH * low.side or max(high.x - low.x, high.y - low.y) > reach:
            return False
        self.low, self.high = low, high
        return True


def stretches(frames: Iterable[np.ndarray], detector: FaceDetector = find_faces) -> Iterator[Stretch]:
    """The stretches of a video, in the order in which they end, each frame (H, W, 3) uint8 RGB.

    A stretch ends with its shot, when the face is hidden, and when it leaves its place or size; where the
    face is still seen, another one begins. Every twelfth frame is searched for more faces, and each in which
    a stretch is over.
    """
    followed: list[tuple[Stretch, FaceTracker]] = []
    scenes: deque[np.ndarray] = deque(maxlen=DISSOLVE)  # thumbnails of the frames before
    for number, frame in enumerate(frames):
        scene = thumbnail(frame)
        kept = []
        for stretch, tracker in followed:
            of_it = list(scenes)[-stretch.frames :]
            if ended := _ending(stretch, tracker, frame, of_it, scene):
                stretch.ended = ended
                yield stretch
            else:
                stretch.last = number
                kept.append((stretch, tracker))
        if number % LOOK == 0 or len(kept) < len(followed):
            kept += _newcomers(frame, number, detector, [tracker.found for _, tracker in kept])
        followed = kept
        scenes.append(scene)
    for stretch, _ in followed:
        yield stretch


def _ending(
    stretch: Stretch, tracker: FaceTracker, frame: np.ndarray, before: list[np.ndarray], scene: np.ndarray
) -> str:
    """Why a stretch does not have this frame, `scene`, after some `before`; "" where it has."""
    seen = tracker.found
    jumps = is_cut(before[-1], scene, seen, stretch.size)
    if jumps or is_cut(before[0], scene, seen, stretch.size, DISSOLVED):
        return "cut"
    tracker.update(frame)
    if not tracker.visible or tracker.others:
        return "hidden"
    if tracker.found is not seen and not stretch.take(tracker.found):
        return "moved"
    return ""


def _newcomers(
    frame: np.ndarray, number: int, detector: FaceDetector, known: list[Face]
) -> list[tuple[Stretch, FaceTracker]]:
    found = []
    for face in detector(frame, number):
        if not any(overlap(face, other) for other in known):
            tracker = FaceTracker(face, detector)
            tracker.update(frame)  # who is it, and who is beside
            found.append((Stretch(number, number, frame.shape[:2], face, face), tracker))
    return found


def _each(choose: Callable[[float, float], float], a: Face, b: Face) -> Face:
    return Face(choose(a.x, b.x), choose(a.y, b.y), choose(a.side, b.side))
