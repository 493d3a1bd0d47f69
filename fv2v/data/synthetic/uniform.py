"""Parameters of many heads: a row each, in tensors that share their first axis."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Some = TypeVar("Some", bound="Batched")


@dataclass(frozen=True)
class Batched:
    """Base of frozen dataclasses whose fields are float32 tensors (B, ...)."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self: Some, rows: slice) -> Some:
        """Some of the rows: `identity[2:3]`."""
        return self._each(lambda tensor: tensor[rows])

    def to(self: Some, device: torch.device | str) -> Some:
        return self._each(lambda tensor: tensor.to(device))

    def repeat(self: Some, times: int) -> Some:
        """Every row `times` over, its copies in a row: B rows become B * times."""
        return self._each(lambda tensor: tensor.repeat_interleave(times, dim=0))

    def columns(self: Some) -> Some:
        """For arithmetic with N points: (B,) becomes (B, 1), (B, C) becomes (B, C, 1)."""
        return self._each(lambda tensor: tensor.unsqueeze(-1))

    @classmethod
    def cat(cls: type[Some], parts: Sequence[Some]) -> Some:
        """The rows of all parts, one after another."""
        return cls(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def _each(self: Some, change: Callable[[Tensor], Tensor]) -> Some:
        return type(self)(**{f.name: change(getattr(self, f.name)) for f in fields(self)})


class Uniform:
    """Uniform numbers for `count` rows. Of a generator only `random` is used, which has stayed the same."""

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
