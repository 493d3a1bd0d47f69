# SPDX-License-Identifier: Apache-2.0
"""How fine motion is sent: steps by quality, and a dead zone that saves bits where changes do not show."""

import numpy as np

DEFAULT_STEP = 0.0005  # at a quality of 75
HALVES = 12.5  # of quality that halve the step
DEAD_ZONE = 1.0  # steps, of quality "adaptive"
_WIDEST, _WIDER, _NARROWER = 1024.0, 1.25, 1.05  # a frame


def step_of(quality: float | str) -> float:
    """The step s of a quality from 1 to 100."""
    if isinstance(quality, str) or not 1 <= quality <= 100:
        raise ValueError(f"expected a quality from 1 to 100 or 'adaptive', got {quality!r}")
    return float(DEFAULT_STEP * 2 ** ((75 - quality) / HALVES))


class RateControl:
    """Rounds the numbers of a frame, coarser while more bits were sent than there may be.

    Args:
        dead_zone: numbers that would change by less, in steps, stay. Up to a half it is plain rounding.
        kbps: thousands of bits a second, on average; None: no limit.
        fps: frames a second.
    """

    def __init__(self, dead_zone: float, kbps: float | None, fps: float) -> None:
        if kbps is not None and not (kbps > 0 and fps > 0):
            raise ValueError(f"expected kbps and fps above 0, got {kbps} and {fps}")
        self._least = self._zone = dead_zone
        self._bytes = None if kbps is None else kbps * 125 / fps
        self._debt = 0.0

    def round(self, exact: np.ndarray, before: np.ndarray) -> np.ndarray:
        """(P,) whole numbers for exact ones, in steps, after those of the frame before."""
        numbers = np.rint(exact).astype(np.int64)
        return np.where(np.abs(exact - before) < self._zone, before, numbers) if self._zone > 0.5 else numbers

    def sent(self, count: int) -> None:
        """A packet of `count` bytes went out."""
        if self._bytes is None:
            return
        self._debt = max(self._debt + count - self._bytes, -8 * self._bytes)
        if self._debt > 0 or count > 2 * self._bytes:
            self._zone = min(max(self._zone, 0.5) * _WIDER, _WIDEST)
        else:
            self._zone = max(self._zone / _NARROWER, self._least)
