# SPDX-License-Identifier: Apache-2.0
"""keypoint_flow in Triton: out[b, k, p] = A_k (p - x_d,k) + x_s,k.

A program serves a block of voxels of one flow. In the gradient it goes through several blocks, whose sums are
stored by program and added up in a fixed order.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from fv2v_kernels.triton.launch import BLOCK, WARPS, add_sums, blocks_a_program, flows_of, reaches_far
from fv2v_kernels.triton.points import (
    block,
    flow_at,
    lattice_point,
    load_flow,
    minus,
    outer,
    points_of,
    store_point,
    store_sums,
    voxel,
)


@triton.jit
def _keypoint_flow_kernel(
    out_ptr,  # (B, K+1, N, 3), contiguous    N = D H W
    source_ptr, driving_ptr,  # (B, K, 3)
    affine_ptr,  # (B, K, 3, 3)
    blocks, N,
    flows,  # K+1
    size,
    source_strides, driving_strides, affine_strides,
    AFFINE: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, n, inside = block(blocks, N, BLOCK, WIDE)
    flow = load_flow(
        source_ptr, driving_ptr, affine_ptr, source_strides, driving_strides, affine_strides,
        row // flows, row % flows, AFFINE,
    )  # fmt: skip
    z, y, x = voxel(n, size)
    point = flow_at(lattice_point(z, y, x, size, out_ptr.dtype.element_ty), flow, AFFINE)
    store_point(out_ptr + row * N * 3 + n * 3, point, inside)


@triton.jit
def _keypoint_flow_backward_kernel(
    sums_ptr,  # (parts, B, K, 4, 4)
    grad_flows_ptr,  # (B, K+1, D, H, W, 3)
    source_ptr, driving_ptr,  # (B, K, 3)
    blocks, parts, N,
    K, size,
    grad_flows_strides, source_strides, driving_strides,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(0) // parts).to(tl.int64)  # through (B, K)
    part = tl.program_id(0) % parts
    b, k = row // K, row % K + 1
    dtype: tl.constexpr = sums_ptr.dtype.element_ty
    _, driving, _ = load_flow(
        source_ptr, driving_ptr, source_ptr, source_strides, driving_strides, driving_strides, b, k, False
    )
    grad_b, grad_k, grad_z, grad_y, grad_x, axis = grad_flows_strides
    grad_flows_ptr += b * grad_b + k * grad_k
    sums = tl.zeros([4, 4, BLOCK], dtype)
    for index in range(part, blocks, parts):
        n, inside = points_of(index, N, BLOCK, WIDE)
        z, y, x = voxel(n, size)
        at = grad_flows_ptr + (z * grad_z + y * grad_y + x * grad_x)
        g = (
            tl.load(at, mask=inside, other=0.0),
            tl.load(at + axis, mask=inside, other=0.0),
            tl.load(at + 2 * axis, mask=inside, other=0.0),
            0.0,
        )
        sums += outer(g, minus(lattice_point(z, y, x, size, dtype), driving))
    store_sums(sums_ptr + ((part * (tl.num_programs(0) // parts)).to(tl.int64) + row) * 16, sums)


def keypoint_flow(
    out: Tensor, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None, size: Sequence[int]
) -> None:
    """kp_source, kp_driving (B, K, 3), affine (B[, K], 3, 3) -> out (B, K+1, D, H, W, 3), contiguous."""
    if out.numel() == 0:
        return
    batch, flows = out.shape[:2]
    voxels = out[0, 0, ..., 0].numel()
    blocks = triton.cdiv(voxels, BLOCK)
    given = flows_of(kp_source, kp_driving, affine)
    with torch.cuda.device_of(out):
        _keypoint_flow_kernel[(batch * flows * blocks,)](
            out, *given.tensors,
            blocks, voxels,
            flows,
            tuple(size),
            *given.strides,
            AFFINE=given.affine,
            WIDE=reaches_far(BLOCK, out[0, 0]),
            BLOCK=BLOCK,
            num_warps=WARPS,
        )  # fmt: skip


def keypoint_flow_backward(
    grad_source: Tensor, grad_driving: Tensor, grad_affine: Tensor,
    grad_flows: Tensor,
    kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None,
    size: Sequence[int],
) -> None:  # fmt: skip
    """Fills the gradients that are not empty."""
    batch, keypoints, _ = kp_source.shape
    if kp_source.numel() == 0:
        return
    voxels = grad_flows[0, 0, ..., 0].numel()
    blocks = triton.cdiv(voxels, BLOCK)
    parts = triton.cdiv(blocks, blocks_a_program(batch * keypoints * blocks, BLOCK, grad_flows.device))
    sums = kp_source.new_empty(parts, batch, keypoints, 4, 4)
    with torch.cuda.device_of(grad_flows):
        _keypoint_flow_backward_kernel[(batch * keypoints * parts,)](
            sums, grad_flows, kp_source, kp_driving,
            blocks, parts, voxels,
            keypoints, tuple(size),
            grad_flows.stride(), kp_source.stride(), kp_driving.stride(),
            WIDE=reaches_far(BLOCK, grad_flows[0, 0]),
            BLOCK=BLOCK,
            num_warps=WARPS,
        )  # fmt: skip
    add_sums(grad_source, grad_driving, grad_affine, sums, affine)
