# SPDX-License-Identifier: Apache-2.0
"""The fastest convolutions of a CPU: what follows one is computed while its output is in the caches."""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv3d, interpolate, leaky_relu

from fv2v_kernels import outputs_innermost, winograd_conv

# of the weights of a tap in depth: above, Winograd's transform of them costs more than it saves
MOST_BYTES = 13 << 20
FEWEST_READ = 16  # input channels: below, the transforms cost more than they save
FEWEST_MADE = {3: 8, 7: 3}  # output channels of a kernel: below, too many of the 16 lanes for them are idle

Conv = nn.Conv2d | nn.Conv3d


def convolution(
    conv: Conv, *, doubling: bool = False, pooling: bool = False, negative_slope: float = 1.0
) -> "WinogradConv | DirectConv":
    """`conv` of its input, enlarged twice if `doubling`; leaky ReLU; a mean over 2×2 if `pooling`."""
    kind = WinogradConv if _suits_winograd(conv) else DirectConv
    return kind(conv, doubling=doubling, pooling=pooling, negative_slope=negative_slope)


class WinogradConv(nn.Module):
    """By `fv2v_kernels.winograd_conv`: 3×3 and 7×7 convolutions with many channels. Channels-last output."""

    def __init__(self, conv: Conv, *, doubling: bool, pooling: bool, negative_slope: float) -> None:
        super().__init__()
        self.doubling, self.pooling, self.negative_slope = doubling, pooling, negative_slope
        self.weight = nn.Parameter(outputs_innermost(conv.weight.detach()), requires_grad=False)
        self.bias = nn.Parameter(_bias(conv), requires_grad=False)

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        return winograd_conv(
            x,
            self.weight,
            self.bias,
            addend,
            doubling=self.doubling,
            pooling=self.pooling,
            negative_slope=self.negative_slope,
        )


class DirectConv(nn.Module):
    """By oneDNN: weights reordered once instead of at every call, sum and activation in the same call.

    Without oneDNN, and in float64, by PyTorch's convolution.
    """

    def __init__(
        self, conv: Conv, *, doubling: bool = False, pooling: bool = False, negative_slope: float = 1.0
    ) -> None:
        super().__init__()
        self.doubling, self.pooling, self.negative_slope = doubling, pooling, negative_slope
        padding = [int(size) for size in conv.padding]
        self.place = padding, list(conv.stride), [1 for _ in padding], conv.groups
        self.bias = nn.Parameter(_bias(conv), requires_grad=False)
        self.weight = conv.weight.detach()
        self.orders = self.weight.dtype == torch.float32 and torch.backends.mkldnn.is_available()
        self.ordered = False
        if self.orders:
            self.weight = self.weight.to_mkldnn()

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        if self.doubling:
            x = interpolate(x, scale_factor=(2, 2) if x.dim() == 4 else (1, 2, 2), mode="nearest")
        y = self._by_onednn(x, addend) if self.orders else self._by_torch(x, addend)
        if not self.pooling:
            return y
        return avg_pool2d(y, 2) if y.dim() == 4 else avg_pool2d(y.flatten(1, 2), 2).unflatten(1, y.shape[1:3])

    def _by_onednn(self, x: Tensor, addend: Tensor | None) -> Tensor:
        if not self.ordered:  # the best order depends on the input's size: another one is ten times as slow
            self.weight, self.ordered = _ordered(self.weight, self.place, x), True
        activation = {1.0: "none", 0.0: "relu"}.get(self.negative_slope, "leaky_relu")
        slopes = [self.negative_slope] if activation == "leaky_relu" else []
        convolve = torch.ops.mkldnn._convolution_pointwise
        if addend is None:
            return convolve(x, self.weight, self.bias, *self.place, activation, slopes, "")
        after = None if activation == "none" else activation
        return convolve.binary(
            x, addend, self.weight, self.bias, *self.place, "add", 1.0, after, slopes, None
        )

    def _by_torch(self, x: Tensor, addend: Tensor | None) -> Tensor:
        padding, stride, dilation, groups = self.place
        convolve = conv3d if x.dim() == 5 else conv2d
        y = convolve(x, self.weight, self.bias, stride, padding, dilation, groups)
        return leaky_relu(y if addend is None else y + addend, self.negative_slope)


def products(module: nn.Module, out: Tensor) -> int:
    """Multiplications by weights for the output `out` of a linear layer or of any convolution here."""
    if isinstance(module, WinogradConv):
        taps = module.weight.shape[-1]
        outputs = out.numel() * (4 if module.pooling else 1)
        flat = outputs * module.weight[0].numel() * {3: 36, 7: 169}[taps] // (4 * taps) ** 2
        # four products in depth for two of three taps each
        deep = module.weight.shape[2:] == (3, 3, 3) and out.shape[2] > 1
        return flat * 2 // 3 if deep else flat
    weight = module.weight
    assert isinstance(weight, Tensor)
    if isinstance(module, nn.ConvTranspose2d):  # every tap goes to an output of its own, of every input
        return out.numel() * weight[:, 0].numel() // (module.stride[0] * module.stride[1])
    outputs = out.numel() * (4 if isinstance(module, DirectConv) and module.pooling else 1)
    return outputs * weight.numel() // weight.shape[0]


def _suits_winograd(conv: Conv) -> bool:
    *depth, height, width = conv.kernel_size
    same = (
        height == width
        and height in FEWEST_MADE
        and conv.groups == 1
        and set(conv.stride) == {1}
        and conv.padding == tuple(size // 2 for size in conv.kernel_size)
    )
    if not same or conv.weight.nbytes > MOST_BYTES * (depth[0] if depth else 1):
        return False
    return conv.in_channels >= FEWEST_READ and conv.out_channels >= FEWEST_MADE[height]


def _ordered(weight: Tensor, place: tuple[list[int], list[int], list[int], int], x: Tensor) -> Tensor:
    """In the order that oneDNN reads fastest, for pictures or volumes of the size of x."""
    order = getattr(torch.ops.aten, f"mkldnn_reorder_conv{x.dim() - 2}d_weight")
    return order(weight, *place, list(x.shape))


def _bias(conv: Conv) -> Tensor:
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
