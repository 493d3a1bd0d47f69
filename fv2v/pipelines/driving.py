"""The driver's video as the commands read it: the square around its face, frame by frame."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fv2v.face.find import find_first_face
from fv2v.face.portrait import choose_face
from fv2v.face.tracking import SteadyCrop, driving_crops
from fv2v.io.paths import PathLike
from fv2v.io.prefetch import Timed
from fv2v.io.video import read_video


class DrivingVideo:
    """A video whose first face is known, and the crops of it.

    Args:
        path: the video.
        crop: cut the square around the face; False: the middle squares, and no face is looked for.
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
        self._detector = choice.detector
        self._start = (
            find_first_face(reader, str(reader.path), choice.number, choice.detector) if crop else None
        )
        self._decoded = Timed(reader)

    def crops(self, size: int) -> Iterator[np.ndarray]:
        """(size, size, 3) uint8, one a frame; to be read once."""
        self._crops = driving_crops(self._decoded, self._start, size, self._detector)
        self._cropped = Timed(self._crops)
        return self._cropped

    @property
    def missing(self) -> int:
        """Of the crops read so far, those in whose frame no face was found."""
        return self._crops.missing if isinstance(self._crops, SteadyCrop) else 0

    @property
    def decode_seconds(self) -> float:
        """What decoding took so far."""
        return self._decoded.seconds

    @property
    def crop_seconds(self) -> float:
        """What following the face and cutting squares took so far."""
        return self._cropped.seconds - self._decoded.seconds
