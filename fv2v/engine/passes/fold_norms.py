# SPDX-License-Identifier: Apache-2.0
"""Batch norms, whose statistics are fixed, and spectral norms, folded into the weights of convolutions."""

from itertools import pairwise

import torch
from torch import nn

from fv2v.engine.passes.layers import conv_of
from fv2v.networks import DenseMotion, blocks
from fv2v.networks.hourglass import Hourglass3d
from fv2v.networks.spade import SpectralConv2d
from fv2v.networks.trunks import Stage

BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
SOME = 64  # channels whose weights are in float64 at a time
# by class: each convolution, and the norm that its output goes through next
FOLLOWS: dict[type[nn.Module], tuple[tuple[str, str], ...]] = {
    blocks.SameBlock2d: (("conv", "norm"),),
    blocks.DownBlock2d: (("conv", "norm"),),
    blocks.DownBlock3d: (("conv", "norm"),),
    blocks.UpBlock2d: (("conv", "norm"),),
    blocks.UpBlock3d: (("conv", "norm"),),
    blocks.ResBlock2d: (("conv1", "norm2"),),  # no convolution comes before norm1
    blocks.ResBlock3d: (("conv1", "norm2"),),
    blocks.ResBottleneck: (("conv1", "norm1"), ("conv2", "norm2"), ("conv3", "norm3")),
    Stage: (("conv", "norm"),),
    Hourglass3d: (("conv", "norm"),),
    DenseMotion: (("compressor", "norm"),),
}


def fold_norms(model: nn.Module) -> None:
    """In place: batch norms that follow a convolution become identities, spectral norms plain weights.

    Module by module: the weights of one that was replaced are freed before the next is made.
    """
    pairs = FOLLOWS.get(type(model), ())
    if isinstance(model, nn.Sequential):
        pairs = tuple((str(i), str(j)) for i, j in pairwise(range(len(model))))
    for conv, norm in pairs:
        _fold(model, conv, norm)
    for name in children_of(model):
        child = model.get_submodule(name)
        if isinstance(child, SpectralConv2d):
            setattr(model, name, _divided(child))
        else:
            fold_norms(child)


def children_of(module: nn.Module) -> list[str]:
    """Names of the children. `named_children` would keep those alive that are replaced meanwhile."""
    return [name for name, _ in module.named_children()]


def _fold(module: nn.Module, conv: str, norm: str) -> None:
    before, after = getattr(module, conv), getattr(module, norm)
    if isinstance(before, CONVOLUTIONS) and isinstance(after, BATCH_NORMS):
        setattr(module, conv, _folded(before, after))
        setattr(module, norm, nn.Identity())


@torch.no_grad()
def _folded(conv: nn.Conv2d | nn.Conv3d, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> nn.Module:
    """The convolution, its weights times the norm's factors: in float64, so that each is rounded once."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = -norm.running_mean.double() if conv.bias is None else conv.bias.double() - norm.running_mean
    bias = (bias * factor + norm.bias).to(conv.weight.dtype)
    conv.bias = nn.Parameter(bias, requires_grad=False)
    conv.weight.requires_grad_(False)
    for rows, by in zip(conv.weight.split(SOME), factor.split(SOME), strict=True):
        rows.copy_(rows.double() * by.view(-1, *(1 for _ in rows.shape[1:])))
    return conv


def _divided(conv: SpectralConv2d) -> nn.Conv2d:
    """A plain convolution with the weight W / σ."""
    return conv_of(nn.Conv2d, conv.quotient(), conv.bias, padding=conv.padding)
