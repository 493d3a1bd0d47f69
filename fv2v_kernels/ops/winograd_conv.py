"""winograd_conv: a convolution by Winograd's minimal filtering, for inference on the CPU.

    y   = w * x + bias + addend        stride 1, padded to the same size; x enlarged twice first, where asked
    out = y where y > 0, else negative_slope y; then the mean of each 2×2 pixels, where asked

Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks": in y and x, tiles of 4×4 outputs of
a 3×3 kernel take 36 products in place of 144, tiles of 2×2 outputs of a 7×7 kernel 64 in place of 196; taps
in z are summed directly. `winograd_weight` transforms the weights, once. In float32 an output is off a few
times as far as a direct sum: 2.5 times for 3×3, 4 times for 7×7 (root mean square).

Gradient: PyTorch's own, of the reference. It is there so that the operator behaves as any other, not for
speed.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv3d, interpolate

from fv2v_kernels._op import choose, define

LANES = 16  # outputs side by side in transformed weights, as csrc/winograd_conv/cpu.cpp reads them
POINTS = {3: (0.0, 1.0, -1.0, 0.5, -2.0), 7: (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)}  # and infinity


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
    """Convolution, sum, leaky ReLU and pooling in one.

    Args:
        x: (B, C, [D,] H, W), float32 or float64; channels-last is read as it lies, anything else is copied.
        weight: from `winograd_weight`, in the dtype of x.
        bias: (N,)
        addend: added before the activation, as the result without pooling.
        doubling: enlarge x twice in y and x, by repetition, first.
        pooling: return the mean of each 2×2 pixels; an odd last row or column is left out.
        negative_slope: 0 is a ReLU, 1 no activation.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the first there that this build has.

    Returns:
        (B, N, [D,] H, W), H and W doubled or halved as asked, channels-last.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not fit; the message says what was expected.
    """
    taps = _taps(weight)
    if x.dim() not in (4, 5):
        raise ValueError(f"winograd_conv: expected x of shape (B, C, [D,] H, W), got {tuple(x.shape)}")
    expected = (len(weight), -(-len(bias) // LANES), weight.shape[2], x.shape[1], LANES)
    if tuple(weight.shape) != expected:
        raise ValueError(f"winograd_conv: expected a weight of shape {expected}, got {tuple(weight.shape)}")
    if x.dim() == 4 and weight.shape[2] != 1:
        raise ValueError(f"winograd_conv: expected a volume for {weight.shape[2]} taps in z, got a picture")
    for name, each in (("x", x), ("weight", weight), ("bias", bias)):
        if each.dtype not in (torch.float32, torch.float64) or each.dtype != x.dtype:
            raise TypeError(
                f"winograd_conv: expected x, weight and bias all in float32, or all in float64; "
                f"{name} is in {each.dtype}"
            )
    volume = x if x.dim() == 5 else x.unsqueeze(2)
    if volume.stride(1) != 1:
        volume = volume.contiguous(memory_format=torch.channels_last_3d)
    if addend is not None:
        *_, H, W = x.shape
        shape = (len(x), len(bias), *x.shape[2:-2], H << doubling, W << doubling)
        if tuple(addend.shape) != shape or addend.dtype != x.dtype:
            raise ValueError(
                f"winograd_conv: expected an addend of shape {shape} in {x.dtype}, "
                f"got {tuple(addend.shape)} in {addend.dtype}"
            )
        addend = addend if addend.dim() == 5 else addend.unsqueeze(2)
        if addend.stride(1) != 1:
            addend = addend.contiguous(memory_format=torch.channels_last_3d)
    chosen = choose("winograd_conv", x.device, backend)
    out = _winograd_conv(
        volume,
        weight.contiguous(),
        bias.contiguous(),
        addend,
        taps,
        doubling,
        pooling,
        negative_slope,
        chosen,
    )
    return out if x.dim() == 5 else out.squeeze(2)


def winograd_weight(weight: Tensor) -> Tensor:
    """(N, C, [k,] r, r), r of 3 or 7 -> what `winograd_conv` takes: (a², ⌈N / 16⌉, k, C, 16), a = 6 or 8."""
    if weight.dim() == 4:
        weight = weight.unsqueeze(2)
    N, C, k, r, _ = weight.shape
    if r not in POINTS or weight.shape[4] != r:
        raise ValueError(f"winograd_weight: expected a kernel 3 x 3 or 7 x 7 wide, got {tuple(weight.shape)}")
    G = weight_matrix(r).to(weight.device)
    panels = weight.new_zeros(len(G) ** 2, -(-N // LANES), k, C, LANES)
    for i, some in enumerate(weight.split(LANES)):  # a few at a time: float64 takes much memory
        points = torch.einsum("ai,ncdij,bj->abdcn", G, some.double(), G).flatten(0, 1)
        panels[:, i, :, :, : len(some)] = points
    return panels


def reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    addend: Tensor | None,
    taps: int,
    doubling: bool,
    pooling: bool,
    negative_slope: float,
) -> Tensor:
    """What winograd_conv means, in stock PyTorch: the convolution with the weight before its transform."""
    G = weight_matrix(taps).to(weight)
    back = torch.linalg.solve(G.mT @ G, G.mT)
    points = weight.permute(0, 2, 3, 1, 4).flatten(3)[..., : len(bias)]  # (a², k, C, N)
    plain = torch.einsum("ia,abdcn,jb->ncdij", back, points.unflatten(0, (len(G), len(G))), back)
    if doubling:
        x = interpolate(x, scale_factor=(1, 2, 2), mode="nearest")
    y = conv3d(x, plain, bias, padding=[size // 2 for size in plain.shape[2:]])
    if addend is not None:
        y = y + addend
    y = y.where(y > 0, negative_slope * y)
    if pooling:
        y = avg_pool2d(y.flatten(1, 2), 2).unflatten(1, y.shape[1:3])
    return y.contiguous(memory_format=torch.channels_last_3d)


@cache
def weight_matrix(taps: int) -> Tensor:
    """G (a, r), float64, of Toom and Cook: a filter g of r taps makes m outputs of a = m + r - 1 inputs d,
    Aᵀ [(G g) · (Bᵀ d)]. Aᵀ and Bᵀ are in csrc/winograd_conv/transforms.h, from the same points."""
    points = torch.tensor(POINTS[taps], dtype=torch.float64)
    differences = points[:, None] - points
    differences.fill_diagonal_(1)
    powers = points[:, None] ** torch.arange(taps)
    at_infinity = torch.eye(taps, dtype=torch.float64)[-1:]
    return torch.cat([powers / differences.prod(dim=1, keepdim=True), at_infinity])


def _taps(weight: Tensor) -> int:
    known = {(len(points) + 1) ** 2: taps for taps, points in POINTS.items()}
    if weight.dim() != 5 or len(weight) not in known:
        raise ValueError(
            f"winograd_conv: expected a weight from winograd_weight, of {' or '.join(map(str, known))} "
            f"points, got {tuple(weight.shape)}"
        )
    return known[len(weight)]


def _fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    addend: Tensor | None,
    taps: int,
    doubling: bool,
    pooling: bool,
    negative_slope: float,
) -> Tensor:
    B, _, D, H, W = x.shape
    H, W = (size * (1 + doubling) // (1 + pooling) for size in (H, W))
    shape = (B, len(bias), D, H, W)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last_3d)


_winograd_conv = define(
    "winograd_conv(Tensor x, Tensor weight, Tensor bias, Tensor? addend, int taps, bool doubling, "
    "bool pooling, float negative_slope) -> (Tensor)",
    reference=reference,
    fake=_fake,
)
