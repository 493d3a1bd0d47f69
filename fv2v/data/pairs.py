# SPDX-License-Identifier: Apache-2.0
"""What training reads: two frames of one video, and where the data knows it the true motion of both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from fv2v.batch import Batched
from fv2v.geometry import Motion


@dataclass(frozen=True, slots=True)
class Truth(Batched):
    """What a renderer knows of pairs: x = R x_c + t + δ are the landmarks of their frames.

    Data sets have it in picture coordinates, where -1 and 1 are the edges; `on_lattice` is for networks.
    """

    canonical: Tensor  # (B, K, 3)  x_c, of the neutral and frontal face
    source: Motion
    driving: Motion

    def on_lattice(self, voxels: int) -> "Truth":
        """From picture coordinates to the corner lattice of volumes of so many voxels n across.

        There -1 and 1 are the centres of the outermost voxels, so all lengths are n / (n - 1) times as large.

        Raises:
            ValueError: fewer than 2 voxels.
        """
        if voxels < 2:
            raise ValueError(f"expected 2 voxels across or more, got {voxels}")
        factor = voxels / (voxels - 1)
        motions = (
            replace(motion, translation=factor * motion.translation, expression=factor * motion.expression)
            for motion in (self.source, self.driving)
        )
        return Truth(factor * self.canonical, *motions)

    def of_landmarks(self, numbers: Sequence[int]) -> "Truth":
        """Of the landmarks of those numbers alone, in that order."""
        chosen = list(numbers)
        motions = (
            replace(motion, expression=motion.expression[:, chosen]) for motion in (self.source, self.driving)
        )
        return Truth(self.canonical[:, chosen], *motions)


@dataclass(frozen=True, slots=True)
class Pairs(Batched):
    """A batch for a training step: of each pair the source s and the driving frame d."""

    source: Tensor  # (B, 3, n, n) uint8 as data sets have it, or float in [0, 1]
    driving: Tensor  # as source
    truth: Truth | None = None

    def scaled(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "Pairs":
        """On `device`, pictures scaled to [0, 1] in `dtype`; the truth stays in its own."""
        source, driving = (_scaled(each, device, dtype) for each in (self.source, self.driving))
        return Pairs(source, driving, None if self.truth is None else self.truth.to(device))

    def unmoved(self, chosen: Tensor) -> "Pairs":
        """The source as driving frame, too, of the pairs that are `chosen` (B,)."""
        driving = self.source.where(chosen[:, None, None, None], self.driving)
        truth = self.truth
        if truth is not None:
            truth = truth.where(~chosen, replace(truth, driving=truth.source))
        return replace(self, driving=driving, truth=truth)

    def pin_memory(self) -> "Pairs":
        """With pictures in page-locked memory, which a GPU copies without waiting; DataLoader calls this."""
        return replace(self, source=self.source.pin_memory(), driving=self.driving.pin_memory())


class Draw(NamedTuple):
    """Which pair: an item of a data set, and the seed of all that is random in it."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which is not needed here
    seed: int


class PairData(Protocol):
    """A data set of pairs. `data[Draw(index, seed)]` is the same pair in every process, at any time."""

    def __len__(self) -> int:
        """How many items (videos, or identities) there are; an epoch draws each once."""

    def __getitem__(self, draw: Draw) -> Pairs:
        """A batch of one, uint8."""


def draws(step: int, batch: int, length: int, seed: int) -> list[Draw]:
    """The pairs of a step. They depend on the arguments alone, so a resumed run draws what it would have.

    Every epoch is a permutation of all items; a batch may span two epochs.

    Args:
        step: from 0 on.
        batch: pairs a step, over all processes and accumulated parts.
        length: items of the data set.
        seed: of the whole run.
    """
    drawn = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, place = divmod(position, length)
        pair_seed = np.random.default_rng((seed, 1, position)).integers(1 << 62)
        drawn.append(Draw(int(_order(epoch, length, seed)[place]), int(pair_seed)))
    return drawn


@lru_cache(maxsize=2)  # a step may span two epochs
def _order(epoch: int, length: int, seed: int) -> np.ndarray:
    return np.random.default_rng((seed, 0, epoch)).permutation(length)


def _scaled(pictures: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """uint8 is sent as it is, a quarter of float32's bytes, and converted on the device."""
    there = pictures.to(device, non_blocking=True)
    return there.to(dtype) / 255 if there.dtype == torch.uint8 else there.to(dtype)
