# SPDX-License-Identifier: Apache-2.0
"""warp_candidates in Triton: K+1 flows, built on the fly, each with its Gaussian difference and its features.

A program serves a block of the voxels of one flow; where channels lie side by side in the result, a block of
pairs (voxel, flow), flows fastest, so that neighbouring threads write neighbouring channels. In the gradient
a program goes through several blocks of one flow; its sums are stored by program and added in a fixed order.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fv2v_kernels.triton.launch import (
    BLOCK,
    WARPS,
    add_sums,
    blocks_a_program,
    flows_of,
    reaches_far,
    result_strides,
    volume_strides,
)
from fv2v_kernels.triton.points import (
    block,
    flow_at,
    lattice_point,
    load_flow,
    minus,
    offset_of,
    outer,
    points_of,
    store_sums,
    voxel,
    with_one,
)
from fv2v_kernels.triton.reading import pull, sample


@triton.jit
def _gaussian(offset, scale):
    """exp(-|p - x|^2 / 2v), scale = 1 / 2v."""
    return tl.exp(-(offset[0] * offset[0] + offset[1] * offset[1] + offset[2] * offset[2]) * scale)


@triton.jit
def _warp_candidates_kernel(
    out_ptr,  # (B, (K+1)(C'+1), N)    N = D H W
    features_ptr,  # (B, C', D, H, W)    a stride of 0 where one volume serves every sample
    source_ptr, driving_ptr,  # (B, K, 3)
    affine_ptr,  # (B, K, 3, 3)
    blocks, N,
    C, flows,  # K+1
    size,
    out_strides,  # (B, (K+1)(C'+1), N)
    features_strides, source_strides, driving_strides, affine_strides,
    scale: tl.float64,  # 1 / 2v
    PAIRS: tl.constexpr,  # blocks of pairs (voxel, flow)
    AFFINE: tl.constexpr, ALIGN_CORNERS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    if PAIRS:
        b, n, inside = block(blocks, N * flows, BLOCK, WIDE)
        n, k = n // flows, n % flows
    else:
        row, n, inside = block(blocks, N, BLOCK, WIDE)
        b, k = row // flows, row % flows
    dtype: tl.constexpr = source_ptr.dtype.element_ty
    z, y, x = voxel(n, size)
    point = lattice_point(z, y, x, size, dtype)
    flow = load_flow(
        source_ptr, driving_ptr, affine_ptr, source_strides, driving_strides, affine_strides, b, k, AFFINE
    )
    out_b, out_c, out_n = out_strides
    out = out_ptr + b * out_b + (k * (C + 1)) * out_c + n * out_n
    source, driving, _ = flow
    scale = tl.full((), scale, dtype)
    # the background has both keypoints at 0: no difference
    difference = _gaussian(minus(point, driving), scale) - _gaussian(minus(point, source), scale)
    tl.store(out, difference.to(out_ptr.dtype.element_ty), mask=inside)
    sample(
        out + out_c, out_c,
        features_ptr + b * features_strides[0],
        flow_at(point, flow, AFFINE), inside, C, size, features_strides,
        ALIGN_CORNERS, 1, WIDE,
    )  # fmt: skip


@triton.jit
def _warp_candidates_backward_kernel(
    grad_features_ptr,  # (B, C', D, H, W), contiguous, zeros    a stride of 0 as features
    sums_ptr,  # (parts, B, K, 4, 4), where NEED_SUMS
    source_sums_ptr,  # (parts, B, K, 4), where NEED_SUMS
    grad_out_ptr,  # (B, (K+1)(C'+1), D, H, W)
    features_ptr,  # (B, C', D, H, W)
    source_ptr, driving_ptr,  # (B, K, 3)
    affine_ptr,  # (B, K, 3, 3)
    blocks, parts, N,
    C, flows,  # K+1
    size,
    grad_features_b,
    grad_out_strides, features_strides, source_strides, driving_strides, affine_strides,
    scale: tl.float64,  # 1 / 2v
    NEED_FEATURES: tl.constexpr, NEED_SUMS: tl.constexpr, AFFINE: tl.constexpr,
    ALIGN_CORNERS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(0) // parts).to(tl.int64)  # through (B, K+1)
    part = tl.program_id(0) % parts
    b, k = row // flows, row % flows
    dtype: tl.constexpr = source_ptr.dtype.element_ty
    scale = tl.full((), scale, dtype)
    flow = load_flow(
        source_ptr, driving_ptr, affine_ptr, source_strides, driving_strides, affine_strides, b, k, AFFINE
    )
    source, driving, _ = flow
    grad_out_ptr += b * grad_out_strides[0] + k * (C + 1) * grad_out_strides[1]
    grad_features_ptr += b * grad_features_b
    features_ptr += b * features_strides[0]
    sums = tl.zeros([4, 4, BLOCK], dtype)  # g and the driving Gaussian's gradient times p - x_d
    source_sums = tl.zeros([4, BLOCK], dtype)  # the source Gaussian's gradient times p - x_s
    for index in range(part, blocks, parts):
        n, inside = points_of(index, N, BLOCK, WIDE)
        z, y, x = voxel(n, size)
        point = lattice_point(z, y, x, size, dtype)
        upstream = grad_out_ptr + offset_of(z, y, x, grad_out_strides)
        g = pull(
            grad_features_ptr, upstream + grad_out_strides[1], grad_out_strides[1], features_ptr,
            flow_at(point, flow, AFFINE), inside, C, size, features_strides,
            NEED_FEATURES, NEED_SUMS, ALIGN_CORNERS, 1, WIDE,
        )  # fmt: skip
        if NEED_SUMS:
            grad = tl.load(upstream, mask=inside, other=0.0).to(dtype)
            from_driving, from_source = minus(point, driving), minus(point, source)
            sums += outer((g[0], g[1], g[2], grad * _gaussian(from_driving, scale)), from_driving)
            source_sums += grad * _gaussian(from_source, scale) * with_one(from_source)
    if NEED_SUMS and k > 0:  # the background has no keypoint
        rows = tl.num_programs(0) // parts // flows * (flows - 1)  # through (B, K)
        to = part.to(tl.int64) * rows + b * (flows - 1) + k - 1
        store_sums(sums_ptr + to * 16, sums)
        tl.store(source_sums_ptr + to * 4 + tl.arange(0, 4), tl.sum(source_sums, axis=1))


def warp_candidates(
    out: Tensor,
    features: Tensor, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None,
    align_corners: bool, variance: float, channels_last: bool,
) -> None:  # fmt: skip
    """Fills out (B, (K+1)(C'+1), D, H, W), by its strides."""
    if out.numel() == 0:
        return
    channels, *size = features.shape[1:]
    flows = kp_source.shape[1] + 1
    voxels = out[0, 0].numel()
    pairs = out.stride(1) == 1
    given = flows_of(kp_source, kp_driving, affine)
    blocks = triton.cdiv(voxels * flows if pairs else voxels, BLOCK)
    with torch.cuda.device_of(features):
        _warp_candidates_kernel[(len(out) * blocks * (1 if pairs else flows),)](
            out, features, *given.tensors,
            blocks, voxels,
            channels, flows,
            tuple(size),
            result_strides(out), volume_strides(features),
            *given.strides,
            1 / (2 * variance),
            PAIRS=pairs,
            AFFINE=given.affine,
            ALIGN_CORNERS=align_corners,
            WIDE=reaches_far(BLOCK, features[0, 0], out[0]),
            BLOCK=BLOCK,
            num_warps=WARPS,
        )  # fmt: skip


def warp_candidates_backward(
    grad_features: Tensor, grad_source: Tensor, grad_driving: Tensor, grad_affine: Tensor,
    grad_out: Tensor,
    features: Tensor, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None,
    align_corners: bool, variance: float, channels_last: bool,
) -> None:  # fmt: skip
    """Fills the gradients that are not empty."""
    grads = grad_source, grad_driving, grad_affine
    grad_features.zero_()  # what atomics add to
    if grad_out.numel() == 0:
        for grad in grads:
            grad.zero_()
        return
    channels, *size = features.shape[1:]
    batch, keypoints, _ = kp_source.shape
    voxels = grad_out[0, 0].numel()
    blocks = triton.cdiv(voxels, BLOCK)
    rows = batch * (keypoints + 1)
    parts = triton.cdiv(blocks, blocks_a_program(rows * blocks, BLOCK, features.device))
    sums = kp_source.new_empty(parts, batch, keypoints, 4, 4)
    source_sums = kp_source.new_empty(parts, batch, keypoints, 4)
    given = flows_of(kp_source, kp_driving, affine)
    need_features, need_sums = grad_features.numel() > 0, any(grad.numel() for grad in grads)
    with torch.cuda.device_of(features):
        _warp_candidates_backward_kernel[(rows * parts,)](
            grad_features, sums, source_sums,
            grad_out, features, *given.tensors,
            blocks, parts, voxels,
            channels, keypoints + 1,
            tuple(size),
            volume_strides(grad_features)[0] if need_features else 0,
            grad_out.stride(), volume_strides(features),
            *given.strides,
            1 / (2 * variance),
            NEED_FEATURES=need_features,
            NEED_SUMS=need_sums,
            AFFINE=given.affine,
            ALIGN_CORNERS=align_corners,
            WIDE=reaches_far(BLOCK, features[0, 0], grad_out[0, 0]),
            BLOCK=BLOCK,
            num_warps=WARPS,
        )  # fmt: skip
    if need_sums:
        further = (
            sums[..., 3, 1:].double().sum(0) / variance,
            -source_sums[..., 1:].double().sum(0) / variance,
        )
        add_sums(grad_source, grad_driving, grad_affine, sums, affine, *further)
