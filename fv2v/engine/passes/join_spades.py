# SPDX-License-Identifier: Apache-2.0
"""SPADE blocks with fewer convolutions: those that read the same picture are joined into one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fv2v.engine.passes.layers import conv_of
from fv2v.networks.blocks import SameBlock2d, UpBlock2d
from fv2v.networks.decoders import SpadeDecoder
from fv2v_kernels import modulate


def join_spades(model: nn.Module) -> None:
    """In place: every SPADE block of a decoder; spectral norms have to be folded already."""
    for module in model.modules():
        if isinstance(module, SpadeDecoder):
            module.middle = nn.ModuleList(JoinedSpadeBlock(block, 0) for block in module.middle)
            module.up = nn.ModuleList(JoinedSpadeBlock(block, i) for i, block in enumerate(module.up, 1))


class JoinedSpadeBlock(nn.Module):
    """A `SpadeBlock` that doubles its guide, the projected volume, `doublings` times itself.

    The shared convolutions of its SPADEs are one, computed from the guide before its last doubling; the scale
    and the shift of each SPADE are one more.
    """

    def __init__(self, block: Any, doublings: int) -> None:
        super().__init__()
        spades = [spade for spade in (block.spade_0, block.spade_1, block.spade_s) if spade is not None]
        shared = _joined([spade.shared for spade in spades])
        self.doublings = doublings
        block_of: Any = UpBlock2d if doublings else SameBlock2d
        joined = block_of(1, 1)
        joined.conv, joined.norm = shared, nn.Identity()
        self.shared: nn.Module = nn.Sequential(joined, Chunks(len(spades)))
        self.modulations = nn.ModuleList(_joined([spade.gamma, spade.beta]) for spade in spades)
        self.conv_0, self.conv_1, self.conv_s = block.conv_0, block.conv_1, block.conv_s

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        if self.doublings > 1:
            guide = interpolate(guide, scale_factor=2 ** (self.doublings - 1), mode="nearest")
        shared = self.shared(guide)
        y = self.conv_0(self._modulated(0, x, shared, negative_slope=0.2))
        y = self.conv_1(self._modulated(1, y, shared, negative_slope=0.2))
        if self.conv_s is not None:
            x = self.conv_s(self._modulated(2, x, shared))
        return x + y

    def _modulated(self, i: int, x: Tensor, shared: Sequence[Tensor], negative_slope: float = 1.0) -> Tensor:
        """x modulated by SPADE i. Its scale and shift, each as large as x, are computed only when needed."""
        return modulate(x, *self.modulations[i](shared[i]).chunk(2, dim=1), negative_slope=negative_slope)


class Chunks(nn.Module):
    """(B, count C, H, W) -> (B, C, H, W), `count` times."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.chunk(self.count, dim=1)


def _joined(convs: Sequence[nn.Conv2d]) -> nn.Conv2d:
    """One 3×3 convolution whose output channels are those of all `convs`, which read the same input."""
    weight = torch.cat([conv.weight for conv in convs])
    biases = [conv.bias for conv in convs if conv.bias is not None]
    return conv_of(nn.Conv2d, weight, torch.cat(biases), padding=1)
