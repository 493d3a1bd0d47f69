# SPDX-License-Identifier: Apache-2.0
"""Blocks of a GPU that halve and double pictures and volumes, on channels-last memory."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from fv2v.engine.passes.double_in_phases import phase_weight
from fv2v.engine.passes.fused_convolution import LAST, FusedConv, convolution_relu
from fv2v.engine.passes.layers import frozen


class Phases(nn.Module):
    """(B, C, [D,] H, W) -> (B, C', [D,] 2H, 2W): `conv` of the input enlarged twice, and ReLU.

    With `beside` it (B, C", [D,] 2H, 2W), as further channels of the result, which is written once.
    """

    def __init__(self, conv: Any) -> None:
        super().__init__()
        weight = phase_weight(conv.weight)
        self.weight = nn.Parameter(weight.contiguous(memory_format=LAST[weight.dim()]), requires_grad=False)
        self.bias = nn.Parameter(conv.bias.repeat(4), requires_grad=False)

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        ones = [1] * (x.dim() - 2)
        padding = [*(k // 2 for k in self.weight.shape[2:-2]), 1, 1]
        return interleaved(convolution_relu(x, self.weight, self.bias, None, ones, padding), x, beside)


class Coarsened(nn.Module):
    """`Phases` by `conv`, of a volume that is pooled first: one matrix product does that and the enlarging.

    Where the pooled picture is hardly one, phases save no work.
    """

    def __init__(self, conv: nn.Conv3d, side: int) -> None:
        super().__init__()
        self.conv = FusedConv(conv, negative_slope=0.0)
        rows = torch.arange(side, device=conv.weight.device) // 2
        block = (side * rows[:, None] + rows).flatten()  # that each pixel of the picture belongs to
        self.means = frozen((block[:, None] == block).to(conv.weight.dtype) / 4)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """x (B, C, D, H, W), H and W as they are before pooling."""
        B, C, D, H, W = x.shape
        pixels = x.movedim(1, -1).reshape(B * D, H * W, C)
        means = torch.bmm(self.means.expand(B * D, -1, -1), pixels).view(B, D, H, W, C)
        return torch.cat([self.conv(means.movedim(-1, 1)), beside], dim=1)


class Hourglass(nn.Module):
    """`Hourglass3d`, whose ascending blocks write beside what the descending ones read."""

    def __init__(self, hourglass: Any) -> None:
        super().__init__()
        self.down, self.up = hourglass.down, hourglass.up
        self.conv: nn.Module = nn.Identity()
        if not isinstance(hourglass.conv, nn.Identity):
            self.conv = FusedConv(hourglass.conv, negative_slope=0.0)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(x)
        for block in self.up:
            x = block(x, skips.pop())
        return self.conv(x)


class Pooled(nn.Module):
    """`conv`, then the mean over 2×2."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.conv = FusedConv(block.conv, negative_slope=0.0)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if y.dim() == 4:
            return avg_pool2d(y, 2)
        # the pictures of a volume beside each other: of channels-last memory without a copy
        return avg_pool2d(y.movedim(2, 1).flatten(0, 1), 2).unflatten(0, (len(y), -1)).movedim(1, 2)


class Shuffle(nn.Module):
    """A pixel shuffle of n: (B, n² C, H, W) -> (B, C, nH, nW), by one copy, to channels-last."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, x: Tensor) -> Tensor:
        n, (B, channels, H, W) = self.n, x.shape
        shape = B, channels // n**2, n * H, n * W
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        pixels = x.unflatten(1, (-1, n, n)).permute(0, 1, 4, 2, 5, 3)  # (B, C, H, n, W, n)
        out.unflatten(-1, (W, n)).unflatten(-3, (H, n)).copy_(pixels)
        return out


def interleaved(phases: Tensor, x: Tensor, beside: Tensor | None = None) -> Tensor:
    """As `double_in_phases.interleave`, by one copy, to channels-last; further channels by one more."""
    B, H, W = len(x), *x.shape[-2:]
    phases = phases.unflatten(1, (2, 2, -1))
    first, rows, columns, *others, row, column = phases.stride()
    # an odd phase is a row or a column further on
    shifted = phases.as_strided(
        (*phases.shape[:-2], H, W), (first, rows + row, columns + column, *others, row, column)
    )
    channels, *depth = phases.shape[3:-2]
    more = 0 if beside is None else beside.shape[1]
    shape = (B, channels + more, *depth, 2 * H, 2 * W)
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=LAST[x.dim()])
    into = out[:, :channels].unflatten(-1, (W, 2)).unflatten(-3, (H, 2))
    into.copy_(shifted.movedim((1, 2), (-3, -1)))
    if beside is not None:
        out[:, channels:].copy_(beside)
    return out
