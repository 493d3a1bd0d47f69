# SPDX-License-Identifier: Apache-2.0
"""compose_warp in Triton: compose_flow's blend and warp3d's read at it, in one kernel.

A program serves a block of voxels of one sample, all channels; the blended flow stays in registers. The
gradient is put together in Python.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from fv2v_kernels.triton.compose_flow import blend
from fv2v_kernels.triton.launch import (
    BLOCK,
    flows_of,
    launch_over_voxels,
    reaches_far,
    result_strides,
    tile_channels,
    volume_strides,
)
from fv2v_kernels.triton.points import block, lattice_point, offset_of, store_point, voxel
from fv2v_kernels.triton.reading import sample


@triton.jit
def read_at(
    out_ptr, flow_ptr, features_ptr,
    b, n, inside, N,
    point,  # the blended flow
    size, C, out_strides, features_strides,
    RETURN_FLOW: tl.constexpr, ALIGN_CORNERS: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Store the flow where it was asked for, and the features at it."""
    if RETURN_FLOW:
        store_point(flow_ptr + b * N * 3 + n * 3, point, inside)
    out_b, out_c, out_n = out_strides
    sample(
        out_ptr + b * out_b + n * out_n, out_c,
        features_ptr + b * features_strides[0],
        point, inside, C, size, features_strides,
        ALIGN_CORNERS, CHANNELS, WIDE,
    )  # fmt: skip


@triton.jit
def _compose_warp_kernel(
    out_ptr,  # (B, C, N)    N = D H W
    flow_ptr,  # (B, N, 3), contiguous, written where RETURN_FLOW
    mask_ptr,  # (B, K+1, N), contiguous, written where RETURN_MASK
    features_ptr,  # (B, C, D, H, W)    a stride of 0 where one volume serves every sample
    logits_ptr,  # (B, K+1, D, H, W)
    source_ptr, driving_ptr,  # (B, K, 3)
    affine_ptr,  # (B, K, 3, 3)
    blocks, N,
    flows,  # K+1
    size, C,
    out_strides,  # (B, C, N)
    features_strides, logits_strides, source_strides, driving_strides, affine_strides,
    threshold: tl.float64,
    AFFINE: tl.constexpr, RETURN_FLOW: tl.constexpr, RETURN_MASK: tl.constexpr,
    ALIGN_CORNERS: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, n, inside = block(blocks, N, BLOCK, WIDE)
    z, y, x = voxel(n, size)
    point = blend(
        mask_ptr + b * flows * N + n, N,
        logits_ptr + b * logits_strides[0] + offset_of(z, y, x, logits_strides), logits_strides[1],
        source_ptr, driving_ptr, affine_ptr, source_strides, driving_strides, affine_strides,
        b, flows, lattice_point(z, y, x, size, source_ptr.dtype.element_ty), inside, threshold,
        AFFINE, RETURN_MASK,
    )  # fmt: skip
    read_at(
        out_ptr, flow_ptr, features_ptr, b, n, inside, N, point, size, C, out_strides, features_strides,
        RETURN_FLOW, ALIGN_CORNERS, CHANNELS, WIDE,
    )  # fmt: skip


def fill(
    kernel: Any,
    out: Tensor, flow: Tensor, mask: Tensor,
    features: Tensor, masks: Tensor, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None,
    align_corners: bool, mask_threshold: float, *_: bool,
    **constants: Any,
) -> None:  # fmt: skip
    """Launch the kernel of `compose_warp`, or that of `mask_head`."""
    launch_over_voxels(
        kernel,
        (out, flow, mask, features),
        masks,
        flows_of(kp_source, kp_driving, affine),
        (features.shape[1], result_strides(out), volume_strides(features)),
        mask_threshold,
        RETURN_FLOW=flow.numel() > 0,
        RETURN_MASK=mask.numel() > 0,
        ALIGN_CORNERS=align_corners,
        CHANNELS=tile_channels(features),
        **constants,
    )


def compose_warp(
    out: Tensor, flow: Tensor, mask: Tensor, features: Tensor, mask_logits: Tensor, *arguments: Any
) -> None:
    """Fills out (B, C, D, H, W) by its strides, and flow and mask, contiguous, unless they are empty."""
    if out.numel() == 0:
        return
    wide = reaches_far(BLOCK, features[0, 0], mask_logits[0, 0], out[0, 0])
    wide = wide or 3 * mask_logits[0, 0].numel() >= 2**31
    fill(_compose_warp_kernel, out, flow, mask, features, mask_logits, *arguments, WIDE=wide)
