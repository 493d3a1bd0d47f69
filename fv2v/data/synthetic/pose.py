# SPDX-License-Identifier: Apache-2.0
"""Where a head is, and where it points."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fv2v.batch import Batched
from fv2v.data.synthetic.hand import Hand
from fv2v.data.synthetic.uniform import Uniform
from fv2v.geometry import euler_degrees, rotation_from_euler


@dataclass(frozen=True, slots=True)
class Pose(Batched):
    """Of B heads: a point p of scaled head coordinates is at R p + t in picture coordinates."""

    rotation: Tensor  # (B, 3, 3)  R
    translation: Tensor  # (B, 3)  t; z is 0, as depth has no effect
    hand: Hand | None = None  # before it, in picture coordinates; None: there are no hands

    @classmethod
    def at(cls, pitch: Tensor, yaw: Tensor, roll: Tensor, translation: Tensor | None = None) -> "Pose":
        """(B,) degrees each, in the order and signs of fv2v.geometry; translation (B, 2), 0 by default."""
        rotation = rotation_from_euler(pitch, yaw, roll)
        if translation is None:
            translation = torch.zeros(len(rotation), 2, device=rotation.device)
        return cls(rotation, torch.nn.functional.pad(translation, (0, 1)))

    @classmethod
    def sample(cls, rng: np.random.Generator, count: int, extent: float = 1.0) -> "Pose":
        """Pitch within 20 degrees, yaw 40, roll 15, translation 0.1; `extent` scales all of them."""
        u = Uniform(rng, count)
        pitch, yaw, roll = (extent * u(-limit, limit) for limit in (20.0, 40.0, 15.0))
        return cls.at(pitch, yaw, roll, extent * torch.stack([u(-0.1, 0.1), u(-0.07, 0.07)], dim=-1))

    @property
    def degrees(self) -> tuple[Tensor, Tensor, Tensor]:
        """Pitch, yaw and roll, (B,) each."""
        return euler_degrees(self.rotation)

    def turned(self, rotation: Tensor) -> "Pose":
        """The pose in a view that turns the head further, by R_u (B or 1, 3, 3): R_u R, the same t."""
        return replace(self, rotation=rotation @ self.rotation)
