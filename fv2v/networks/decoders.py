# SPDX-License-Identifier: Apache-2.0
"""The end of G: from the occluded, warped features to a picture, before the sigmoid."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from fv2v.config import ModelConfig
from fv2v.networks.blocks import ResBlock2d, UpBlock2d
from fv2v.networks.detail import DetailJoins
from fv2v.networks.spade import SpadeBlock


def decoder(config: ModelConfig) -> nn.Module:
    """The decoder that `config` names: (B, width, H, W), and detail that was moved -> (B, 3, nH, nW)."""
    return {"residual": ResidualDecoder, "spade": SpadeDecoder}[config.generator.decoder](config)


class ResidualDecoder(nn.Module):
    """The paper's: residual blocks, upsampling blocks, a convolution."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths, blocks = config.generator.widths, config.generator.residual_blocks
        self.residual = nn.Sequential(*(ResBlock2d(widths[0]) for _ in range(blocks)))
        self.up = nn.Sequential(*(UpBlock2d(a, b) for a, b in pairwise(widths)))
        self.final = nn.Conv2d(widths[-1], 3, 7, padding=3)
        self.detail = DetailJoins(config)

    def forward(self, x: Tensor, detail: Sequence[Tensor] = ()) -> Tensor:
        x = self.residual(x)
        for stage, block in enumerate(self.up):
            x = self.detail(block(x), stage, detail)
        return self.final(x)


class SpadeDecoder(nn.Module):
    """Residual blocks that the features modulate (Park et al. 2019), at one size, then doubling; a head.

    With a pixel shuffle of n the head paints n² pixels for each of the last block's.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        g = config.generator
        widths, n = g.widths, g.pixel_shuffle
        self.lift = nn.Conv2d(g.width, widths[0], 3, padding=1)
        self.middle = nn.ModuleList(SpadeBlock(widths[0], widths[0], g) for _ in range(g.residual_blocks))
        self.up = nn.ModuleList(SpadeBlock(a, b, g) for a, b in pairwise(widths))
        self.final = nn.Conv2d(widths[-1], 3 * n * n, 3, padding=1)
        self.shuffle = nn.PixelShuffle(n)
        self.detail = DetailJoins(config)

    def forward(self, x: Tensor, detail: Sequence[Tensor] = ()) -> Tensor:
        guide, x = x, self.lift(x)
        for block in self.middle:
            x = block(x, guide)
        for stage, block in enumerate(self.up):
            x = self.detail(block(interpolate(x, scale_factor=2, mode="nearest"), guide), stage, detail)
        return self.shuffle(self.final(leaky_relu(x, 0.2)))
