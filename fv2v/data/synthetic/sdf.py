# SPDX-License-Identifier: Apache-2.0
"""Signed distance functions of solids: negative inside, about the distance to the surface outside.

Where shapes are bent or stretched the distance is inexact, so sphere tracing must take shorter steps.
"""

import torch
from torch import Tensor

Points = tuple[Tensor, ...]  # x, y, z, (B, N) each
Numbers = tuple[Tensor | float, ...]  # one for each of x, y, z: columns (B, 1), or the same on all heads


def ellipsoid(points: Points, centre: Numbers, radii: Numbers) -> Tensor:
    """About the distance to an ellipsoid, exact on it and for spheres."""
    inverse = [1 / r for r in radii]
    a, b, c = ((p - m) * r for p, m, r in zip(points, centre, inverse, strict=True))
    level = length(a, b, c)
    slope = length(*(q * r for q, r in zip((a, b, c), inverse, strict=True)))
    return level * (level - 1) / slope


def sphere(points: Points, centre: Numbers, radius: Tensor) -> Tensor:
    return length(*(p - m for p, m in zip(points, centre, strict=True))) - radius


def length(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    squares = torch.addcmul(torch.addcmul(a * a, b, b), c, c)
    return squares.clamp_(min=1e-12).sqrt_()


def melt(a: Tensor, b: Tensor, width: float) -> Tensor:
    """The smooth union of two surfaces, rounded over about `width` where they meet."""
    overlap = (width - (a - b).abs_()).clamp_(min=0)
    return torch.minimum(a, b).addcmul_(overlap, overlap, value=-0.25 / width)


def bump(u: Tensor, v: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
    """A Gaussian of u and v, 1 in the middle."""
    a, b = u * (1 / width), v * (1 / height)
    return torch.addcmul(a * a, b, b).neg_().exp_()
