# SPDX-License-Identifier: Apache-2.0
"""Source, driver and result in one frame, side by side."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeVar

import cv2
import numpy as np

Crop = TypeVar("Crop", bound=np.ndarray | None)


class SideBySide:
    """Puts beside each result what it was made of, at the result's height.

    Args:
        source: (H, W, 3) uint8, the portrait, whole or its crop.
    """

    def __init__(self, source: np.ndarray) -> None:
        self._source = source
        self._drivers: deque[np.ndarray | None] | None = None

    def remembering(self, drivers: Iterable[Crop]) -> Iterator[Crop]:
        """The drivers as they are, each kept until its result comes; None is shown black."""
        self._drivers = deque()
        for driver in drivers:
            self._drivers.append(driver)
            yield driver

    def __call__(self, result: np.ndarray) -> np.ndarray:
        """(H, W', 3): source and result, and between them the driver that is next, where there are any."""
        height = len(result)
        shown = [_as_high(self._source, height)]
        if self._drivers is not None:
            driver = self._drivers.popleft()
            black = np.zeros((height, height, 3), np.uint8)
            shown.append(black if driver is None else _as_high(driver, height))
        return np.concatenate([*shown, result], axis=1)


def _as_high(image: np.ndarray, height: int) -> np.ndarray:
    H, W, _ = image.shape
    size = (max(1, round(W * height / H)), height)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if height < H else cv2.INTER_CUBIC)
