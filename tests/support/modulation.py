# SPDX-License-Identifier: Apache-2.0
"""Pictures and maps for modulate, off the leaky ReLU's kink."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

CLEAR = 0.05  # of the kink, in what the leaky ReLU reads: more than roundings move it, in any dtype


def make_modulation(
    rng: Generator, dtype: torch.dtype, size: Sequence[int], offset: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """x, about `offset`, gamma and beta (B, C, H, W).

    Where y = (1 + gamma) n + beta comes near 0, so that a rounding would decide its side, beta moves it away:
    by more than bfloat16 can lose.
    """
    x, gamma, beta = (torch.randn(*size, generator=rng) for _ in range(3))
    x, gamma = (x + offset).to(dtype), (0.5 * gamma).to(dtype)
    y = before_activation(x, gamma, beta.to(dtype), eps)
    beta = torch.where(y.abs() < CLEAR, beta + 3 * CLEAR * (1 - 2 * (y < 0).double()), beta.double()).to(
        dtype
    )
    return x, gamma, beta


def before_activation(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    """y, in float64."""
    x, gamma, beta = x.double(), gamma.double(), beta.double()
    centred = x - x.mean((2, 3), keepdim=True)
    scale = (centred.square().mean((2, 3), keepdim=True) + eps).rsqrt()
    return (1 + gamma) * centred * scale + beta
