# SPDX-License-Identifier: Apache-2.0
"""Convolutions that fold a volume's depth into its channels, as convolutions as deep as the volume.

The fold would be a copy of channels-last memory. G projects the warped volume so; M's occlusion has a single
output channel of 7×7×C·D weights, and is a convolution to its 49 taps, which are added up after.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import fold, pad

from fv2v.engine.passes.fused_convolution import FusedConv
from fv2v.engine.passes.layers import conv_of, frozen
from fv2v.engine.passes.taps_in_channels import MULTIPLE


class DepthConv(nn.Module):
    """A 2D convolution that folds a volume's depth into its channels, as one that is as deep as the volume.

    leaky_relu(conv(x)): (B, C, D, H, W) -> (B, C', H, W).
    """

    def __init__(self, block: Any, depth: int) -> None:
        super().__init__()
        weight = block.conv.weight.unflatten(1, (-1, depth))
        self.conv = _deep(weight, block.conv.bias, block.conv.padding)
        self.conv.negative_slope = getattr(block.activation, "negative_slope", 0.0)

    def forward(self, volume: Tensor) -> Tensor:
        return self.conv(volume).squeeze(2)


class FoldedTaps(nn.Module):
    """`DepthConv2d` with one output channel: a convolution computes all its taps, `fold` adds them up.

    A GPU would compute one output channel with a fraction of its multiprocessors, in tiles made for many.
    """

    def __init__(self, conv: Any, depth: int) -> None:
        super().__init__()
        self.place = {"kernel_size": conv.kernel_size, "padding": conv.padding}
        # `fold` adds tap (i, j) to the pixel (i, j) further on: the kernel is mirrored
        taps = conv.weight[0].flatten(1).flip(1).T.unflatten(1, (-1, depth))[..., None, None]
        self.taps = len(taps)
        self.conv = _deep(pad(taps, (0, 0) * 4 + (0, -self.taps % MULTIPLE)), None, (0, 0))
        bias = taps.new_zeros(self.taps, 1, 1)
        bias[self.taps // 2] = conv.bias  # of the middle tap, which every pixel has
        self.bias = frozen(bias)

    def forward(self, volume: Tensor) -> Tensor:
        taps = self.conv(volume).squeeze(2)[:, : self.taps]
        # `fold` reads contiguous memory, and would copy any other: the sum is that copy
        summed = torch.empty(taps.shape, dtype=taps.dtype, device=taps.device)
        torch.add(taps, self.bias, out=summed)
        return fold(summed.flatten(2), taps.shape[2:], **self.place)


def _deep(weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> FusedConv:
    """A convolution whose kernel is as deep as the volume: (O, C, D, k, k)."""
    return FusedConv(conv_of(nn.Conv3d, weight, bias, padding=(0, *padding)))
