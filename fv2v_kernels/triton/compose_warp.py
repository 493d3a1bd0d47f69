"""compose_warp in Triton: compose_flow's blend and warp3d's read at it, in one kernel.

A program serves a block of voxels of one sample, all channels; the blended flow stays in registers. The
gradient is put together in Python.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fv2v_kernels.triton.compose_flow import blend
from fv2v_kernels.triton.launch import (
    BLOCK,
    WARPS,
    affine_strides,
    reaches_far,
    tile_channels,
    volume_strides,
)
from fv2v_kernels.triton.points import block, lattice_point, offset_of, voxel
from fv2v_kernels.triton.reading import sample


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
    C, flows,  # K+1
    size,
    out_strides,  # (B, C, N)
    features_strides, logits_strides, source_strides, driving_strides, affine_strides,
    threshold: tl.float64,
    AFFINE: tl.constexpr,
    RETURN_FLOW: tl.constexpr,
    RETURN_MASK: tl.constexpr,
    ALIGN_CORNERS: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
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
    if RETURN_FLOW:
        at = flow_ptr + b * N * 3 + n * 3
        tl.store(at, point[0], mask=inside)
        tl.store(at + 1, point[1], mask=inside)
        tl.store(at + 2, point[2], mask=inside)
    out_b, out_c, out_n = out_strides
    sample(
        out_ptr + b * out_b + n * out_n, out_c,
        features_ptr + b * features_strides[0],
        point, inside, C, size, features_strides,
        ALIGN_CORNERS, CHANNELS, WIDE,
    )  # fmt: skip


def compose_warp(
    out: Tensor,
    flow: Tensor,
    mask: Tensor,
    features: Tensor,
    mask_logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    align_corners: bool,
    mask_threshold: float,
    return_flow: bool,
    return_mask: bool,
    channels_last: bool,
) -> None:
    """Fills out (B, C, D, H, W) by its strides, and flow and mask, contiguous, unless they are empty."""
    if out.numel() == 0:
        return
    batch, flows, *size = mask_logits.shape
    voxels = mask_logits[0, 0].numel()
    blocks = triton.cdiv(voxels, BLOCK)
    with torch.cuda.device_of(features):
        _compose_warp_kernel[(batch * blocks,)](
            out, flow, mask, features,
            mask_logits, kp_source, kp_driving, kp_source if affine is None else affine,
            blocks, voxels,
            features.shape[1], flows,
            tuple(size),
            (*out.stride()[:2], out.stride(-1)), volume_strides(features),
            mask_logits.stride(), kp_source.stride(), kp_driving.stride(), affine_strides(affine),
            mask_threshold,
            AFFINE=affine is not None,
            RETURN_FLOW=flow.numel() > 0,
            RETURN_MASK=mask.numel() > 0,
            ALIGN_CORNERS=align_corners,
            CHANNELS=tile_channels(features),
            WIDE=reaches_far(BLOCK, features[0, 0], mask_logits[0, 0], out[0, 0]) or 3 * voxels >= 2**31,
            BLOCK=BLOCK,
            num_warps=WARPS,
        )  # fmt: skip
