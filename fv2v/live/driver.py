# SPDX-License-Identifier: Apache-2.0
"""A live driver: the square around the face that a camera sees, frame by frame."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fv2v.config import ModelConfig
from fv2v.face.appearance import place_of
from fv2v.face.crop import box_around, cut
from fv2v.face.portrait import FaceChoice
from fv2v.face.tracking import FaceTracker
from fv2v.geometry import Motion

READABLE = 10.0  # levels of contrast of a first face; a darker one is taken when it stays so dark
WAIT = 25  # frames


class LiveDrivers:
    """The drivers of a stream, one for each source, or one for all.

    Args:
        config, choice, lost: as `LiveDriver` takes them.
        sources: how many there are; without any, frames are crops already.
    """

    def __init__(self, config: ModelConfig, choice: FaceChoice, lost: str, sources: int) -> None:
        self._drivers = [LiveDriver(config, choice, lost) for _ in range(sources)]

    def crops(self, frames: Sequence[Any]) -> tuple[Sequence[Any] | None, bool]:
        """What drives, a crop for each frame, or None where nothing does; and whether all faces are seen.

        Motion drives as it is.
        """
        if not self._drivers or all(isinstance(frame, Motion) for frame in frames):
            return frames, True
        if len(frames) not in (1, len(self._drivers)):
            raise ValueError(
                f"expected a driving frame for all sources, or {len(self._drivers)}, one for each; "
                f"got {len(frames)}"
            )
        drivers = self._drivers[: len(frames)]
        crops = [driver.crop(frame) for driver, frame in zip(drivers, frames, strict=True)]
        driven = all(crop is not None for crop in crops)
        return crops if driven else None, all(driver.seen for driver in drivers)


class LiveDriver:
    """Follows one face of a camera's frames and cuts what the networks see.

    Args:
        config: the preset's.
        choice: which face, and what finds it.
        lost: what drives while the face is not seen: "hold" the last crop with it, "drive" the frame's own,
            "source" none.

    Attributes:
        seen: whether the face was seen in the latest frame.
    """

    def __init__(self, config: ModelConfig, choice: FaceChoice, lost: str) -> None:
        self._size, self._resize = config.image_size, config.resize
        self._choice, self._lost = choice, lost
        self._tracker: FaceTracker | None = None
        self._held: np.ndarray | None = None
        self._dark = 0
        self.seen = False

    def crop(self, frame: np.ndarray) -> np.ndarray | None:
        """(n, n, 3) uint8, what drives, of a (H, W, 3) uint8 frame; None: nothing, as before a face."""
        if not (isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[2] == 3):
            raise ValueError(
                f"crop=True: expected frames as (H, W, 3) uint8 arrays, got {type(frame).__name__} "
                f"{getattr(frame, 'shape', '')}"
            )
        if self._tracker is None:
            self._tracker = self._first(frame)
        if self._tracker is None:
            return None
        face = self._tracker.update(frame)
        self.seen = self._tracker.visible
        if self.seen or self._lost == "drive":
            self._held = cut(frame, box_around(face, frame.shape[:2]), self._size, self._resize)
        return None if self._lost == "source" and not self.seen else self._held

    def _first(self, frame: np.ndarray) -> FaceTracker | None:
        detector, number = self._choice.detector, self._choice.number
        faces = sorted(detector(frame), key=lambda face: -face.side)
        if len(faces) < number:
            return None
        face = faces[number - 1]
        if place_of(frame, face).contrast < READABLE and self._dark < WAIT:
            self._dark += 1
            return None
        return FaceTracker(face, detector)
