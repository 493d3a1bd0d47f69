# SPDX-License-Identifier: Apache-2.0
"""Pictures compared pixel by pixel, for training without a feature network. Not in the paper."""

import torch
from torch import Tensor

from fv2v.losses.distance import wide
from fv2v.networks.blocks import pyramid

SPREAD = 0.06  # of the Gaussians of `focus_on`; the picture is 2 across


def reconstruction(output: Tensor, target: Tensor, scales: int = 3, focus: Tensor | None = None) -> Tensor:
    """L1 of colours and of their differences to the next pixel right and down, (B, 3, H, W) each -> scalar.

    The mean over `scales` resolutions, each half of the one before. `focus` (B, 1, H, W), as `focus_on`
    returns it, is the weight of each pixel; a difference has the weight of its right or lower pixel.
    ValueError for sizes that differ, or are not divisible by 2 so often.
    """
    if output.shape != target.shape:
        raise ValueError(
            f"expected two tensors of one shape, got {tuple(output.shape)} and {tuple(target.shape)}"
        )
    weights = torch.ones_like(output[:, :1]) if focus is None else focus
    errors = pyramid(wide(output) - wide(target), scales)  # halving is linear
    terms = []
    for error, w in zip(errors, pyramid(wide(weights), scales), strict=True):
        terms.append(_mean(error, w))
        terms.append(_mean(error.diff(dim=3), w[..., 1:]) + _mean(error.diff(dim=2), w[..., 1:, :]))
    return torch.stack(terms).sum() / scales


def focus_on(points: Tensor, weights: Tensor, size: int) -> Tensor:
    """Weights of pixels: 1 + Σ over points of weight × a Gaussian around it, (B, 1, size, size).

    Args:
        points: (B, K, 2), x and y from edge to edge of the picture in [-1, 1].
        weights: (K,).
        size: pixels across.
    """
    centres = (2 * torch.arange(size, device=points.device, dtype=points.dtype) + 1) / size - 1
    x, y = ((centres - points[..., i : i + 1]).square() / (-2 * SPREAD**2) for i in (0, 1))  # (B, K, size)
    return 1 + torch.einsum("k,bkh,bkw->bhw", weights, y.exp(), x.exp()).unsqueeze(1)


def _mean(error: Tensor, weights: Tensor) -> Tensor:
    return (error.abs() * weights).mean() / weights.mean()
