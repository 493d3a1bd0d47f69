# SPDX-License-Identifier: Apache-2.0
"""A 3×3 convolution of a picture enlarged twice, without the large picture.

Nearest doubling repeats every pixel, so an output pixel reads only 2×2 different ones, with sums of the nine
weights; which 2×2 and which sums depends on its phase, even or odd in y and in x. One convolution of 2×2 taps
on the small picture computes all four phases, with 4/9 of the multiplications.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv3d

from fv2v.networks.blocks import UpBlock2d, UpBlock3d

# (phase, tap, weight): an even row reads the row above with the first weight and its own with the other two,
# an odd row its own with the first two and the row below with the last
SUMS = ((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1))


def double_in_phases(model: nn.Module) -> None:
    """In place: every block that enlarges and convolves; its norm has to be folded already."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, UpBlock2d | UpBlock3d):
                setattr(module, name, nn.Sequential(DoublingConv(child.conv), nn.ReLU(inplace=True)))


class DoublingConv(nn.Module):
    """(B, C, [D,] H, W) -> (B, C', [D,] 2H, 2W): `conv`, 3 wide and padded, of the input enlarged twice."""

    def __init__(self, conv: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.weight = nn.Parameter(phase_weight(conv.weight), requires_grad=False)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.repeat(4), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        conv = conv3d if x.dim() == 5 else conv2d
        padding = (*(k // 2 for k in self.weight.shape[2:-2]), 1, 1)
        return interleave(conv(x, self.weight, self.bias, padding=padding), x)


def phase_weight(weight: Tensor) -> Tensor:
    """(N, C, [k,] 3, 3) -> (4 N, C, [k,] 2, 2): even and odd phases in y, each even and odd in x."""
    sums = weight.new_tensor(SUMS)
    return torch.einsum("pti,quj,oc...ij->pqoc...tu", sums, sums, weight).flatten(0, 2).contiguous()


def interleave(phases: Tensor, x: Tensor) -> Tensor:
    """(B, 4 N, [D,] H+1, W+1), the phases computed from x (…, H, W) -> (B, N, [D,] 2H, 2W), in their layout.

    Phases have one row and column more than x: an even one starts at the first, an odd one at the second.
    """
    last = {4: torch.channels_last, 5: torch.channels_last_3d}[x.dim()]
    order = last if phases.is_contiguous(memory_format=last) else torch.contiguous_format
    phases = phases.unflatten(1, (2, 2, -1))
    H, W = x.shape[-2:]
    shape = (len(x), *phases.shape[3:-2], 2 * H, 2 * W)
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=order)
    for p in (0, 1):
        for q in (0, 1):
            out[..., p::2, q::2] = phases[:, p, q, ..., p : p + H, q : q + W]
    return out
