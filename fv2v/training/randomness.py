"""What is random in a training step, beside the pairs: a function of seed and step alone."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fv2v.losses import RandomWarp


@dataclass(frozen=True, slots=True)
class Chance:
    """For B pairs."""

    warp: RandomWarp  # of the driving frame, for equivariance
    forced: Tensor | None  # (B,) bool  who is moved by the true keypoints; None: no one

    @classmethod
    def of_step(
        cls, seed: int, step: int, batch: int, teacher: float, device: torch.device, dtype: torch.dtype
    ) -> "Chance":
        """The same in every process, and for who resumes at the step.

        Args:
            batch: B, over all processes and accumulated parts.
            teacher: the share of pairs that true keypoints move.
        """
        generator = torch.Generator()
        generator.manual_seed(int(np.random.default_rng((seed, 2, step)).integers(1 << 62)))
        warp = RandomWarp.sample(batch, generator, device=device, dtype=dtype)
        forced = torch.rand(batch, generator=generator) < teacher
        return cls(warp, forced.to(device) if teacher else None)

    def __getitem__(self, rows: slice) -> "Chance":
        """Of some of the pairs."""
        w = self.warp
        warp = replace(w, linear=w.linear[rows], shift=w.shift[rows], bends=w.bends[rows])
        return Chance(warp, None if self.forced is None else self.forced[rows])
