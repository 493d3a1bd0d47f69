"""Where a head is and which way it looks."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fv2v.batch import Batched
from fv2v.data.synthetic.uniform import Uniform
from fv2v.geometry import euler_degrees, rotation_from_euler


@dataclass(frozen=True, slots=True)
class Pose(Batched):
    """Of B heads: p in head coordinates, scaled, is at R p + t in the picture's."""

    rotation: Tensor  # (B, 3, 3)  R
    translation: Tensor  # (B, 3)  t, z = 0: depth does not show

    @classmethod
    def at(cls, pitch: Tensor, yaw: Tensor, roll: Tensor, translation: Tensor | None = None) -> "Pose":
        """(B,) degrees each, in geometry.py's order and signs; translation (B, 2), the middle by default."""
        rotation = rotation_from_euler(pitch, yaw, roll)
        if translation is None:
            translation = torch.zeros(len(rotation), 2, device=rotation.device)
        return cls(rotation, torch.nn.functional.pad(translation, (0, 1)))

    @classmethod
    def sample(cls, rng: np.random.Generator, count: int, extent: float = 1.0) -> "Pose":
        """Pitch within 20 degrees, yaw within 40, roll within 15, moved a little; `extent` scales it all."""
        u = Uniform(rng, count)
        pitch, yaw, roll = (extent * u(-limit, limit) for limit in (20.0, 40.0, 15.0))
        return cls.at(pitch, yaw, roll, extent * torch.stack([u(-0.1, 0.1), u(-0.07, 0.07)], dim=-1))

    @property
    def degrees(self) -> tuple[Tensor, Tensor, Tensor]:
        """Pitch, yaw and roll, (B,) each."""
        return euler_degrees(self.rotation)

    def turned(self, rotation: Tensor) -> "Pose":
        """As a view that turns on by R_u (B or 1, 3, 3) shows it: R_u R, in the same place."""
        return replace(self, rotation=rotation @ self.rotation)
