# SPDX-License-Identifier: Apache-2.0
"""What the operators that read feature volumes have in common, in stock PyTorch."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def empty_volume(like: Tensor, shape: Sequence[int], channels_last: bool) -> Tensor:
    """An uninitialised (B, C, D, H, W)."""
    order = torch.channels_last_3d if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=order)


def in_format(volume: Tensor, channels_last: bool) -> Tensor:
    return volume.contiguous(
        memory_format=torch.channels_last_3d if channels_last else torch.contiguous_format
    )


def finite_points(grid: Tensor) -> tuple[Tensor, Tensor]:
    """`grid` with its NaN and infinite points at 0, and where (B, 1, D', H', W') it had none."""
    finite = grid.isfinite().all(-1)
    return grid.where(finite.unsqueeze(-1), 0), finite.unsqueeze(1)


def add_in_order(grad_out: Tensor, features: Tensor, grid: Tensor, align_corners: bool) -> Tensor:
    """The gradient of `features`, each voxel's sum added in an order that is the same at every run.

    A kernel's atomics add in the order in which threads happen to arrive. `index_add_` sorts first, where
    determinism is asked of PyTorch.

    Args:
        grad_out: (B, C, D', H', W').
        features: (B or 1, C, D, H, W), of which only size and dtype count.
        grid: (B, D', H', W', 3).

    Returns:
        As `features`, in the dtype of `grid`.
    """
    samples, C, D, H, W = features.shape
    points, finite = finite_points(grid)
    size = torch.tensor((W, H, D), dtype=grid.dtype, device=grid.device)
    scale = (size - 1 if align_corners else size) / 2
    voxel = (points + 1) * scale - (0.0 if align_corners else 0.5)
    voxel = voxel.clamp(min=torch.full_like(size, -2), max=size + 1)  # far outside is outside
    low = voxel.floor()
    past = voxel - low  # (B, D', H', W', 3)
    upstream = grad_out.to(grid.dtype).where(finite, 0).movedim(1, -1).reshape(-1, C)
    first = torch.arange(len(grid), device=grid.device).view(-1, 1, 1, 1) * (D * H * W * (samples > 1))
    total = upstream.new_zeros(samples * D * H * W, C)
    for corner in itertools.product((0, 1), repeat=3):
        side = torch.tensor(corner, device=grid.device)
        at = low.long() + side
        x, y, z = at.unbind(-1)
        inside = ((at >= 0) & (at < size.long())).all(-1)
        weight = torch.where(side == 1, past, 1 - past).prod(-1)
        index = torch.where(inside, first + (z * H + y) * W + x, 0).flatten()
        share = (upstream * weight.view(-1, 1)).where(inside.view(-1, 1), 0)
        total.index_add_(0, index, share)
    return total.unflatten(0, (samples, D, H, W)).movedim(-1, 1).contiguous()
