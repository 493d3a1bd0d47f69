# SPDX-License-Identifier: Apache-2.0
"""The last pass on a CPU: convolutions with the operations after them fused, channels-last throughout."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import fold

from fv2v.engine.passes.convolution import DirectConv, convolution
from fv2v.engine.passes.fold_norms import children_of
from fv2v.networks import CanonicalKeypoints, DenseMotion, blocks
from fv2v.networks.detail import DetailJoin
from fv2v.networks.hourglass import Hourglass3d
from fv2v.networks.trunks import Stage

Make = Callable[..., nn.Module]


def settle_on_cpu(model: nn.Module) -> None:
    """In place: networks whose norms are folded, in float32 or float64, the dtype that they will run in.

    First Order Motion's L stays as it is: its softmax sharpens what convolutions round, by either of the ways
    here to 4 times as much as PyTorch's own, which take no longer for what is so small.
    """
    if isinstance(model, CanonicalKeypoints) and model.flat:
        return
    if isinstance(model, DenseMotion):
        model.memory_format = torch.channels_last_3d
    if isinstance(model, Hourglass3d | Stage):
        _join_activation(model)
    for name in children_of(model):
        child = model.get_submodule(name)
        make = REPLACED_BY.get(type(child))
        if make:
            setattr(model, name, make(child))
        else:
            settle_on_cpu(child)


class Residual(nn.Module):
    """x + conv2(relu(conv1(relu(norm1 x)))), by convolutions that `make` makes."""

    def __init__(self, block: Any, make: Make = convolution) -> None:
        super().__init__()
        self.norm1 = block.norm1
        self.conv1 = make(block.conv1, negative_slope=0.0)
        self.conv2 = make(block.conv2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(self.norm1(x).relu_()), x)


class Bottleneck(nn.Module):
    """`ResBottleneck`, with its sum and activations inside its convolutions.

    On a CPU its 3×3 convolution has a small picture and many weights: Winograd's transform of them would take
    longer than the convolution.
    """

    def __init__(self, block: Any, make: Make = convolution, make_inner: Make = DirectConv) -> None:
        super().__init__()
        self.conv1 = make(block.conv1, negative_slope=0.0)
        self.conv2 = make_inner(block.conv2, negative_slope=0.0)
        self.conv3 = make(block.conv3, negative_slope=0.0)
        self.skip = nn.Identity() if isinstance(block.skip, nn.Identity) else make(block.skip[0])

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.conv2(self.conv1(x)), self.skip(x))


class Join(nn.Module):
    """`DetailJoin` with its sum and activation inside its convolutions."""

    def __init__(self, join: Any, make: Make = convolution) -> None:
        super().__init__()
        self.conv1, self.conv2 = make(join.conv1, negative_slope=0.0), make(join.conv2)

    def forward(self, x: Tensor, detail: Sequence[Tensor]) -> Tensor:
        return self.conv2(self.conv1(torch.cat((x, *detail), dim=1)), x)


class NarrowConv(nn.Module):
    """`DepthConv2d` with one output channel: a matrix product computes all its taps, `fold` adds them up.

    A convolution with one output channel would leave all but one of the processor's SIMD lanes idle.
    """

    def __init__(self, conv: Any) -> None:
        super().__init__()
        self.place = {"kernel_size": conv.kernel_size, "padding": conv.padding}
        # `fold` adds tap (i, j) to the pixel (i, j) further on: the kernel is mirrored
        self.weight = nn.Parameter(conv.weight[0].flatten(1).flip(1), requires_grad=False)  # (C D, taps)
        self.bias = conv.bias

    def forward(self, volume: Tensor) -> Tensor:
        B, C, D, H, W = volume.shape
        taps = self.weight.unflatten(0, (C, D))
        products = volume.new_zeros(B, H * W, taps.shape[-1])
        for z in range(D):
            products = torch.baddbmm(products, volume[:, :, z].flatten(2).mT, taps[:, z].expand(B, -1, -1))
        return fold(products.mT, (H, W), **self.place) + self.bias


def _join_activation(module: Any) -> None:
    if isinstance(module.conv, nn.Identity):
        return
    module.conv, module.activation = convolution(module.conv, negative_slope=0.0), nn.Identity()


def _same(block: blocks.SameBlock2d) -> nn.Module:
    return convolution(block.conv, negative_slope=getattr(block.activation, "negative_slope", 0.0))


def _pooled(block: Any) -> nn.Module:
    return convolution(block.conv, pooling=True, negative_slope=0.0)


def _doubled(block: Any) -> nn.Module:
    return convolution(block.conv, doubling=True, negative_slope=0.0)


def _plain(conv: nn.Conv2d | nn.Conv3d) -> nn.Module:
    return conv if conv.groups > 1 else convolution(conv)


REPLACED_BY: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    blocks.SameBlock2d: _same,
    blocks.DownBlock2d: _pooled,
    blocks.DownBlock3d: _pooled,
    blocks.UpBlock2d: _doubled,
    blocks.UpBlock3d: _doubled,
    blocks.ResBlock2d: Residual,
    blocks.ResBlock3d: Residual,
    blocks.ResBottleneck: Bottleneck,
    blocks.DepthConv2d: NarrowConv,
    DetailJoin: Join,
    nn.Conv2d: _plain,
    nn.Conv3d: _plain,
}
