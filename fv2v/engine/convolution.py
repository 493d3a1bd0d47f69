"""Convolutions as a CPU computes them fastest, with what follows each done while it is in the caches."""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv3d, leaky_relu

from fv2v.engine.doubling import interleave, phase_weight
from fv2v_kernels import winograd_conv, winograd_weight

MOST_BYTES = 40 << 20  # of transformed weights: beyond, reading them costs more than the products saved
FEWEST = 16  # channels read: below, the transforms cost more

Conv = nn.Conv2d | nn.Conv3d


def convolution(
    conv: Conv, *, doubling: bool = False, pooling: bool = False, negative_slope: float = 1.0
) -> "WinogradConv | DirectConv":
    """`conv` of its input, enlarged twice where asked; then leaky ReLU; then the mean of 2×2, where asked."""
    kind = WinogradConv if _suits_winograd(conv) else DirectConv
    return kind(conv, doubling=doubling, pooling=pooling, negative_slope=negative_slope)


class WinogradConv(nn.Module):
    """By fv2v_kernels.winograd_conv: wide convolutions of 3×3 and 7×7. Results are channels-last."""

    def __init__(self, conv: Conv, *, doubling: bool, pooling: bool, negative_slope: float) -> None:
        super().__init__()
        self.doubling, self.pooling, self.negative_slope = doubling, pooling, negative_slope
        self.weight = nn.Parameter(winograd_weight(conv.weight), requires_grad=False)
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
    """By oneDNN, its weights ordered once instead of at every call, sum and activation in the same call.

    Where oneDNN is absent, and in float64, by PyTorch's convolution.
    """

    def __init__(
        self, conv: Conv, *, doubling: bool = False, pooling: bool = False, negative_slope: float = 1.0
    ) -> None:
        super().__init__()
        self.doubling, self.pooling, self.negative_slope = doubling, pooling, negative_slope
        weight, bias = conv.weight, _bias(conv)
        padding = [int(size) for size in conv.padding]
        if doubling:
            weight, bias, padding[-2:] = phase_weight(weight), bias.repeat(4), [1, 1]
        self.place = padding, list(conv.stride), [1 for _ in padding], conv.groups
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.weight = weight.detach()
        self.orders = weight.dtype == torch.float32 and torch.backends.mkldnn.is_available()

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        y = self._by_onednn(x, addend) if self.orders else self._by_torch(x, addend)
        if self.doubling:
            y = interleave(y, x)
        if not self.pooling:
            return y
        return avg_pool2d(y, 2) if y.dim() == 4 else avg_pool2d(y.flatten(1, 2), 2).unflatten(1, y.shape[1:3])

    def _by_onednn(self, x: Tensor, addend: Tensor | None) -> Tensor:
        if not self.weight.is_mkldnn:  # the best order depends on sizes: a wrong one is ten times as slow
            self.weight = _ordered(self.weight, self.place, x)
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
    """The multiplications by weights that made `out`, of a convolution or linear layer of any kind here."""
    if isinstance(module, WinogradConv):
        points, _, depth, channels, _ = module.weight.shape
        tile = {36: 4, 64: 2}[points]
        outputs = out.numel() * (4 if module.pooling else 1)
        return outputs * points * depth * channels // tile**2
    weight = module.weight
    assert isinstance(weight, Tensor)
    outputs = out.numel() * (4 if isinstance(module, DirectConv) and module.pooling else 1)
    return outputs * weight.numel() // weight.shape[0]


def _suits_winograd(conv: Conv) -> bool:
    *_, height, width = conv.kernel_size
    same = (
        height == width
        and height in (3, 7)
        and conv.groups == 1
        and set(conv.stride) == {1}
        and conv.padding == tuple(size // 2 for size in conv.kernel_size)
    )
    transformed = conv.weight.numel() * 4 * {3: 36, 7: 64}[height] // height**2 if same else 0
    return same and conv.in_channels >= FEWEST and transformed <= MOST_BYTES


def _ordered(weight: Tensor, place: tuple[list[int], list[int], list[int], int], x: Tensor) -> Tensor:
    """As oneDNN wants to read it, for pictures or volumes of the size of x."""
    order = getattr(torch._C._nn, f"mkldnn_reorder_conv{x.dim() - 2}d_weight")
    return order(weight.to_mkldnn(), *place, list(x.shape))


def _bias(conv: Conv) -> Tensor:
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
