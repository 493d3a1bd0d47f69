# SPDX-License-Identifier: Apache-2.0
"""soft_argmax3d in Triton: means of p, and of nine maps, under a softmax over the volume.

A program goes through a part of one keypoint's volume with a streaming softmax, one in each thread; a second
kernel joins the parts in a fixed order. The gradient recomputes the means, then goes over the volume again.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fv2v_kernels.triton.launch import BLOCK, WARPS, blocks_a_program, reaches_far
from fv2v_kernels.triton.points import block, lattice_point, offset_of, points_of, voxel

PARTS = 64  # at most, of a keypoint's volume


@triton.jit
def _entries(maps, maps_c, point, inside, MAPS: tl.constexpr):
    """(4 or 16, BLOCK), what means are taken of: 1, x, y, z, and with maps these nine; then zeros."""
    entry = tl.arange(0, 16 if MAPS else 4)[:, None]
    others = tl.zeros_like(point[2])
    if MAPS:
        read = (entry >= 4) & (entry < 13) & inside
        others = tl.load(maps + (entry - 4) * maps_c, mask=read, other=0.0).to(point[2].dtype)
    third = tl.where(entry == 3, point[2], others)
    return tl.where(entry == 0, 1.0, tl.where(entry == 1, point[0], tl.where(entry == 2, point[1], third)))


@triton.jit
def _sums_kernel(
    peaks_ptr,  # (B, K, PARTS): the largest logit of each part
    sums_ptr,  # (B, K, 16, PARTS): of exponentials relative to it, times the entries
    logits_ptr,  # (B, K, D, H, W)
    maps_ptr,  # (B, 9K, D, H, W), where MAPS
    blocks, parts, N,
    K, size,
    logits_strides, maps_strides,
    sharpness: tl.float64,  # 1 / temperature
    MAPS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(0) // parts).to(tl.int64)  # through (B, K)
    part = tl.program_id(0) % parts
    dtype: tl.constexpr = sums_ptr.dtype.element_ty
    sharpness = tl.full((), sharpness, dtype)
    logits_ptr += row // K * logits_strides[0] + row % K * logits_strides[1]
    maps_ptr += row // K * maps_strides[0] + row % K * 9 * maps_strides[1]

    # finite, so that a first logit of -infinity is not subtracted from itself
    peak = tl.full([BLOCK], -1.7e308 if dtype == tl.float64 else -3.4e38, dtype)
    sums = tl.zeros([16 if MAPS else 4, BLOCK], dtype)
    for index in range(part, blocks, parts):
        n, inside = points_of(index, N, BLOCK, WIDE)
        z, y, x = voxel(n, size)
        at = logits_ptr + offset_of(z, y, x, logits_strides)
        logit = tl.load(at, mask=inside, other=float("-inf")).to(dtype)
        higher = tl.maximum(peak, logit)
        decay, m = tl.exp((peak - higher) * sharpness), tl.exp((logit - higher) * sharpness)
        point = lattice_point(z, y, x, size, dtype)
        at = maps_ptr + offset_of(z, y, x, maps_strides)
        sums = sums * decay + m * _entries(at, maps_strides[1], point, inside, MAPS)
        peak = higher

    highest = tl.max(peak, axis=0)
    tl.store(peaks_ptr + row * PARTS + part, highest)
    to = sums_ptr + (row * 16 + tl.arange(0, 16 if MAPS else 4)) * PARTS + part
    tl.store(to, tl.sum(sums * tl.exp((peak - highest) * sharpness), axis=1))


@triton.jit
def _means_kernel(
    means_ptr,  # (B, K, 16): of the entries; in place of the first the sum of exponentials
    peak_ptr,  # (B, K): the largest logit
    peaks_ptr,  # (B, K, PARTS)
    sums_ptr,  # (B, K, 16, PARTS)
    parts,
    sharpness: tl.float64,
    MAPS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    dtype: tl.constexpr = sums_ptr.dtype.element_ty
    part = tl.arange(0, PARTS)
    peak = tl.load(peaks_ptr + row * PARTS + part, mask=part < parts, other=float("-inf"))
    highest = tl.max(peak, axis=0)
    scale = tl.exp((peak - highest) * tl.full((), sharpness, dtype))
    entry = tl.arange(0, 16 if MAPS else 4)
    at = sums_ptr + (row * 16 + entry[:, None]) * PARTS + part
    sums = tl.sum(tl.load(at, mask=part < parts, other=0.0).to(tl.float64) * scale, axis=1)
    total = tl.sum(tl.where(entry == 0, sums, 0.0), axis=0)
    tl.store(means_ptr + row * 16 + entry, tl.where(entry == 0, total, sums / total).to(dtype))
    tl.store(peak_ptr + row, highest)


@triton.jit
def _soft_argmax3d_backward_kernel(
    grad_logits_ptr,  # (B, K, N), contiguous, where NEED_LOGITS    N = D H W
    grad_maps_ptr,  # (B, 9K, N), contiguous, where NEED_MAPS
    grad_keypoints_ptr,  # (B, K, 3)
    grad_jacobians_ptr,  # (B, K, 3, 3), where MAPS
    means_ptr,  # (B, K, 16)
    peak_ptr,  # (B, K)
    logits_ptr,  # (B, K, D, H, W)
    maps_ptr,  # (B, 9K, D, H, W), where MAPS
    blocks, N,
    K, size,
    grad_keypoints_strides, grad_jacobians_strides, logits_strides, maps_strides,
    sharpness: tl.float64,
    NEED_LOGITS: tl.constexpr, NEED_MAPS: tl.constexpr, MAPS: tl.constexpr, WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row, n, inside = block(blocks, N, BLOCK, WIDE)  # through (B, K)
    b, k = row // K, row % K
    dtype: tl.constexpr = means_ptr.dtype.element_ty
    sharpness = tl.full((), sharpness, dtype)
    z, y, x = voxel(n, size)
    at = logits_ptr + b * logits_strides[0] + k * logits_strides[1] + offset_of(z, y, x, logits_strides)
    logit = tl.load(at, mask=inside, other=float("-inf")).to(dtype)
    m = tl.exp((logit - tl.load(peak_ptr + row)) * sharpness) / tl.load(means_ptr + row * 16)

    entry = tl.arange(0, 16 if MAPS else 4)[:, None]
    grad_b, grad_k, axis = grad_keypoints_strides
    at = grad_keypoints_ptr + b * grad_b + k * grad_k + (entry - 1) * axis
    g = tl.load(at, mask=(entry >= 1) & (entry < 4), other=0.0)
    if MAPS:
        grad_b, grad_k, grad_row, grad_column = grad_jacobians_strides
        at = grad_jacobians_ptr + b * grad_b + k * grad_k
        at += (entry - 4) // 3 * grad_row + (entry - 4) % 3 * grad_column
        g += tl.load(at, mask=(entry >= 4) & (entry < 13), other=0.0)
    if NEED_LOGITS:
        point = lattice_point(z, y, x, size, dtype)
        at = maps_ptr + b * maps_strides[0] + k * 9 * maps_strides[1] + offset_of(z, y, x, maps_strides)
        mean = tl.load(means_ptr + row * 16 + entry, mask=(entry >= 1) & (entry < 13), other=0.0)
        pulled = tl.sum(g * (_entries(at, maps_strides[1], point, inside, MAPS) - mean), axis=0)
        grad = m * pulled * sharpness
        tl.store(grad_logits_ptr + row * N + n, grad.to(grad_logits_ptr.dtype.element_ty), mask=inside)
    if NEED_MAPS:
        to = grad_maps_ptr + (row * 9 + entry - 4) * N + n
        of_map = (entry >= 4) & (entry < 13) & inside
        tl.store(to, (m * g).to(grad_maps_ptr.dtype.element_ty), mask=of_map)


def _find_means(logits: Tensor, maps: Tensor | None, temperature: float, dtype: torch.dtype) -> list[Tensor]:
    """(B, K, 16), the sum of exponentials, the keypoint, the Jacobian; and (B, K), the largest logit."""
    batch, K, *size = logits.shape
    voxels, rows = logits[0, 0].numel(), batch * K
    blocks = triton.cdiv(voxels, BLOCK)
    parts = min(PARTS, triton.cdiv(blocks, blocks_a_program(rows * blocks, BLOCK, logits.device)))
    means, peak, peaks, sums = (
        logits.new_empty(batch, K, *shape, dtype=dtype) for shape in ((16,), (), (PARTS,), (16, PARTS))
    )
    given = logits if maps is None else maps
    with torch.cuda.device_of(logits):
        _sums_kernel[(rows * parts,)](
            peaks, sums, logits, given,
            blocks, parts, voxels,
            K, tuple(size),
            logits.stride(), given.stride(),
            1 / temperature,
            MAPS=maps is not None,
            WIDE=_wide(logits, maps),
            BLOCK=BLOCK,
            PARTS=PARTS,
            num_warps=WARPS,
        )  # fmt: skip
        _means_kernel[(rows,)](
            means, peak, peaks, sums, parts, 1 / temperature,
            MAPS=maps is not None,
            PARTS=PARTS,
            num_warps=WARPS,
        )  # fmt: skip
    return [means, peak]


def _wide(logits: Tensor, maps: Tensor | None) -> bool:
    return reaches_far(BLOCK, logits[0, 0], *([] if maps is None else [maps[0, :9]]))


def soft_argmax3d(
    keypoints: Tensor, jacobians: Tensor, logits: Tensor, jacobian_maps: Tensor | None, temperature: float
) -> None:
    """Fills keypoints (B, K, 3), and with maps jacobians (B, K, 3, 3), both contiguous."""
    if logits.numel() == 0:
        return
    means, _ = _find_means(logits, jacobian_maps, temperature, keypoints.dtype)
    keypoints.copy_(means[..., 1:4])
    if jacobians.numel():
        jacobians.copy_(means[..., 4:13].unflatten(-1, (3, 3)))


def soft_argmax3d_backward(
    grad_logits: Tensor,
    grad_maps: Tensor,
    grad_keypoints: Tensor,
    grad_jacobians: Tensor,
    logits: Tensor,
    jacobian_maps: Tensor | None,
    temperature: float,
) -> None:
    """Fills the gradients, contiguous and in the dtype of the logits, that are not empty."""
    if logits.numel() == 0:
        return
    batch, K, *size = logits.shape
    voxels = logits[0, 0].numel()
    blocks = triton.cdiv(voxels, BLOCK)
    means, peak = _find_means(logits, jacobian_maps, temperature, grad_keypoints.dtype)
    maps = logits if jacobian_maps is None else jacobian_maps
    with torch.cuda.device_of(logits):
        _soft_argmax3d_backward_kernel[(batch * K * blocks,)](
            grad_logits, grad_maps, grad_keypoints, grad_jacobians,
            means, peak, logits, maps,
            blocks, voxels,
            K, tuple(size),
            grad_keypoints.stride(), (0,) * 4 if jacobian_maps is None else grad_jacobians.stride(),
            logits.stride(), maps.stride(),
            1 / temperature,
            NEED_LOGITS=grad_logits.numel() > 0,
            NEED_MAPS=grad_maps.numel() > 0,
            MAPS=jacobian_maps is not None,
            WIDE=_wide(logits, jacobian_maps),
            BLOCK=BLOCK,
            num_warps=WARPS,
        )  # fmt: skip
