# SPDX-License-Identifier: Apache-2.0
"""warp3d: read a feature volume at the points of a grid."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fv2v_kernels._backends import choose
from fv2v_kernels._check import check_channels_last, check_coordinates, check_same_device, check_stored
from fv2v_kernels._op import define
from fv2v_kernels._volumes import add_in_order, empty_volume, finite_points, in_format


def warp3d(
    features: Tensor,
    grid: Tensor,
    *,
    align_corners: bool,
    memory_format: torch.memory_format = torch.contiguous_format,
    backend: str | None = None,
) -> Tensor:
    """Sample `features` trilinearly at the points of `grid`. Differentiable in both.

        out[b, c, p] = sum_i weight_i(grid[b, p]) features[b, c, voxel_i]      w(f_s) in Sec. 3.3

    over the eight voxels around each point, with trilinear weights. Reads outside the volume are zero, and so
    are reads at NaN or infinite coordinates.

    The fused form of `F.grid_sample(features, grid, align_corners=align_corners)`, with coordinates and sums
    in float32 whatever the features are stored in. Reads the grid, and each feature about once from memory
    (neighbouring points share voxels); writes out.

    Args:
        features: (B, C, D, H, W) or (1, C, D, H, W), read once for all B; any floating dtype, any strides.
        grid: (B, D', H', W', 3), (x, y, z) in [-1, 1], any strides; float32, or float64 beside float64
            features. Under autocast a half grid is widened.
        align_corners: True: -1 and +1 are the centres of the first and last voxel; False: their outer faces.
        memory_format: of the result: `torch.contiguous_format` or `torch.channels_last_3d`.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the first there that this build has.

    Returns:
        (B, C, D', H', W') in the dtype of `features`.

    Gradient:
        With g = d loss / d out: features get weight_i g, added at voxel_i; the grid gets
        sum_c g sum_i (d weight_i / d point) features[voxel_i].

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected.
    """
    check_same_device("warp3d", features=features, grid=grid)
    check_stored("warp3d", features=features)
    (points,) = check_coordinates("warp3d", features, grid=grid)
    channels_last = check_channels_last("warp3d", memory_format)
    return _warp3d(features, points, align_corners, channels_last, choose(backend))


def reference(features: Tensor, grid: Tensor, align_corners: bool, channels_last: bool = False) -> Tensor:
    """What warp3d means, in stock PyTorch. Every kernel is tested against this."""
    points, finite = finite_points(grid)
    wide = features.to(grid.dtype).expand(len(grid), -1, -1, -1, -1)
    out = F.grid_sample(wide, points, align_corners=align_corners)
    return in_format(out.where(finite, 0).to(features.dtype), channels_last)


def _fake(features: Tensor, grid: Tensor, align_corners: bool, channels_last: bool) -> Tensor:
    return empty_volume(features, (grid.shape[0], features.shape[1], *grid.shape[1:4]), channels_last)


def _ordered(
    grad_out: Tensor, features: Tensor, grid: Tensor, align_corners: bool, channels_last: bool
) -> Tensor:
    return add_in_order(grad_out, features, grid, align_corners)


_warp3d = define(
    "warp3d(Tensor features, Tensor grid, bool align_corners, bool channels_last) -> Tensor",
    shapes={"grid": "B D' H' W' 3", "features": "1|B C D H W"},
    reference=reference,
    fake=_fake,
    summed=("features",),
    ordered=_ordered,
)
