# SPDX-License-Identifier: Apache-2.0
"""How far two tensors are from one another."""

import torch
from torch import Tensor


def l1(a: Tensor, b: Tensor) -> Tensor:
    """The mean of abs(a - b), a scalar in float32 at least. ValueError for shapes that differ."""
    if a.shape != b.shape:
        raise ValueError(f"expected two tensors of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    return (wide(a) - wide(b)).abs().mean()


def wide(x: Tensor) -> Tensor:
    """In float32, or float64 where x is: the dtype in which losses are summed."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
