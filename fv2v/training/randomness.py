# SPDX-License-Identifier: Apache-2.0
"""What is random in a training step beside the choice of pairs: a function of seed and step alone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fv2v.batch import Batched
from fv2v.losses import RandomWarp


@dataclass(frozen=True, slots=True)
class StepRandomness(Batched):
    """The random choices for B pairs."""

    warp: RandomWarp  # of the driving frame, for equivariance
    teacher_forced: Tensor | None  # (B,) bool  pairs rendered with true keypoints; None: none of them
    dropped: Tensor | None = None  # (B,) the share of keypoints, the last ones, that do not move
    unmoved: Tensor | None = None  # (B,) bool  pairs whose source is also their driving frame; None: none

    @classmethod
    def of_step(
        cls,
        seed: int,
        step: int,
        batch: int,
        teacher: float,
        device: torch.device,
        dtype: torch.dtype,
        tail_dropout: float = 0.0,
        unmoved: float = 0.0,
    ) -> "StepRandomness":
        """The choices of a step: the same in every process, and in a run that is resumed.

        Args:
            seed: of the run.
            step: from 0 on.
            batch: B, over all processes and accumulated parts.
            teacher: the share of pairs that are rendered with true keypoints.
            device, dtype: of the tensors.
            tail_dropout: the largest share of keypoints that do not move.
            unmoved: the share of pairs whose source is also their driving frame.
        """
        generator = torch.Generator()
        generator.manual_seed(int(np.random.default_rng((seed, 2, step)).integers(1 << 62)))
        warp = RandomWarp.sample(batch, generator, device=device, dtype=dtype)
        teacher_forced = torch.rand(batch, generator=generator) < teacher
        dropped = tail_dropout * torch.rand(batch, generator=generator)
        still = torch.rand(batch, generator=generator) < unmoved
        return cls(
            warp,
            teacher_forced.to(device) if teacher else None,
            dropped.to(device) if tail_dropout else None,
            still.to(device) if unmoved else None,
        )
