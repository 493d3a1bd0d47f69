# SPDX-License-Identifier: Apache-2.0
"""The face of a video, followed from frame to frame; steady_crop.py cuts the square around it.

It stands still as long as the face stays about where it is: the networks would read a shift of the crop as
motion of the head. It keeps to a person, by motion, size and appearance (appearance.py): one who is hidden is
waited for, and no neighbour takes the place. After a cut it is at the face at once.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from fv2v.face.appearance import (
    DISSOLVED,
    SAME,
    Appearance,
    Person,
    Place,
    appearance,
    is_cut,
    place_of,
    thumbnail,
)
from fv2v.face.detectors.base import Face, FaceDetector
from fv2v.face.detectors.choice import find_faces
from fv2v.face.detectors.given import GivenFaces

# Likeness of a face in the expected place that passes for the person; for one who was away for LONG frames
# and may have changed, or be another
NEARBY, CHANGED, LONG = 0.45, 0.25, 75
# Correlations of the face's place: with the frame before, below which the detector looks at once; with the
# frame of the last detection, above which it looks half as often, and down to which a missed face is there
STRIKING, STANDS, STILL_THERE = 0.85, 0.95, 0.6
DISSOLVE = 8  # frames in which one shot may pass into the next
BESIDE = 0.5  # face sides from which a face is somebody else's
DIM = 0.35  # of the usual contrast: a face with less is too dark to be read
DIM_FOR = 45  # frames, after which that is usual


class _Found(NamedTuple):
    """A face, and how it looks."""

    face: Face
    look: Appearance


class FaceTracker:
    """The face of a video, kept steady: causal, one frame at a time.

    The tracked face stands still until the detected one has left a dead zone around it; then it glides there
    and stands again. The detector runs on every third frame, on every sixth while the face stands, and only
    near the last detection; at once if something changes. While the person is out of sight the tracked face
    stands, and a face that looks like the person's is waited for, anywhere in the picture; after a cut, any
    face that is no known neighbour's.

    Args:
        start: where the face is at first.
        detector: what finds it. Faces that are given (`GivenFaces`) are followed without a look at pixels.
        begin: the number of the frame of `start`: those before it are not searched.
        stride: the detector runs on every `stride`-th frame of a face that moves.
        patience: detections in a row that may miss a face whose place looks as before.
        dead_zone: how far a face moves or grows, in its own sides, before it is followed.
        settle: how near the tracked face gets, in the same unit, before it stands again.
        smoothing: the part of the remaining distance that it moves in each frame.
        measurement_weight: of a new detection in the running average: one bad box moves nothing.

    Attributes:
        face: where the square belongs now.
        visible: whether the person was seen in the latest frame, and bright enough to be read.
        frames: how many frames have been tracked.
        missing: in how many of them the face was not visible.
        others: frames from which on a face is followed that does not look like the person's: after a cut to
            a shot without it, or where it was after a long absence.
    """

    def __init__(
        self,
        start: Face,
        detector: FaceDetector = find_faces,
        *,
        begin: int = 0,
        stride: int = 3,
        patience: int = 10,
        dead_zone: float = 0.2,
        settle: float = 0.02,
        smoothing: float = 0.1,
        measurement_weight: float = 0.5,
    ) -> None:
        self.face = start
        self.visible = True
        self.frames = self.missing = 0
        self.others: list[int] = []
        self._detector, self._begin = detector, begin
        self._stride, self._patience = stride, patience
        self._dead_zone, self._settle = dead_zone, settle
        self._smoothing, self._measurement_weight = smoothing, measurement_weight
        self._given = isinstance(detector, GivenFaces)
        self._last_found = self._target = start
        self._found_at = self._searched_at = 0
        self._velocity = np.zeros(2)  # pixels a frame
        self._person: Person | None = None  # who is to be followed
        self._followed: Person | None = None  # who is, since the last cut
        self._scenes: deque[np.ndarray] = deque(maxlen=DISSOLVE)  # thumbnails of the latest frames
        self._place: Place | None = None  # of the latest frame in which the face was visible
        self._found_place: Place | None = None  # of the last detection
        self._misses = self._unseen = self._dim = 0  # in a row: detections, frames, frames
        self._cut = self._jumps = False  # since the face was visible: a cut; one without a dissolve
        self._moving = False

    def update(self, frame: np.ndarray) -> Face:
        """Track the next (H, W, 3) uint8 RGB frame."""
        if self.frames < self._begin:
            self.visible = False
        else:
            self.visible = self._follow_given(frame) if self._given else self._follow(frame)
        self.frames += 1
        self._unseen = 0 if self.visible else self._unseen + 1
        self.missing += not self.visible
        self._glide()
        return self.face

    @property
    def found(self) -> Face:
        """The latest detection, with its score and points."""
        return self._last_found

    def _follow_given(self, frame: np.ndarray) -> bool:
        face = next(iter(self._detector(frame, self.frames)), None)
        if face is not None and self.frames % self._stride == 0:
            self._target = _between(self._target, face, self._measurement_weight)
        return face is not None

    def _follow(self, frame: np.ndarray) -> bool:
        """Whether the person is in sight; if so, the target moves."""
        place = place_of(frame, self._last_found)
        self._compare_scenes(frame)
        if not self.visible or self._cut or self._is_due(place):
            self._searched_at = self.frames
            if not self._find(frame, place):
                return False
            place = place_of(frame, self._last_found)
        self._place = place
        return True

    def _compare_scenes(self, frame: np.ndarray) -> None:
        scene, size = thumbnail(frame), frame.shape[:2]
        if self._scenes:
            self._jumps |= is_cut(self._scenes[-1], scene, self._last_found, size)
            self._cut |= self._jumps or is_cut(self._scenes[0], scene, self._last_found, size, DISSOLVED)
        self._scenes.append(scene)

    def _is_due(self, place: Place) -> bool:
        if self._place is None or self._found_place is None or not place.resembles(self._place, STRIKING):
            return True
        stands = place.resembles(self._found_place, STANDS)
        return self.frames - self._searched_at >= self._stride * (2 if stands else 1)

    def _find(self, frame: np.ndarray, place: Place) -> bool:
        """Look for the person: where expected, and, where nothing is, anywhere; after a cut for another."""
        near = _looked_at(frame, self._detector(frame, self.frames, self._expected()))
        found = self._nearest(near) if self._followed else self._meet(near, frame)
        if found is not None:
            return self._take(*found)
        if near and self.visible and self._place and not place.resembles(self._place, STILL_THERE):
            self._cut = self._jumps = True  # somebody else in the very place, from one frame to the next
        self._misses += 1
        blind = self.visible and not self._cut and self._misses <= self._patience
        if blind and self._found_place and place.resembles(self._found_place, STILL_THERE):
            return True
        # often at first, then seldom: a search of the whole picture is dear
        pause = 2 if self._cut and self._unseen < 20 else 5 if self._unseen < 100 else 15
        found = None if self._unseen % pause else self._anywhere(frame)
        return found is not None and self._take(*found)

    def _meet(self, near: list[_Found], frame: np.ndarray) -> _Found | None:
        """The person, seen for the first time, and told from those beside."""
        found = min(near, key=lambda it: _distance(self._last_found, it.face), default=None)
        if found is not None:
            around = _looked_at(frame, self._detector(frame, self.frames))
            beside = [it.look for it in around if _distance(found.face, it.face) > BESIDE]
            self._person = self._followed = Person(found.look, beside)
        return found

    def _nearest(self, near: list[_Found]) -> _Found | None:
        """The one that is most likely the person, by look, place and size."""
        least = NEARBY if self._unseen < LONG else CHANGED
        rated = [(self._followed.likeness(it.look), it) for it in near] if self._followed else []
        likely = [
            (like - _distance(self._expected(), it.face) / 4, it) for like, it in rated if like >= least
        ]
        best = max(likely, key=itemgetter(0), default=(0.0, None))[1]
        if best and self._followed and self._followed.likeness(best.look) < NEARBY:
            self.others.append(self.frames)
        return best

    def _anywhere(self, frame: np.ndarray) -> _Found | None:
        if self._person is None or self._followed is None:
            return None
        found = _looked_at(frame, self._detector(frame, self.frames))
        for person in (self._person, self._followed):
            best = max(found, key=lambda it: person.likeness(it.look), default=None)
            told = self._cut or not person.double
            if best is not None and told and person.likeness(best.look) >= SAME:
                self._followed = person
                return best
        strangers = [it for it in found if not self._person.is_other(it.look)]
        if not self._cut or not strangers:
            return None
        largest = max(strangers, key=lambda it: it.face.side)
        self._followed = Person(largest.look)
        self.others.append(self.frames)
        return largest

    def _take(self, face: Face, look: Appearance) -> bool:
        """Follow a detection. False: it is too dark to be read, which no film stays for long."""
        self._misses = 0
        usual = self._followed.contrast if self._followed else 0.0
        self._dim = self._dim + 1 if look.place.contrast < DIM * usual else 0
        if 0 < self._dim < DIM_FOR:
            return False
        if self._followed:
            self._followed.remember(look)
        far = _distance(self._last_found, face) > 1 or (self._jumps and self._is_left(face))
        if far:
            self.face = self._target = face
            self._moving = False
        else:
            self._target = _between(self._target, face, self._measurement_weight)
        step = np.subtract((face.x, face.y), (self._last_found.x, self._last_found.y))
        self._velocity = 0 * step if far else step / max(self.frames - self._found_at, 1)
        self._last_found, self._found_at = face, self.frames
        self._found_place = look.place
        if self._cut:
            self._cut = self._jumps = False
            self._scenes.clear()
        return True

    def _is_left(self, face: Face) -> bool:
        return _distance(self.face, face) > self._dead_zone

    def _expected(self) -> Face:
        """Where the face is if it moved on; one that was lost is where it was."""
        last, passed = self._last_found, self.frames - self._found_at
        if passed > 2 * self._stride:
            return last
        dx, dy = np.clip(passed * self._velocity, -last.side / 2, last.side / 2)
        return replace(last, x=last.x + float(dx), y=last.y + float(dy))

    def _glide(self) -> None:
        distance = _distance(self.face, self._target)
        self._moving = distance > (self._settle if self._moving else self._dead_zone)
        if self._moving:
            self.face = _between(self.face, self._target, self._smoothing)


def _looked_at(frame: np.ndarray, faces: Iterable[Face]) -> list[_Found]:
    return [_Found(face, appearance(frame, face)) for face in faces]


def _between(a: Face, b: Face, part: float) -> Face:
    return Face(a.x + part * (b.x - a.x), a.y + part * (b.y - a.y), a.side + part * (b.side - a.side))


def _distance(a: Face, b: Face) -> float:
    """How far b is from a, or how much larger or smaller, in sides of a: whichever is more."""
    return max(abs(b.x - a.x), abs(b.y - a.y), abs(b.side - a.side)) / a.side
