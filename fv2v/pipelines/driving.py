# SPDX-License-Identifier: Apache-2.0
"""The driver's video as the commands read it: the square around its face, frame by frame."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fv2v.config import ModelConfig
from fv2v.face.crop import box_around, cut
from fv2v.face.cropping import CropChoice, Crops, Reduced
from fv2v.face.detectors.base import FaceDetector
from fv2v.face.detectors.given import GivenFaces
from fv2v.face.first import FirstFace, find_first_good_face
from fv2v.face.fixed import FixedCrop, UprightCrop, middle_crops
from fv2v.face.marking import marked
from fv2v.face.portrait import choose_face
from fv2v.face.steady_crop import SteadyCrop
from fv2v.face.visibility import YAW, is_covered, is_turned_away
from fv2v.io.paths import PathLike
from fv2v.io.prefetch import Timed
from fv2v.io.timing import WHOLE, Span
from fv2v.io.video import open_film
from fv2v.motion.ratios import Openness
from fv2v.pipelines.report import Spans, listed

Cropper = SteadyCrop | FixedCrop | UprightCrop
FEW = 5  # frames in which a face seems turned or covered, and nothing is said: a blink of the detector
EYES_OPEN = 0.5  # of their usual openness: below, they blink


class LookedAt(NamedTuple):
    """A frame of a driver."""

    number: int  # from 0
    time: float  # seconds since the first one
    crop: np.ndarray  # (n, n, 3) uint8
    seen: bool  # whether the face is


class DrivingVideo:
    """A video whose first face is known, and the crops of it.

    Args:
        path: the video.
        crop: cut the square around the face, which is followed, or of landmarks their mean square; False: the
            middle squares, and no face is looked for. Or as `CropChoice.of` takes it.
        face: which one, as `fv2v.face.portrait.choose_face` takes it.
        span: which part is read. Faces that are given frame by frame are those of this part.
        strict: whether a damaged frame is an error.
        fps: as `read_video` takes it.

    Attributes:
        reader: the video's own frames, times and sound.
        first: the first good frame, whose motion counts as no change; None without `crop`.
        lost: the numbers of the frames read so far in which the face was not seen.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no video, or no such face in it.
    """

    drives, moves = True, "drives"  # what its face does

    def __init__(
        self,
        path: PathLike,
        crop: Crops,
        face: Any,
        span: Span = WHOLE,
        strict: bool = False,
        fps: float | None = None,
    ) -> None:
        self._framing = framing = CropChoice.of(crop).framing(self.drives)
        choice = choose_face(face, framing.cut)
        self.reader = reader = open_film(path, span, strict, fps)
        choice = choice.scaled(framing.factor(reader.size))
        self._pictures = reader if framing.max_side is None else Reduced(reader, framing)
        if choice.landmarks and not isinstance(choice.detector, GivenFaces):
            choice = replace(choice, detector=marked(self._pictures, choice, str(reader.path)))
        self._detector = choice.detector
        self.first: FirstFace | None = None
        if framing.cut:
            awake, name = self._awake(choice.detector), str(reader.path)
            self.first = find_first_good_face(self._pictures, name, choice.number, choice.detector, awake)
        self.lost: list[int] = []
        self._turned: list[int] = []  # frames in which the face is turned away, and is covered
        self._covered: list[int] = []
        self._decoded = Timed(self._pictures)
        self._cropper: Cropper | None = None

    def crops(self, config: ModelConfig, lost: str = "hold") -> Iterator[np.ndarray]:
        """(n, n, 3) uint8, n = `image_size`, one a frame, resized as the preset's release does; once.

        With `lost` "hold" a frame in which the face is not seen is the last one before it in which it is, or
        the first good one; with "drive" it is as it is.
        """
        held = None if self.first is None else self.first_crop(config)
        for frame in self._counted(config):
            if frame.seen or held is None or lost == "drive":
                held = frame.crop
            yield held

    def crops_with_gaps(self, config: ModelConfig) -> Iterator[np.ndarray | None]:
        """The same; None where the face is not seen."""
        return (frame.crop if frame.seen else None for frame in self._counted(config))

    def _counted(self, config: ModelConfig) -> Iterator[LookedAt]:
        self._cropper, crops = self._crops_of(self._decoded, config)
        self._cropped: Timed[Any] = Timed(crops)
        for frame in self._looked_at(self._cropper, self._cropped):
            if not frame.seen:
                self.lost.append(frame.number)
            elif isinstance(self._cropper, SteadyCrop):
                if is_turned_away(self._cropper.tracker.found):
                    self._turned.append(frame.number)
                elif is_covered(self._cropper.tracker.found):
                    self._covered.append(frame.number)
            yield frame

    def look_through(self, config: ModelConfig) -> Iterator[LookedAt]:
        """All frames once more, before `crops` is read: for one that is chosen among them."""
        return self._looked_at(*self._crops_of(self._pictures, config))

    def _looked_at(self, cropper: Cropper | None, crops: Iterable[np.ndarray]) -> Iterator[LookedAt]:
        for number, crop in enumerate(crops):
            times = self.reader.times
            yield LookedAt(number, times[-1] - times[0], crop, cropper is None or cropper.visible)

    def first_crop(self, config: ModelConfig) -> np.ndarray:
        """The crop of the first good frame; without `crop` of the first one."""
        cropper, crops = self._crops_of(self._pictures, config)
        if self.first is None:
            return next(iter(crops))
        if isinstance(cropper, FixedCrop | UprightCrop):
            return cropper.crop(self.first.frame, self.first.number)
        box = box_around(self.first.face, self.first.frame.shape[:2], *self._framing.by_box)
        return cut(self.first.frame, box, config.image_size, config.resize)

    def _crops_of(
        self, frames: Iterable[np.ndarray], config: ModelConfig
    ) -> tuple[Cropper | None, Iterable[np.ndarray]]:
        """The crops of frames, and what tells of each whether the face is seen, where one is looked for."""
        size, resize, detector = config.image_size, config.resize, self._detector
        if self.first is None:
            return None, middle_crops(frames, size, resize)
        given, taken = self._framing, self.reader.span.frames
        if given.close and isinstance(detector, GivenFaces) and detector.marked:
            upright = UprightCrop(frames, detector, given, size)
            return upright, upright
        square = detector.square(taken, *given.by_landmarks) if isinstance(detector, GivenFaces) else None
        if square is not None:
            fixed = FixedCrop(frames, square, size, detector, resize)
            return fixed, fixed
        start, begin = self.first.face, self.first.begin
        steady = SteadyCrop(frames, start, size, detector, resize, begin, *given.by_box)
        return steady, steady

    def _awake(self, detector: FaceDetector) -> Callable[[int], bool]:
        """Of a frame whether its eyes are open; where nothing is known of eyes they are."""
        openness = None
        if isinstance(detector, GivenFaces) and detector.frames:
            openness = detector.openness(detector.frames)
        if openness is None:
            return lambda frame: True
        eyes = openness[:, :2].min(axis=1)
        return lambda frame: bool(eyes[frame] >= EYES_OPEN * np.median(eyes))

    def openness(self, frames: int) -> np.ndarray | None:
        """Of the first `frames` frames, as `GivenFaces.openness`; None where no such landmarks are given."""
        return self._detector.openness(frames) if isinstance(self._detector, GivenFaces) else None

    def openness_of_frames(self) -> list[Openness] | None:
        """The same of each frame of the video, as edits take them."""
        known = self._detector.frames if isinstance(self._detector, GivenFaces) else None
        count = known or self.reader.length
        ratios = self.openness(count) if count else None
        return None if ratios is None else [Openness(*map(float, each)) for each in ratios]

    @property
    def lost_spans(self) -> Spans:
        """The seconds of the first and of the last frame of each stretch of `lost`."""
        return self._spans(self.lost)

    @property
    def notes(self) -> list[str]:
        """Lines for the user: what of the frames cannot drive as it should; often none."""
        notes = [self.reader.note_on_damage, self._note_on_others]
        for numbers, what, then in (
            (self._turned, f"turned by more than {YAW:.0f} degrees", "half of it is guessed"),
            (self._covered, "partly covered", "what covers it moves as skin does"),
        ):
            if len(numbers) > FEW:
                when = listed(self._spans(numbers))
                notes.append(f"{self.reader.path}: the face is {what} in {len(numbers)} frames{when}: {then}")
        return [note for note in notes if note]

    def _spans(self, numbers: list[int]) -> Spans:
        times, among = self.reader.times, set(numbers)
        firsts = [number for number in numbers if number - 1 not in among]
        lasts = [number for number in numbers if number + 1 not in among]
        return tuple(
            (times[first] - times[0], times[last] - times[0])
            for first, last in zip(firsts, lasts, strict=True)
        )

    @property
    def _note_on_others(self) -> str | None:
        """A line for the user where somebody else came to be followed; None: it is one person throughout."""
        others = self._cropper.tracker.others if isinstance(self._cropper, SteadyCrop) else []
        if not others:
            return None
        times = self.reader.times
        seconds = ", ".join(f"{times[number] - times[0]:.2f}" for number in others[:5])
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        return (
            f"{self.reader.path}: another face {self.moves} from {seconds} s{more} on, since the one that "
            "was followed is not in the picture"
        )

    @property
    def decode_seconds(self) -> float:
        """What decoding took so far."""
        return self._decoded.seconds

    @property
    def crop_seconds(self) -> float:
        """What following the face and cutting squares took so far."""
        return self._cropped.seconds - self._decoded.seconds
