"""warp3d: read a feature volume at the points of a grid.

    out[b, c, p] = features[b, c], trilinearly, at grid[b, p]              w(f_s) in Sec. 3.3

Reads outside the volume are zero, and so are reads at NaN or infinite coordinates.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fv2v_kernels._check import check_coordinates, check_same_device, check_shapes, check_stored
from fv2v_kernels._native import native, triton
from fv2v_kernels._op import choose, define


def warp3d(features: Tensor, grid: Tensor, *, align_corners: bool, backend: str | None = None) -> Tensor:
    """Sample `features` trilinearly at the points of `grid`. Differentiable in both.

    The fused form of `F.grid_sample(features, grid, align_corners=align_corners)`, with coordinates and sums
    in float32 whatever the features are stored in.

    Args:
        features: (B, C, D, H, W) or (1, C, D, H, W), read once for all B; any floating dtype, any strides.
        grid: (B, D', H', W', 3), (x, y, z) in [-1, 1]; float32, or float64 beside float64 features.
        align_corners: True: -1 and +1 are the centres of the first and last voxel; False: their outer faces.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the best one this build has.

    Returns:
        (B, C, D', H', W') in the dtype of `features`.

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected.
    """
    check_shapes("warp3d", grid=(grid, "B D' H' W' 3"), features=(features, "1|B C D H W"))
    check_same_device("warp3d", features=features, grid=grid)
    check_stored("warp3d", features=features)
    check_coordinates("warp3d", features, grid=grid)
    return _warp3d(features, grid, align_corners, choose("warp3d", features.device, backend))


def reference(features: Tensor, grid: Tensor, align_corners: bool) -> Tensor:
    """What warp3d means, in stock PyTorch. Every kernel is tested against this."""
    grid, finite = split_finite(grid)
    wide = features.to(grid.dtype).expand(len(grid), -1, -1, -1, -1)
    out = F.grid_sample(wide, grid, align_corners=align_corners)
    return out.where(finite, 0).to(features.dtype)


def split_finite(grid: Tensor) -> tuple[Tensor, Tensor]:
    """`grid` without its NaN and infinite points, and where (B, 1, D', H', W') it had none."""
    finite = grid.isfinite().all(-1)
    return grid.where(finite.unsqueeze(-1), 0), finite.unsqueeze(1)


def _reference_backward(
    grad_out: Tensor,
    features: Tensor,
    grid: Tensor,
    align_corners: bool,
    need_features: bool,
    need_grid: bool,
) -> tuple[Tensor, Tensor]:
    grid, finite = split_finite(grid)
    wide = features.to(grid.dtype).expand(len(grid), -1, -1, -1, -1)
    grad_features, grad_grid = torch.ops.aten.grid_sampler_3d_backward(
        grad_out.to(grid.dtype).where(finite, 0), wide, grid, 0, 0, align_corners, [need_features, need_grid]
    )
    return (
        grad_features.sum_to_size(features.shape) if need_features else grid.new_empty(0),
        grad_grid if need_grid else grid.new_empty(0),
    )


def _fake(features: Tensor, grid: Tensor, align_corners: bool, backend: str) -> Tensor:
    return features.new_empty(grid.shape[0], features.shape[1], *grid.shape[1:4])


def _fake_backward(
    grad_out: Tensor,
    features: Tensor,
    grid: Tensor,
    align_corners: bool,
    need_features: bool,
    need_grid: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    return (
        grid.new_empty(features.shape if need_features else (0,)),  # sums are kept in the coordinates' dtype
        grid.new_empty(grid.shape if need_grid else (0,)),
    )


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool, str], output: Tensor) -> None:
    features, grid, ctx.align_corners, ctx.backend = inputs
    ctx.save_for_backward(features, grid)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    features, grid = ctx.saved_tensors
    need_features, need_grid = ctx.needs_input_grad[:2]
    grad_features, grad_grid = _warp3d_backward(
        grad_out, features, grid, ctx.align_corners, need_features, need_grid, ctx.backend
    )
    return (
        grad_features.to(features.dtype) if need_features else None,
        grad_grid if need_grid else None,
        None,
        None,
    )


_warp3d_backward = define(
    "warp3d_backward(Tensor grad_out, Tensor features, Tensor grid, bool align_corners, bool need_features, "
    "bool need_grid, str backend) -> (Tensor, Tensor)",
    kernels={
        "cuda": native("warp3d_backward", "cuda", _fake_backward),
        "triton": triton("warp3d_backward"),
        "cpu": native("warp3d_backward", "cpu", _fake_backward),
        "reference": _reference_backward,
    },
    fake=_fake_backward,
)
_warp3d = define(
    "warp3d(Tensor features, Tensor grid, bool align_corners, str backend) -> Tensor",
    kernels={
        "cuda": native("warp3d", "cuda", _fake),
        "triton": triton("warp3d"),
        "cpu": native("warp3d", "cpu", _fake),
        "reference": reference,
    },
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
)
