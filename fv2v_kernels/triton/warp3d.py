# SPDX-License-Identifier: Apache-2.0
"""warp3d in Triton: out[b, c, p] = features[b, c], trilinearly, at grid[b, p].

A program serves a block of points of one sample, so that the eight corners around a point, their offsets and
their weights are worked out once for all its channels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fv2v_kernels.triton.launch import (
    BLOCK,
    WARPS,
    reaches_far,
    result_strides,
    share_of_tiles,
    tile_channels,
    volume_strides,
)
from fv2v_kernels.triton.points import block, offset_of, store_point, voxel
from fv2v_kernels.triton.reading import pull, sample


@triton.jit
def _load_point(grid_ptr, z, y, x, inside, grid_strides):
    """(x, y, z) of grid points; those not inside are 0."""
    _, grid_z, grid_y, grid_x, axis = grid_strides
    at = grid_ptr + (z * grid_z + y * grid_y + x * grid_x)
    return (
        tl.load(at, mask=inside, other=0.0),
        tl.load(at + axis, mask=inside, other=0.0),
        tl.load(at + 2 * axis, mask=inside, other=0.0),
    )


@triton.jit
def _warp3d_kernel(
    out_ptr,  # (B, C, N)    N = D' H' W'
    features_ptr,  # (B, C, D, H, W)    a stride of 0 where one volume serves every sample
    grid_ptr,  # (B, D', H', W', 3)
    blocks, share,  # blocks of points a sample, tiles of channels a program
    N, out_size,
    C, size,
    out_strides,  # (B, C, N)
    features_strides, grid_strides,
    ALIGN_CORNERS: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, n, inside = block(blocks, N, BLOCK, WIDE)
    z, y, x = voxel(n, out_size)
    point = _load_point(grid_ptr + b * grid_strides[0], z, y, x, inside, grid_strides)
    first = tl.program_id(1).to(tl.int64) * share * CHANNELS
    out_b, out_c, out_n = out_strides
    sample(
        out_ptr + b * out_b + first * out_c + n * out_n, out_c,
        features_ptr + b * features_strides[0] + first * features_strides[1],
        point, inside, tl.minimum(share * CHANNELS, C - first), size, features_strides,
        ALIGN_CORNERS, CHANNELS, WIDE,
    )  # fmt: skip


@triton.jit
def _warp3d_backward_kernel(
    grad_features_ptr,  # (B, C, D, H, W), contiguous, zeros    a stride of 0 as features
    grad_grid_ptr,  # (B, N, 3), contiguous
    grad_out_ptr,  # (B, C, D', H', W')
    features_ptr,  # (B, C, D, H, W)
    grid_ptr,  # (B, D', H', W', 3)
    blocks, share,
    N, out_size,
    C, size,
    grad_features_b,
    grad_out_strides, features_strides, grid_strides,
    NEED_FEATURES: tl.constexpr, NEED_GRID: tl.constexpr, ALIGN_CORNERS: tl.constexpr,
    CHANNELS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, n, inside = block(blocks, N, BLOCK, WIDE)
    z, y, x = voxel(n, out_size)
    point = _load_point(grid_ptr + b * grid_strides[0], z, y, x, inside, grid_strides)
    first = tl.program_id(1).to(tl.int64) * share * CHANNELS
    D, H, W = size
    grad_point = pull(
        grad_features_ptr + b * grad_features_b + first * D * H * W,
        grad_out_ptr + b * grad_out_strides[0] + first * grad_out_strides[1]
        + offset_of(z, y, x, grad_out_strides), grad_out_strides[1],
        features_ptr + b * features_strides[0] + first * features_strides[1],
        point, inside, tl.minimum(share * CHANNELS, C - first), size, features_strides,
        NEED_FEATURES, NEED_GRID, ALIGN_CORNERS, CHANNELS, WIDE,
    )  # fmt: skip
    if NEED_GRID:
        store_point(grad_grid_ptr + b * N * 3 + n * 3, grad_point, inside)


def warp3d(out: Tensor, features: Tensor, grid: Tensor, align_corners: bool, channels_last: bool) -> None:
    """features (B or 1, C, D, H, W), grid (B, D', H', W', 3) -> out (B, C, D', H', W'), by its strides."""
    if out.numel() == 0:
        return
    channels, *size = features.shape[1:]
    out_size = tuple(out.shape[2:])
    points = out[0, 0].numel()
    programs = len(grid) * triton.cdiv(points, BLOCK)
    tile = tile_channels(features)
    tiles = channels // tile
    share = share_of_tiles(tiles, channels, programs, BLOCK, features.device)
    with torch.cuda.device_of(features):
        _warp3d_kernel[programs, triton.cdiv(tiles, share)](
            out, features, grid,
            triton.cdiv(points, BLOCK), share,
            points, out_size,
            channels, tuple(size),
            result_strides(out), volume_strides(features), grid.stride(),
            ALIGN_CORNERS=align_corners,
            CHANNELS=tile,
            WIDE=reaches_far(BLOCK, features[0, 0], grid[0], out[0, 0]),
            BLOCK=BLOCK,
            num_warps=WARPS,
        )  # fmt: skip


def warp3d_backward(
    grad_features: Tensor, grad_grid: Tensor,
    grad_out: Tensor,
    features: Tensor, grid: Tensor,
    align_corners: bool, channels_last: bool,
) -> None:  # fmt: skip
    """Fills the gradients, contiguous and in the dtype of `grid`, that are not empty."""
    grad_features.zero_()  # what atomics add to
    if grad_out.numel() == 0:
        grad_grid.zero_()
        return
    need_features, need_grid = grad_features.numel() > 0, grad_grid.numel() > 0
    tile = tile_channels(features)
    passes = [(need_features, need_grid)]
    if tile > 1:  # channels side by side are read best in tiles, and added to a contiguous gradient without
        passes = [each for each in ((need_features, False), (False, need_grid)) if any(each)]
    channels, *size = features.shape[1:]
    points = grad_out[0, 0].numel()
    programs = len(grid) * triton.cdiv(points, BLOCK)
    for adds, pulls in passes:
        # a point's gradient is one program's sum over all channels
        share = channels if pulls else share_of_tiles(channels, channels, programs, BLOCK, features.device)
        with torch.cuda.device_of(features):
            _warp3d_backward_kernel[programs, triton.cdiv(channels, share)](
                grad_features, grad_grid, grad_out, features, grid,
                triton.cdiv(points, BLOCK), share,
                points, tuple(grad_out.shape[2:]),
                channels, tuple(size),
                volume_strides(grad_features)[0] if adds else 0,
                grad_out.stride(), volume_strides(features), grid.stride(),
                NEED_FEATURES=adds,
                NEED_GRID=pulls,
                ALIGN_CORNERS=align_corners,
                CHANNELS=1 if adds else tile,
                WIDE=reaches_far(BLOCK, features[0, 0], grid[0], grad_out[0, 0]),
                BLOCK=BLOCK,
                num_warps=WARPS,
            )  # fmt: skip
