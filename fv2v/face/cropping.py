# SPDX-License-Identifier: Apache-2.0
"""Which faces are cut out, and how: what a user may choose of the squares of crop.py and landmarks.py."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from fv2v.face.crop import WIDE
from fv2v.face.landmarks import CLOSE_SCALE, DRIVING_SCALE, DRIVING_VY, SCALE, VY, Square

WHOSE = {"both": (True, True), "source": (True, False), "driving": (False, True), "none": (False, False)}
LARGEST_SCALE, LARGEST_SHIFT = 20.0, 2.0
LEAST_SIDE = 64  # pixels to which a source may be reduced
Numbers = float | tuple[float | None, float | None] | None


@dataclass(frozen=True, slots=True)
class Framing:
    """How faces are cut out of the pictures of one side, source or driving; fields as in `CropChoice`."""

    drives: bool
    cut: bool
    scale: float | None
    shift: float | None
    rotate: bool
    max_side: int | None
    close: bool = False

    @property
    def by_landmarks(self) -> tuple[float, float]:
        """Scale and shift of squares around landmarks, by default the release's."""
        scale, shift = (DRIVING_SCALE, DRIVING_VY) if self.drives else (SCALE, VY)
        if self.close:
            scale, shift = CLOSE_SCALE, VY
        return self.scale or scale, shift if self.shift is None else self.shift

    @property
    def by_box(self) -> tuple[float | None, float | None]:
        """Scale and shift of squares around a detector's box, as `box_around` takes them."""
        closer = WIDE * CLOSE_SCALE / SCALE if self.close else None
        return self.scale or closer, self.shift

    def turned(self, square: Square) -> Square:
        """A square around landmarks, not rotated unless that is wanted."""
        return square if self.rotate else replace(square, angle=0.0)

    def factor(self, size: tuple[int, ...]) -> float:
        """What lengths in a picture of `size` (H, W) are multiplied by; 1 at most."""
        return 1.0 if self.max_side is None else min(1.0, self.max_side / max(size))

    def reduced(self, picture: np.ndarray) -> np.ndarray:
        """A (H, W, 3) uint8 picture whose longer side is `max_side` at most, reduced by area."""
        factor = self.factor(picture.shape[:2])
        if factor == 1:
            return picture
        H, W = (max(1, int(side * factor)) for side in picture.shape[:2])
        return cv2.resize(picture, (W, H), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True, slots=True)
class CropChoice:
    """Whose faces are cut out, and how.

    Two numbers of `scale` and `shift` are the source's and the driving side's, None for the default; one is
    the source's, as LivePortrait's options of that name have it.

    Args:
        whose: "both", "source", "driving" or "none"; of a side that is not cut the middle square is taken.
        scale: the square's side, in sides of what the face's landmarks span (2.3 and 2.2 by default), or of
            the box that a detector finds (by default 1.9, and less in a small picture).
        shift: how far the square moves down from the face, in its own sides; negative is up. -0.125 and -0.1
            by default with landmarks; else 0, or what keeps the square inside the picture.
        rotate: turn a source's square with the face, where landmarks tell its tilt. A driver's stays upright.
        source_max_side: reduce pictures of the source whose longer side has more pixels, before all else.
        close: cut as PerformRecast's release does: source and driver alike, closer (1.5 and -0.125 with
            landmarks), and by landmarks a driver's square turns with its face, frame by frame.

    Raises:
        ValueError: none of those words, or numbers out of range.
    """

    whose: str = "both"
    scale: Numbers = None
    shift: Numbers = None
    rotate: bool = True
    source_max_side: int | None = None
    close: bool = False

    def __post_init__(self) -> None:
        if self.whose not in WHOSE:
            raise ValueError(f"crop: expected source, driving, both or none, got {self.whose!r}")
        for number in _pair(self.scale):
            if number is not None and not 0 < number <= LARGEST_SCALE:
                raise ValueError(f"crop scale: expected above 0 to {LARGEST_SCALE:g}, got {number:g}")
        for number in _pair(self.shift):
            if number is not None and not (math.isfinite(number) and abs(number) <= LARGEST_SHIFT):
                raise ValueError(f"crop shift: expected at most {LARGEST_SHIFT:g} sides, got {number:g}")
        for drives, cut in enumerate(WHOSE[self.whose]):
            if not cut and any(_pair(numbers)[drives] is not None for numbers in (self.scale, self.shift)):
                side = "driving" if drives else "source"
                raise ValueError(
                    f"crop: scale or shift is given for the {side}, expected it to be cropped; "
                    f"got {self.whose!r}"
                )
        if self.source_max_side is not None and self.source_max_side < LEAST_SIDE:
            raise ValueError(
                f"source max side: expected {LEAST_SIDE} pixels or more, got {self.source_max_side}"
            )

    @classmethod
    def of(cls, crop: "Crops") -> "CropChoice":
        """`crop` as functions take it: one of the words, True for "both", False for "none", or a choice."""
        if isinstance(crop, CropChoice):
            return crop
        return cls(crop if isinstance(crop, str) else "both" if crop else "none")

    def framing(self, drives: bool) -> Framing:
        """Of one side."""
        return Framing(
            drives,
            cut=WHOSE[self.whose][drives],
            scale=_pair(self.scale)[drives],
            shift=_pair(self.shift)[drives],
            rotate=self.rotate and (self.close or not drives),
            max_side=None if drives else self.source_max_side,
            close=self.close,
        )


Crops = bool | str | CropChoice


class Reduced:
    """The frames of a film as `Framing.reduced` makes them; each iteration starts the film anew."""

    def __init__(self, frames: Iterable[np.ndarray], framing: Framing) -> None:
        self._frames, self._framing = frames, framing

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self._framing.reduced, self._frames)


def _pair(numbers: Numbers) -> tuple[float | None, float | None]:
    return numbers if isinstance(numbers, tuple) else (numbers, None)
