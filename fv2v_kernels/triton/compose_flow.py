# SPDX-License-Identifier: Apache-2.0
"""compose_flow in Triton: flow[b, p] = sum_k m_k w_k(p), m = softmax over k of mask_logits[b, k, p].

A program serves a block of voxels of one sample and goes through the flows twice: once for the largest logit
and the sum of exponentials (a streaming softmax), once for masks and flows; the gradient a third time. The
second time the logits come from a cache.
"""

import triton
import triton.language as tl
from torch import Tensor

from fv2v_kernels.triton.launch import BLOCK, add_sums, flows_of, launch_over_voxels, reaches_far
from fv2v_kernels.triton.points import (
    block,
    flow_at,
    lattice_point,
    load_flow,
    minus,
    offset_of,
    outer,
    store_point,
    store_sums,
    voxel,
)

SUM_WARPS = 1  # in the gradient, where sums over a block exchange nothing between warps


@triton.jit
def _softmax(logits, logits_k, flows, inside, dtype: tl.constexpr):
    """The largest logit over flows, and 1 / (the sum of exponentials relative to it)."""
    # finite, so that a first logit of -infinity is not subtracted from itself
    peak = tl.full([logits.shape[0]], -1.7e308 if dtype == tl.float64 else -3.4e38, dtype)
    total = tl.zeros_like(peak)
    for _ in range(flows):
        logit = tl.load(logits, mask=inside, other=0.0).to(dtype)
        higher = tl.maximum(peak, logit)
        total = total * tl.exp(peak - higher) + tl.exp(logit - higher)
        peak = higher
        logits += logits_k
    return peak, 1 / total


@triton.jit
def blend(
    mask,  # (BLOCK,) where the mask of flow 0 goes, if RETURN_MASK; flows lie `mask_k` apart
    mask_k,
    logits,  # (BLOCK,) where the logits of flow 0 lie; flows lie `logits_k` apart
    logits_k,
    source_ptr, driving_ptr, affine_ptr,
    source_strides, driving_strides, affine_strides,
    b, flows, point, inside, threshold,
    AFFINE: tl.constexpr, RETURN_MASK: tl.constexpr,
):  # fmt: skip
    """The blended flow (x, y, z) at each point of the corner lattice."""
    dtype: tl.constexpr = source_ptr.dtype.element_ty
    threshold = tl.full((), threshold, dtype)
    peak, scale = _softmax(logits, logits_k, flows, inside, dtype)
    x, y, z = tl.zeros_like(peak), tl.zeros_like(peak), tl.zeros_like(peak)
    for k in range(flows):
        m = tl.exp(tl.load(logits, mask=inside, other=0.0).to(dtype) - peak) * scale
        m = tl.where(m < threshold, 0.0, m)
        if RETURN_MASK:
            tl.store(mask, m.to(mask.dtype.element_ty), mask=inside)
            mask += mask_k
        flow = load_flow(
            source_ptr, driving_ptr, affine_ptr, source_strides, driving_strides, affine_strides, b, k, AFFINE
        )
        along_x, along_y, along_z = flow_at(point, flow, AFFINE)
        x, y, z = x + m * along_x, y + m * along_y, z + m * along_z
        logits += logits_k
    return x, y, z


