# SPDX-License-Identifier: Apache-2.0
"""Convolutions of a GPU on channels-last memory, with bias, sum and ReLU in cuDNN's own call.

PyTorch adds a convolution's bias, an addend and a ReLU in a kernel each, which read and write its whole
output; and cuDNN, given half precision that is not channels-last, transforms it at every call.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv3d, leaky_relu

from fv2v.engine.passes.layers import Conv, linear_of

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by dimensions

_refused: set[tuple[object, ...]] = set()  # what cuDNN has no fused kernel for


@torch.library.custom_op("fv2v::convolution_relu", mutates_args=())
def convolution_relu(
    x: Tensor, weight: Tensor, bias: Tensor, addend: Tensor | None, stride: list[int], padding: list[int]
) -> Tensor:
    """relu(conv(x) + bias + addend): on a GPU one call of cuDNN where it takes it, elsewhere PyTorch's."""
    kind = (x.shape, weight.shape, tuple(stride), x.dtype, addend is None)
    if x.is_cuda and torch.backends.cudnn.is_acceptable(x) and kind not in _refused:
        ones = [1 for _ in stride]
        try:
            if addend is None:
                return torch.cudnn_convolution_relu(x, weight, bias, stride, padding, ones, 1)
            return torch.cudnn_convolution_add_relu(x, weight, addend, 1.0, bias, stride, padding, ones, 1)
        except RuntimeError:  # in the first run of a frame: before any capture
            _refused.add(kind)
    y = (conv3d if x.dim() == 5 else conv2d)(x, weight, bias, stride, padding)
    return (y if addend is None else y + addend).relu_()


@convolution_relu.register_fake
def _(
    x: Tensor, weight: Tensor, bias: Tensor, addend: Tensor | None, stride: list[int], padding: list[int]
) -> Tensor:
    y = (conv3d if x.dim() == 5 else conv2d)(x, weight, bias, stride, padding)
    return torch.empty(y.shape, dtype=x.dtype, device=x.device, memory_format=LAST[x.dim()])


class FusedConv(nn.Module):
    """leaky_relu(conv(x) + addend); a slope of 0 goes into the convolution's call, one of 1 is none."""

    def __init__(self, conv: Conv, *, negative_slope: float = 1.0) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.stride, self.padding = list(conv.stride), [int(size) for size in conv.padding]
        weight = conv.weight.detach()
        self.weight = nn.Parameter(weight.contiguous(memory_format=LAST[weight.dim()]), requires_grad=False)
        bias = weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        self.has_bias = conv.bias is not None
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        if self.negative_slope == 0:
            return convolution_relu(x, self.weight, self.bias, addend, self.stride, self.padding)
        convolve = conv3d if x.dim() == 5 else conv2d
        y = convolve(x, self.weight, self.bias if self.has_bias else None, self.stride, self.padding)
        if addend is not None:
            y = y + addend
        return y if self.negative_slope == 1 else leaky_relu(y, self.negative_slope)


class PixelProduct(nn.Module):
    """A 1×1 convolution of a channels-last picture as a matrix product, whose call takes the bias."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        self.linear = linear_of(conv.weight.flatten(1), conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
