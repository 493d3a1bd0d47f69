"""What training reads: two frames of one video, and where the data knows it the true motion of both."""

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from fv2v.geometry import Motion


@dataclass(frozen=True, slots=True)
class Truth:
    """What a renderer knows of a pair: x = R x_c + t + δ are its landmarks.

    In picture coordinates, which run from edge to edge, as data sets have it; `on_lattice` as networks do.
    """

    canonical: Tensor  # (B, K, 3)  x_c, of the neutral and frontal face
    source: Motion
    driving: Motion

    def on_lattice(self, voxels: int) -> "Truth":
        """For volumes of so many voxels across: from picture coordinates, edge to edge, to the corner lattice.

        There -1 and 1 are the middles of the outermost voxels, and points n / (n - 1) times as far out.
        """
        if voxels < 2:
            raise ValueError(f"expected 2 voxels across or more, got {voxels}")
        factor = voxels / (voxels - 1)
        motions = (
            replace(motion, translation=factor * motion.translation, expression=factor * motion.expression)
            for motion in (self.source, self.driving)
        )
        return Truth(factor * self.canonical, *motions)


@dataclass(frozen=True, slots=True)
class Pairs:
    """A batch for a training step."""

    source: Tensor  # (B, 3, n, n) uint8 as data sets have it, or float in [0, 1]  s
    driving: Tensor  # as source  d
    truth: Truth | None = None

    def __len__(self) -> int:
        return len(self.source)

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "Pairs":
        """On `device`, pictures scaled to [0, 1] in `dtype`; motion stays in its own."""
        source, driving = (_scaled(each, device, dtype) for each in (self.source, self.driving))
        truth = self.truth
        if truth is not None:
            motions = (each.to(device, each.rotation.dtype) for each in (truth.source, truth.driving))
            truth = Truth(truth.canonical.to(device), *motions)
        return Pairs(source, driving, truth)

    def pin_memory(self) -> "Pairs":
        """In memory that a GPU reads while the CPU goes on; the loader asks for it. The truth is small."""
        return Pairs(self.source.pin_memory(), self.driving.pin_memory(), self.truth)


class Draw(NamedTuple):
    """Which pair: an item of a data set, and the seed of all that is random in it."""

    index: int  # type: ignore[assignment]  # tuples have a method of that name, which nobody calls here
    seed: int


class PairData(Protocol):
    """A data set of pairs. `data[Draw(index, seed)]` is the same pair whenever, and wherever."""

    def __len__(self) -> int:
        """Videos or identities, of which an epoch draws each once."""

    def __getitem__(self, draw: Draw) -> Pairs:
        """A batch of one, uint8."""


def collate(pairs: list[Pairs]) -> Pairs:
    """Batches of one as one batch, for a DataLoader. Either all have a truth, or none."""
    truths = [each.truth for each in pairs if each.truth is not None]
    if truths and len(truths) != len(pairs):
        raise ValueError(f"expected a truth for all {len(pairs)} pairs or for none, got {len(truths)}")
    truth = None
    if truths:
        motions = (_joined([getattr(each, name) for each in truths]) for name in ("source", "driving"))
        truth = Truth(torch.cat([each.canonical for each in truths]), *motions)
    return Pairs(torch.cat([p.source for p in pairs]), torch.cat([p.driving for p in pairs]), truth)


def draws(step: int, batch: int, length: int, seed: int) -> list[Draw]:
    """The pairs of a step, a function of its arguments alone: who resumes at a step draws what was due there.

    Every epoch is a permutation of the `length` items; a batch may span two.

    Args:
        step: from 0 on.
        batch: pairs a step, over all processes and accumulated parts.
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
    """uint8 travels as it is, a quarter of float32, and without waiting where it is pinned."""
    there = pictures.to(device, non_blocking=True)
    return there.to(dtype) / 255 if there.dtype == torch.uint8 else there.to(dtype)


def _joined(motions: list[Motion]) -> Motion:
    return Motion(*(torch.cat([getattr(each, f.name) for each in motions]) for f in fields(Motion)))
