# SPDX-License-Identifier: Apache-2.0
"""A hand before the face, in picture coordinates: it hides what is behind it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fv2v.batch import Batched
from fv2v.data.synthetic.sdf import Points, ellipsoid, length, melt
from fv2v.data.synthetic.uniform import Uniform

DEPTH = -0.86  # z: before the nose
FINGERS = ((-0.105, 0.9), (-0.036, 1.06), (0.036, 1.0), (0.105, 0.76))  # x where it begins, relative length


@dataclass(frozen=True, slots=True)
class Hand(Batched):
    """Of B pictures. Its own x runs across the palm, its y from the fingertips to the wrist."""

    shown: Tensor  # (B,)  0 or 1
    place: Tensor  # (B, 2)  of the palm's middle
    angle: Tensor  # (B,)  radians; 0 for fingers that point up
    size: Tensor  # (B,)
    spread: Tensor  # (B,)  of the fingers
    curl: Tensor  # (B,)  0 stretched fingers, 1 bent ones, which look half as long

    @classmethod
    def sample(cls, rng: np.random.Generator, count: int) -> "Hand":
        """In one picture of eight; it comes from below, and from one side."""
        u = Uniform(rng, count)
        side = 1 - 2 * u.chance(0.5)
        return cls(
            shown=u.chance(0.125),
            place=torch.stack([side * u(0.05, 0.6), u(0.15, 0.75)], dim=-1),
            angle=-side * u(-0.2, 0.9),
            size=u(0.85, 1.15),
            spread=u(0.0, 1.0),
            curl=u(0.0, 1.0),
        )

    def distance(self, points: Points) -> Tensor:
        """(B, N)"""
        hand = self.columns()
        cosine, sine = hand.angle.cos(), hand.angle.sin()
        x, y, z = points
        x, y = x - hand.place[:, 0], y - hand.place[:, 1]
        x, y, z = (each / hand.size for each in (cosine * x + sine * y, cosine * y - sine * x, z - DEPTH))
        found = ellipsoid((x, y, z), (0.0, 0.0, 0.0), (0.155, 0.18, 0.06))
        for start, long in FINGERS:
            lean = start * (0.4 + 2.2 * hand.spread)
            reach = 0.31 * long * (1 - 0.5 * hand.curl)
            found = melt(
                found, _capsule((x - start, y + 0.13, z), (lean, -reach, -0.05 * hand.curl), 0.041), 0.04
            )
        found = melt(found, _capsule((x - 0.11, y - 0.06, z), (0.15, -0.15, -0.03), 0.047), 0.05)
        arm = _capsule((x, y - 0.15, z), (0.0, 1.6, 0.1), 0.105)
        return melt(found, arm, 0.08) * hand.size


def _capsule(
    points: Points, axis: tuple[Tensor | float, Tensor | float, Tensor | float], radius: float
) -> Tensor:
    """Around the way from the origin along `axis`."""
    (x, y, z), (ax, ay, az) = points, axis
    share = ((x * ax + y * ay + z * az) / (ax * ax + ay * ay + az * az)).clamp(0, 1)
    return length(x - share * ax, y - share * ay, z - share * az) - radius