@triton.jit
def _compose_flow_kernel(
    flow_ptr,  # (B, N, 3), contiguous    N = D H W
    mask_ptr,  # (B, K+1, N), contiguous, written where RETURN_MASK
    logits_ptr,  # (B, K+1, D, H, W)
    source_ptr, driving_ptr,  # (B, K, 3)
    affine_ptr,  # (B, K, 3, 3)
    blocks, N,
    flows,  # K+1
    size,
    logits_strides, source_strides, driving_strides, affine_strides,
    threshold: tl.float64,
    AFFINE: tl.constexpr, RETURN_MASK: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, n, inside = block(blocks, N, BLOCK, WIDE)
    z, y, x = voxel(n, size)
    logits = logits_ptr + b * logits_strides[0] + offset_of(z, y, x, logits_strides)
    point = lattice_point(z, y, x, size, flow_ptr.dtype.element_ty)
    flow = blend(
        mask_ptr + b * flows * N + n, N, logits, logits_strides[1],
        source_ptr, driving_ptr, affine_ptr, source_strides, driving_strides, affine_strides,
        b, flows, point, inside, threshold, AFFINE, RETURN_MASK,
    )  # fmt: skip
    store_point(flow_ptr + b * N * 3 + n * 3, flow, inside)


@triton.jit
def _upstream(grad_mask, g, flow_k, m, inside, MASK: tl.constexpr):
    """u_k = g . w_k + d loss / d m_k."""
    u = g[0] * flow_k[0] + g[1] * flow_k[1] + g[2] * flow_k[2]
    if MASK:
        u += tl.load(grad_mask, mask=inside, other=0.0).to(m.dtype)
    return u


@triton.jit
def _compose_flow_backward_kernel(
    grad_logits_ptr,  # (B, K+1, N), contiguous, where NEED_LOGITS
    sums_ptr,  # (blocks, B, K, 4, 4), where NEED_SUMS
    grad_flow_ptr,  # (B, D, H, W, 3)
    grad_mask_ptr,  # (B, K+1, D, H, W), where MASK
    logits_ptr,  # (B, K+1, D, H, W)
    source_ptr, driving_ptr,  # (B, K, 3)
    affine_ptr,  # (B, K, 3, 3)
    blocks, N,
    flows,  # K+1
    size,
    grad_flow_strides, grad_mask_strides, logits_strides, source_strides, driving_strides, affine_strides,
    threshold: tl.float64,
    NEED_LOGITS: tl.constexpr, NEED_SUMS: tl.constexpr, MASK: tl.constexpr, AFFINE: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, n, inside = block(blocks, N, BLOCK, WIDE)
    z, y, x = voxel(n, size)
    dtype: tl.constexpr = source_ptr.dtype.element_ty
    threshold = tl.full((), threshold, dtype)
    grad_b, grad_z, grad_y, grad_x, axis = grad_flow_strides
    at = grad_flow_ptr + b * grad_b + (z * grad_z + y * grad_y + x * grad_x)
    g = (
        tl.load(at, mask=inside, other=0.0),
        tl.load(at + axis, mask=inside, other=0.0),
        tl.load(at + 2 * axis, mask=inside, other=0.0),
    )
    first = logits_ptr + b * logits_strides[0] + offset_of(z, y, x, logits_strides)
    first_grad = grad_mask_ptr + b * grad_mask_strides[0] + offset_of(z, y, x, grad_mask_strides)
    point = lattice_point(z, y, x, size, dtype)
    peak, scale = _softmax(first, logits_strides[1], flows, inside, dtype)

    dot = tl.zeros_like(peak)  # sum_k m_k u_k
    logits, grad_mask = first, first_grad
    for k in range(flows if NEED_LOGITS else 0):
        m = tl.exp(tl.load(logits, mask=inside, other=0.0).to(dtype) - peak) * scale
        flow = load_flow(
            source_ptr, driving_ptr, affine_ptr, source_strides, driving_strides, affine_strides, b, k, AFFINE
        )
        u = _upstream(grad_mask, g, flow_at(point, flow, AFFINE), m, inside, MASK)
        dot += tl.where(m < threshold, 0.0, m * u)
        logits += logits_strides[1]
        grad_mask += grad_mask_strides[1]

    logits, grad_mask = first, first_grad
    grad_logits = grad_logits_ptr + b * flows * N + n
    rows = tl.num_programs(0) // blocks * (flows - 1)  # through (B, K)
    sums_ptr += ((tl.program_id(0) % blocks).to(tl.int64) * rows + b * (flows - 1) - 1) * 16
    for k in range(flows):
        m = tl.exp(tl.load(logits, mask=inside, other=0.0).to(dtype) - peak) * scale
        kept = tl.where(m < threshold, 0.0, m)
        flow = load_flow(
            source_ptr, driving_ptr, affine_ptr, source_strides, driving_strides, affine_strides, b, k, AFFINE
        )
        if NEED_LOGITS:
            u = _upstream(grad_mask, g, flow_at(point, flow, AFFINE), m, inside, MASK)
            grad = m * (tl.where(m < threshold, 0.0, u) - dot)
            tl.store(grad_logits, grad.to(grad_logits_ptr.dtype.element_ty), mask=inside)
            grad_logits += N
        if NEED_SUMS and k > 0:  # the background has no keypoint
            pulled = kept * g[0], kept * g[1], kept * g[2], 0.0
            store_sums(sums_ptr + k * 16, outer(pulled, minus(point, flow[1])))
        logits += logits_strides[1]
        grad_mask += grad_mask_strides[1]


def compose_flow(
    flow: Tensor, mask: Tensor,
    mask_logits: Tensor, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None,
    mask_threshold: float, return_mask: bool,
) -> None:  # fmt: skip
    """Fills flow (B, D, H, W, 3), and mask (B, K+1, D, H, W) unless it is empty; both contiguous."""
    if mask_logits.numel() == 0:
        return
    launch_over_voxels(
        _compose_flow_kernel,
        (flow, mask),
        mask_logits,
        flows_of(kp_source, kp_driving, affine),
        (),
        mask_threshold,
        RETURN_MASK=mask.numel() > 0,
        WIDE=reaches_far(BLOCK, mask_logits[0, 0], flow[0]),
    )


def compose_flow_backward(
    grad_logits: Tensor, grad_source: Tensor, grad_driving: Tensor, grad_affine: Tensor,
    grad_flow: Tensor, grad_mask: Tensor,
    mask_logits: Tensor, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None,
    mask_threshold: float, return_mask: bool,
) -> None:  # fmt: skip
    """Fills the gradients that are not empty; `grad_mask` is empty where no mask was returned."""
    if mask_logits.numel() == 0:
        return
    blocks = triton.cdiv(mask_logits[0, 0].numel(), BLOCK)
    sums = kp_source.new_empty(blocks, *kp_source.shape[:2], 4, 4)
    need_sums = any(grad.numel() for grad in (grad_source, grad_driving, grad_affine))
    masked = grad_mask.numel() > 0
    launch_over_voxels(
        _compose_flow_backward_kernel,
        (grad_logits, sums, grad_flow, grad_mask),
        mask_logits,
        flows_of(kp_source, kp_driving, affine),
        (grad_flow.stride(), grad_mask.stride() if masked else (0,) * 5),
        mask_threshold,
        SUM_WARPS,
        NEED_LOGITS=grad_logits.numel() > 0,
        NEED_SUMS=need_sums,
        MASK=masked,
        WIDE=reaches_far(BLOCK, mask_logits[0, 0], grad_flow[0], *([grad_mask[0, 0]] if masked else [])),
    )
    if need_sums:
        add_sums(grad_source, grad_driving, grad_affine, sums, affine)
