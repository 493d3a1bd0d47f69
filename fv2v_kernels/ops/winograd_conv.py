# SPDX-License-Identifier: Apache-2.0
"""winograd_conv: a convolution by Winograd's minimal filtering, for inference on the CPU.

Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks": in y and x, tiles of 4×4 outputs of
a 3×3 kernel take 36 products in place of 144, tiles of 2×2 outputs of a 7×7 kernel 64 in place of 196; taps
in z are summed directly. Weights stay as they were trained and are transformed in every call, some outputs at
a time: kept transformed they would be four times as large. That costs time, the more the wider a layer is and
the smaller its picture. In float32 an output is off a few times as far as a direct sum: 2.5 times for 3×3,
4 times for 7×7 (root mean square).
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv3d, interpolate

from fv2v_kernels._backends import choose
from fv2v_kernels._op import define

KERNELS = (3, 7)  # for which csrc/winograd_conv/transforms.h has points


def winograd_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    addend: Tensor | None = None,
    *,
    doubling: bool = False,
    pooling: bool = False,
    negative_slope: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    """Convolution, sum, leaky ReLU and pooling in one. Differentiable in every tensor.

        y   = w * x + bias + addend        stride 1, padded to the same size; x first enlarged where asked
        out = y where y > 0, else negative_slope y; then the mean of each 2×2 pixels, where asked

    Args:
        x: (B, C, [D,] H, W), float32 or float64; channels-last is read as it lies, anything else is copied.
        weight: (N, C, [k,] r, r), r of 3 or 7, in the dtype of x. Where the outputs are innermost in memory
            (`outputs_innermost`) it is read as it lies, anything else is copied.
        bias: (N,)
        addend: added before the activation, as the result without pooling.
        doubling: enlarge x twice in y and x, by repetition, first.
        pooling: return the mean of each 2×2 pixels; an odd last row or column is left out.
        negative_slope: 0 is a ReLU, 1 no activation.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the first there that this build has.

    Returns:
        (B, N, [D,] H, W), H and W doubled or halved as asked, channels-last.

    Gradient:
        PyTorch's own, of the reference: there so that the operator behaves as any other, not for speed.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not fit; the message says what was expected.
    """
    if x.dim() not in (4, 5) or 0 in x.shape[1:]:
        hint = ", C and all after it at least 1" if 0 in x.shape else ""
        raise ValueError(f"winograd_conv: expected x of shape (B, C, [D,] H, W){hint}, got {tuple(x.shape)}")
    if bias.dim() != 1 or len(bias) == 0:
        raise ValueError(
            f"winograd_conv: expected a bias of shape (N,), N at least 1, got {tuple(bias.shape)}"
        )
    depth = tuple(weight.shape[2:-2])  # of the kernel
    expected = (len(bias), x.shape[1], *depth, *2 * weight.shape[-1:])
    if weight.dim() != x.dim() or tuple(weight.shape) != expected or not _has_points(weight):
        wanted = f"({len(bias)}, {x.shape[1]}, {'k, r, r) with odd k and' if x.dim() == 5 else 'r, r) with'}"
        raise ValueError(
            f"winograd_conv: expected a weight of shape {wanted} r of 3 or 7, got {tuple(weight.shape)}"
        )
    for name, each in (("x", x), ("weight", weight), ("bias", bias)):
        if each.dtype not in (torch.float32, torch.float64) or each.dtype != x.dtype:
            raise TypeError(
                f"winograd_conv: expected x, weight and bias all in float32, or all in float64; "
                f"{name} is in {each.dtype}"
            )
    volume = x if x.dim() == 5 else x.unsqueeze(2)
    if volume.stride(1) != 1:
        volume = volume.contiguous(memory_format=torch.channels_last_3d)
    weight = weight if x.dim() == 5 else weight.unsqueeze(2)
    if weight.stride(0) != 1:
        weight = outputs_innermost(weight)
    if addend is not None:
        *_, H, W = x.shape
        shape = (len(x), len(bias), *x.shape[2:-2], H * (1 + doubling), W * (1 + doubling))
        if tuple(addend.shape) != shape or addend.dtype != x.dtype:
            raise ValueError(
                f"winograd_conv: expected an addend of shape {shape} in {x.dtype}, "
                f"got {tuple(addend.shape)} in {addend.dtype}"
            )
        addend = addend if addend.dim() == 5 else addend.unsqueeze(2)
        if addend.stride(1) != 1:
            addend = addend.contiguous(memory_format=torch.channels_last_3d)
    options = doubling, pooling, negative_slope
    out = _winograd_conv(volume, weight, bias.contiguous(), addend, *options, choose(backend))
    return out if x.dim() == 5 else out.squeeze(2)


def _has_points(weight: Tensor) -> bool:
    """Of shape (N, C, [k,] r, r)."""
    return weight.shape[-1] in KERNELS and all(k % 2 == 1 for k in weight.shape[2:-2])


def outputs_innermost(weight: Tensor) -> Tensor:
    """The same weights (N, C, [k,] r, r), in memory as `winograd_conv` reads them."""
    return weight.movedim(0, -1).contiguous().movedim(-1, 0)


def reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    addend: Tensor | None,
    doubling: bool,
    pooling: bool,
    negative_slope: float,
) -> Tensor:
    """What winograd_conv means, in stock PyTorch."""
    if doubling:
        x = interpolate(x, scale_factor=(1, 2, 2), mode="nearest")
    y = conv3d(x, weight, bias, padding=[size // 2 for size in weight.shape[2:]])
    if addend is not None:
        y = y + addend
    y = y.where(y > 0, negative_slope * y)
    if pooling:
        y = avg_pool2d(y.flatten(1, 2), 2).unflatten(1, y.shape[1:3])
    return y.contiguous(memory_format=torch.channels_last_3d)


def _check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    addend: Tensor | None,
    doubling: bool,
    pooling: bool,
    negative_slope: float,
) -> None:
    """Also what the public function sees to in words of its own, for who goes past it."""
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"winograd_conv: expected x in float32 or float64, got {x.dtype}")
    H, W = (size * (1 + doubling) for size in x.shape[-2:])  # "<<" by a bool cannot be traced
    if 0 in (*x.shape[1:], *bias.shape) or not _has_points(weight):
        raise ValueError(
            "winograd_conv: expected at least one channel and output, and kernels of odd depth, 3x3 or 7x7, "
            f"got x of shape {tuple(x.shape)} and a weight of shape {tuple(weight.shape)}"
        )
    if pooling and min(H, W) < 2:
        raise ValueError(f"winograd_conv: expected at least 2x2 pixels to pool, got {H}x{W}")
    if addend is not None and tuple(addend.shape) != (len(x), len(bias), x.shape[2], H, W):
        raise ValueError(
            f"winograd_conv: expected an addend of shape {(len(x), len(bias), x.shape[2], H, W)}, "
            f"got {tuple(addend.shape)}"
        )
    inner = {"x": (x, 1), "addend": (addend, 1), "weight": (weight, 0), "bias": (bias, 0)}
    for name, (each, dim) in inner.items():
        if each is not None and each.shape[dim] > 1 and each.stride(dim) != 1:
            raise ValueError(
                f"winograd_conv: expected {name} with its channels innermost in memory, got strides "
                f"{each.stride()}; fv2v_kernels.winograd_conv copies it"
            )


def _fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    addend: Tensor | None,
    doubling: bool,
    pooling: bool,
    negative_slope: float,
) -> Tensor:
    B, _, D, H, W = x.shape
    H, W = (size * (1 + doubling) // (1 + pooling) for size in (H, W))
    shape = (B, len(bias), D, H, W)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last_3d)


_winograd_conv = define(
    "winograd_conv(Tensor x, Tensor weight, Tensor bias, Tensor? addend, bool doubling, "
    "bool pooling, float negative_slope) -> (Tensor)",
    shapes={"x": "B C D H W", "weight": "N C k r r", "bias": "N"},
    check=_check,
    reference=reference,
    fake=_fake,
)
