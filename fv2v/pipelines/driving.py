# SPDX-License-Identifier: Apache-2.0
"""The driver's video as the commands read it: the square around its face, frame by frame."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fv2v.config import ModelConfig
from fv2v.face.detectors.given import GivenFaces
from fv2v.face.find import find_first_face
from fv2v.face.portrait import choose_face
from fv2v.face.tracking import FixedCrop, SteadyCrop, middle_crops
from fv2v.io.paths import PathLike
from fv2v.io.prefetch import Timed
from fv2v.io.video import read_video


class DrivingVideo:
    """A video whose first face is known, and the crops of it.

    Args:
        path: the video.
        crop: cut the square around the face, which is followed, or of landmarks their mean square; False: the
            middle squares, and no face is looked for.
        face: which one, as `fv2v.face.portrait.choose_face` takes it.
        frames: how many to read at most.
        strict: whether a damaged frame is an error.

    Attributes:
        reader: the video's own frames, times and sound.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no video, or no such face in it.
    """

    def __init__(
        self, path: PathLike, crop: bool, face: Any, frames: int | None = None, strict: bool = False
    ) -> None:
        choice = choose_face(face, crop)
        self.reader = reader = read_video(path, frames=frames, strict=strict)
        self._detector, self._frames = choice.detector, frames
        self._start = (
            find_first_face(reader, str(reader.path), choice.number, choice.detector) if crop else None
        )
        self._decoded = Timed(reader)

    def crops(self, config: ModelConfig) -> Iterator[np.ndarray]:
        """(n, n, 3) uint8, n = `image_size`, one a frame, resized as the preset's release does; once."""
        size, resize, detector = config.image_size, config.resize, self._detector
        square = detector.square(self._frames) if isinstance(detector, GivenFaces) else None
        self._crops: Iterable[np.ndarray]
        if square is not None:
            self._crops = FixedCrop(self._decoded, square, size, detector, resize)
        elif self._start is not None:
            self._crops = SteadyCrop(self._decoded, self._start, size, detector, resize)
        else:
            self._crops = middle_crops(self._decoded, size, resize)
        self._cropped = Timed(self._crops)
        return self._cropped

    def openness(self, frames: int) -> np.ndarray | None:
        """Of the first `frames` frames, as `GivenFaces.openness`; None where no such landmarks are given."""
        return self._detector.openness(frames) if isinstance(self._detector, GivenFaces) else None

    @property
    def missing(self) -> int:
        """Of the crops read so far, those in whose frame no face was found."""
        return self._crops.missing if isinstance(self._crops, SteadyCrop | FixedCrop) else 0

    @property
    def decode_seconds(self) -> float:
        """What decoding took so far."""
        return self._decoded.seconds

    @property
    def crop_seconds(self) -> float:
        """What following the face and cutting squares took so far."""
        return self._cropped.seconds - self._decoded.seconds
