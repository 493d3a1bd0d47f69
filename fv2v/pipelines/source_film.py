# SPDX-License-Identifier: Apache-2.0
"""A film whose face is moved: every frame is a portrait, cropped by itself and paired with the driver's."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from itertools import count, repeat
from typing import Any, TypeVar

import numpy as np

from fv2v.face.crop import Box, cut, middle_square
from fv2v.face.cropping import Crops
from fv2v.face.detectors.given import GivenFaces
from fv2v.face.landmarks import RELEASE_SIZE, Square, crop_square, square_around
from fv2v.face.portrait import CroppedPortrait, crop_portrait
from fv2v.face.steady_crop import SteadyCrop
from fv2v.geometry import Motion, Source
from fv2v.io.frame_folder import is_frames
from fv2v.io.paths import PathLike
from fv2v.io.prefetch import Timed
from fv2v.io.timing import Span, Timing
from fv2v.io.video_reader import VideoReader
from fv2v.motion.edit import Edit
from fv2v.motion.ratios import Openness
from fv2v.pipelines.driving import DrivingVideo
from fv2v.pipelines.kinds import FILM, MOTION, kind_of_source
from fv2v.pipelines.report import listed
from fv2v.reenactor import Reenactor

T = TypeVar("T")
S = TypeVar("S")


class SourceFilm(DrivingVideo):
    """A film whose face is known, followed as a driver's is, and its frames as portraits.

    By landmarks every frame's crop is rotated upright, as LivePortrait's release has it; else the square
    stays as long as the face does. Where the face is not seen the square is where it was.

    Arguments and errors as `DrivingVideo`. `picture` and `image` are those of the frame that is shown, before
    that of the first one.
    """

    drives, moves = False, "is moved"

    def __init__(
        self, path: PathLike, crop: Crops, face: Any, span: Span, strict: bool, fps: float | None
    ) -> None:
        super().__init__(path, crop, face, span, strict, fps)
        self._waiting: deque[CroppedPortrait] = deque()  # for their results
        self._drivers: deque[int] = deque()  # the numbers of the driver's frames that drive the next ones
        self._shown = next(self.frames())
        self.remarks: tuple[str, ...] = ()  # those of a portrait: a film's are in `notes`

    @property
    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8: the whole frame."""
        return self._shown.picture

    @property
    def image(self) -> np.ndarray:
        """(n, n, 3) uint8: its crop."""
        return self._shown.image

    @property
    def opacity(self) -> np.ndarray | None:
        """(H, W) uint8 of `picture`; None: nothing of it is transparent."""
        return self._shown.opacity

    def with_face(self, rendered: np.ndarray) -> np.ndarray:
        """(H, W, 3): the whole frame with its rendered crop in its place."""
        return self._shown.with_face(rendered)

    def as_opaque(self, shown: np.ndarray, whole: bool) -> np.ndarray:
        """(h, w, 4): the frame, or its rendered crop, as opaque as `CroppedPortrait.as_opaque` says."""
        return self._shown.as_opaque(shown, whole)

    def frames(self) -> Iterator[CroppedPortrait]:
        """Each frame and its crop, from the first one."""
        self.lost = []
        self._decoded = Timed(self._pictures)
        self._cropped = Timed(self._portraits(self._decoded))
        return self._cropped

    def paired(self, drivers: Iterable[tuple[float, T]], shown: float) -> Iterator[tuple[CroppedPortrait, T]]:
        """Each frame with what drives it; arguments as `nearest_in_time`.

        Where the driver ends so does the film, with its sound.
        """
        numbered = ((seconds, (number, item)) for number, (seconds, item) in enumerate(drivers))
        done = 0
        for portrait, (number, driver) in nearest_in_time(timed(self.frames(), self.reader), numbered, shown):
            self._drivers.append(number)
            yield portrait, driver
            done += 1
        if done < len(self.reader.pts):
            del self.reader.pts[done:]
            self.reader.span = replace(self.reader.span, frames=done)

    @cached_property
    def opened(self) -> list[Openness]:
        """How far eyes and lips are open in each frame; [] where 203 landmarks of them are not known."""
        return self.openness_of_frames() or []

    def edits(self, edit: Edit | Iterable[Edit] | None) -> Edit | Iterable[Edit] | None:
        """For each frame that `paired` has yielded the edit of the driver's frame that is nearest in time.

        Args:
            edit: one for all frames, or one for each of the driver's. What starts from the first of `opened`
                starts from each frame's own instead.
        """
        if edit is None or (isinstance(edit, Edit) and not self._starts_here(edit)):
            return edit
        return self._dealt_out(repeat(edit) if isinstance(edit, Edit) else iter(edit))

    def _starts_here(self, edit: Edit) -> bool:
        return bool(self.opened) and edit.portrait is self.opened[0]

    def _dealt_out(self, edits: Iterator[Edit]) -> Iterator[Edit]:
        done = 0
        edit: Edit | None = None
        for number in count():
            for _ in range(self._drivers.popleft() + 1 - done):
                edit, done = next(edits, None), done + 1
            if edit is None:
                return
            own = self.opened[number : number + 1] if self._starts_here(edit) else []
            yield replace(edit, portrait=own[0]) if own else edit

    def length(self, frames: int | None, rate: Fraction) -> int | None:
        """How many frames to expect beside a driver of so many; for progress bars, None: not stated."""
        own = self.reader.length
        if own is None or frames is None:
            return own
        return min(own, round(frames / rate * self.reader.rate))

    def paired_with_motion(self, motion: Motion, timing: Timing) -> Iterator[tuple[CroppedPortrait, Motion]]:
        """The same with the motion of T frames, which are shown then."""
        seconds = (float((ticks - timing.pts[0]) * timing.time_base) for ticks in timing.pts)
        rows = (motion[i : i + 1] for i in range(len(motion)))
        return self.paired(zip(seconds, rows, strict=True), 1 / float(timing.rate))

    def encoded(
        self, reenactor: Reenactor, pairs: Iterable[tuple[CroppedPortrait, T]]
    ) -> Iterator[tuple[Source, T]]:
        """Each frame's source in its place; the frame is kept until its picture comes."""
        for portrait, driver in pairs:
            self._waiting.append(portrait)
            yield reenactor.encode(portrait.image), driver

    def showing(self, rendered: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The rendered crops as they are, while each one's own frame is `picture`."""
        for crop in rendered:
            self._shown = self._waiting.popleft()
            yield crop

    @property
    def notes(self) -> list[str]:
        """Lines for the user: damage, and frames whose face is not seen, or is another's; often none."""
        notes = [self.reader.note_on_damage, self._note_on_others]
        if self.lost:
            count, where = len(self.lost), listed(self.lost_spans)
            frames, they_are = ("frame", "it is") if count == 1 else ("frames", "they are")
            notes.append(f"{self.reader.path}: no face in {count} {frames}{where}, moved as {they_are}")
        return [note for note in notes if note]

    def _portraits(self, frames: Iterable[np.ndarray]) -> Iterator[CroppedPortrait]:
        detector, framing = self._detector, self._framing
        if self.first is None:
            for frame in frames:
                box = middle_square(frame)
                yield self._portrait(frame, cut(frame, box, box.side), box)
        elif isinstance(detector, GivenFaces) and detector.marked:
            square = self._square(detector.landmarks(self.first.frame, self.first.face, self.first.number))
            for number, frame in enumerate(frames):
                if found := detector(frame, number):
                    square = self._square(detector.landmarks(frame, found[0], number))
                else:
                    self.lost.append(number)
                yield self._portrait(frame, crop_square(frame, square, RELEASE_SIZE), square)
        else:
            scale, shift = framing.by_box
            self._cropper = steady = SteadyCrop(
                frames,
                self.first.face,
                RELEASE_SIZE,
                detector,
                begin=self.first.begin,
                scale=scale,
                shift=shift,
            )
            for number, (frame, box) in enumerate(steady.boxes()):
                if not steady.visible:
                    self.lost.append(number)
                yield self._portrait(frame, cut(frame, box, box.side), box)

    def _portrait(self, frame: np.ndarray, image: np.ndarray, crop: Box | Square) -> CroppedPortrait:
        opacity = None if self.reader.opacity is None else self._framing.reduced(self.reader.opacity)
        return CroppedPortrait(frame, image, crop, opacity=opacity)

    def _square(self, landmarks: np.ndarray) -> Square:
        return self._framing.turned(square_around(landmarks, *self._framing.by_landmarks))


def open_source(
    path: PathLike, crop: Crops, face: Any, span: Span, strict: bool = False, fps: float | None = None
) -> CroppedPortrait | SourceFilm:
    """What is moved: a picture of a face, or a film of one, of which a part is taken.

    Raises:
        FileNotFoundError: no such file.
        ValueError: motion, or what neither `crop_portrait` nor `SourceFilm` takes.
    """
    kind = kind_of_source(path)
    if kind == MOTION:
        raise ValueError(f"{path}: expected a picture or a film of the face to be moved, found motion")
    if kind == FILM:
        return SourceFilm(path, crop, face, span, strict, fps if is_frames(path) else None)
    return crop_portrait(path, crop, face)


def timed(items: Iterable[T], reader: VideoReader) -> Iterator[tuple[float, T]]:
    """Items with the seconds since the first, each made of the frame that `reader` has read last."""
    for item in items:
        yield float((reader.pts[-1] - reader.pts[0]) * reader.time_base), item


def nearest_in_time(
    film: Iterable[tuple[float, S]], drivers: Iterable[tuple[float, T]], shown: float
) -> Iterator[tuple[S, T]]:
    """Each item of a film with the driver's nearest in time, until one of them ends.

    At equal rates those are pairs by their numbers, as in LivePortrait's release.

    Args:
        film, drivers: seconds, which rise, and what there is then.
        shown: seconds that the driver's last item stays.
    """
    coming = iter(drivers)
    now, after = next(coming, None), next(coming, None)
    for seconds, item in film:
        if now is None:
            return
        while after is not None and abs(after[0] - seconds) < abs(now[0] - seconds):
            now, after = after, next(coming, None)
        if after is None and seconds > now[0] + shown / 2:
            return
        yield item, now[1]
