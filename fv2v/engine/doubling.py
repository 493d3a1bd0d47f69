"""A 3×3 convolution of a picture enlarged twice, without the large picture.

Nearest doubling repeats every pixel, so each output pixel sees only 2×2 different ones, with sums of the nine
weights; which 2×2 and which sums depends on its phase, even or odd in y and in x. One convolution of 2×2 taps
on the small picture computes all four phases, with 4/9 of the multiplications.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv3d

from fv2v.networks.blocks import UpBlock2d, UpBlock3d

# (phase, tap, weight): an even row sees the row above with the first weight and its own with the two others,
# an odd one its own with the first two and the row below with the last
SUMS = ((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1))


def double_in_phases(model: nn.Module) -> None:
    """In place: every block that enlarges and convolves, its norm folded already."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, UpBlock2d | UpBlock3d):
                setattr(module, name, nn.Sequential(DoublingConv(child.conv), nn.ReLU(inplace=True)))


class DoublingConv(nn.Module):
    """(B, C, [D,] H, W) -> (B, C', [D,] 2H, 2W): `conv`, 3 wide and padded, of the input enlarged twice."""

    def __init__(self, conv: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        weight = conv.weight
        sums = weight.new_tensor(SUMS)
        phases = torch.einsum("pti,quj,oc...ij->pqoc...tu", sums, sums, weight)
        self.weight = nn.Parameter(phases.flatten(0, 2).contiguous(), requires_grad=False)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.repeat(4), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        # one row and column more than x has: an even phase reads from the first on, an odd from the second
        conv, depth = (conv3d, (1,)) if x.dim() == 5 else (conv2d, ())
        phases = conv(x, self.weight, self.bias, padding=(*depth, 1, 1)).unflatten(1, (2, 2, -1))
        H, W = x.shape[-2:]
        out = x.new_empty((len(x), *phases.shape[3:-2], 2 * H, 2 * W))
        for p in (0, 1):
            for q in (0, 1):
                out[..., p::2, q::2] = phases[:, p, q, ..., p : p + H, q : q + W]
        return out
