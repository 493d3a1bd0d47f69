# SPDX-License-Identifier: Apache-2.0
"""Source, driver and result in one frame, side by side."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

import cv2
import numpy as np

Crop = TypeVar("Crop", bound=np.ndarray | None)


class Shown(Protocol):
    """A portrait, or a film at the frame that is shown."""

    @property
    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8: the whole of it."""

    @property
    def image(self) -> np.ndarray:
        """(n, n, 3) uint8: its crop."""


class SideBySide:
    """Puts beside each result what it was made of, at the result's height.

    Args:
        source: what is moved.
        whole: show the whole of it, and not its crop.
    """

    def __init__(self, source: Shown, whole: bool) -> None:
        self._source, self._whole = source, whole
        self._drivers: deque[np.ndarray | None] | None = None

    def remembering(self, drivers: Iterable[Crop]) -> Iterator[Crop]:
        """The drivers as they are, each remembered."""
        return map(self.remember, drivers)

    def remember(self, driver: Crop) -> Crop:
        """The driver as it is, kept until its result comes; None is shown black."""
        if self._drivers is None:
            self._drivers = deque()
        self._drivers.append(driver)
        return driver

    def __call__(self, result: np.ndarray) -> np.ndarray:
        """(H, W', 3): source and result, and between them the driver that is next, where there are any."""
        height = len(result)
        source = self._source.picture if self._whole else self._source.image
        shown = [_as_high(source, height)]
        if self._drivers is not None:
            driver = self._drivers.popleft()
            black = np.zeros((height, height, 3), np.uint8)
            shown.append(black if driver is None else _as_high(driver, height))
        return np.concatenate([*shown, result], axis=1)


def _as_high(image: np.ndarray, height: int) -> np.ndarray:
    H, W, _ = image.shape
    size = (max(1, round(W * height / H)), height)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if height < H else cv2.INTER_CUBIC)
