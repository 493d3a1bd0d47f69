# SPDX-License-Identifier: Apache-2.0
"""Random numbers for the parameters of many heads."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Uniform:
    """Uniform numbers for `count` rows, by the generator's `random`, the same in all of numpy's versions."""

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        self.rng, self.count = rng, count

    def __call__(self, low: float, high: float, *shape: int) -> Tensor:
        """(B, *shape) in [low, high)."""
        return tensor(low + (high - low) * self.rng.random((self.count, *shape)))

    def chance(self, probability: float) -> Tensor:
        """(B,) 1 with that probability, else 0."""
        return tensor(self.rng.random(self.count) < probability)

    def choice(self, palette: Sequence[tuple[float, ...]]) -> Tensor:
        """(B, C): a row of the palette for each."""
        rows = (self.rng.random(self.count) * len(palette)).astype(int)
        return tensor(np.array(palette)[rows])


def tensor(numbers: np.ndarray) -> Tensor:
    return torch.from_numpy(numbers.astype(np.float32))
