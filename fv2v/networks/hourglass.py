# SPDX-License-Identifier: Apache-2.0
"""The 3D hourglass inside M, and First Order Motion's L: down, up, and what was there before beside it."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fv2v.networks.blocks import DownBlock3d, UpBlock3d, conv3d


class Hourglass3d(nn.Module):
    """(B, C, D, H, W) -> (B, out_width + C, D, H, W); the input itself is the last skip.

    H and W must divide by 2 as many times as there are widths. For `flat` volumes, of depth 1, kernels are
    one deep. Unless `joined`, no convolution follows the last skip.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        out_width: int,
        *,
        flat: bool = False,
        joined: bool = True,
    ) -> None:
        super().__init__()
        self.down = nn.ModuleList(DownBlock3d(a, b, flat=flat) for a, b in pairwise((in_channels, *widths)))
        narrower = (*reversed(widths[:-1]), out_width)
        entering = (widths[-1], *(2 * width for width in narrower[:-1]))  # skips double them
        self.up = nn.ModuleList(UpBlock3d(a, b, flat=flat) for a, b in zip(entering, narrower, strict=True))
        self.out_channels = out_width + in_channels
        self.conv: nn.Module = nn.Identity()
        self.norm: nn.Module = nn.Identity()
        self.activation: nn.Module = nn.Identity()
        if joined:
            self.conv = conv3d(self.out_channels, self.out_channels, 3, flat=flat)
            self.norm = nn.BatchNorm3d(self.out_channels)
            self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(x)
        for block in self.up:
            x = torch.cat([block(x), skips.pop()], dim=1)
        return self.activation(self.norm(self.conv(x)))
