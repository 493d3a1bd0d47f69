"""soft_argmax3d in Triton: means of p, and of nine maps, under a softmax over the volume.

A program goes through a part of one keypoint's volume with a streaming softmax, one in each thread; a second
kernel joins the parts in a fixed order. The gradient finds the means anew, then goes over the volume again.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fv2v_kernels.triton.launch import BLOCK, WARPS, blocks_a_program, reaches_far
from fv2v_kernels.triton.points import block, lattice_point, offset_of, voxel

PARTS = 64  # at most, of a keypoint's volume


@triton.jit
def _means_kernel(
    partials_ptr,  # (B, K, 16, PARTS): peak, total, sums of p (3) and of the maps (9), relative to the peak
    logits_ptr,  # (B, K, D, H, W)
    maps_ptr,  # (B, 9K, D, H, W), where MAPS
    blocks, parts, N,
    K, size,
    logits_strides, maps_strides,
    sharpness: tl.float64,  # 1 / temperature
    MAPS: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    PARTS: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(0) // parts).to(tl.int64)  # through (B, K)
    part = tl.program_id(0) % parts
    dtype: tl.constexpr = partials_ptr.dtype.element_ty
    sharpness = tl.full((), sharpness, dtype)
    logits_ptr += row // K * logits_strides[0] + row % K * logits_strides[1]
    maps_ptr += row // K * maps_strides[0] + row % K * 9 * maps_strides[1]

    # finite, so that a first logit of -infinity is not subtracted from itself
    peak = tl.full([BLOCK], -1.7e308 if dtype == tl.float64 else -3.4e38, dtype)
    total, x_sum, y_sum, z_sum = (
        tl.zeros_like(peak),
        tl.zeros_like(peak),
        tl.zeros_like(peak),
        tl.zeros_like(peak),
    )
    entry = tl.arange(0, 16)[:, None]
    map_sums = tl.zeros([16 if MAPS else 1, BLOCK], dtype)
    for step in range(part, blocks, parts):
        n = (step.to(tl.int64) if WIDE else step) * BLOCK + tl.arange(0, BLOCK)
        inside = n < N
        z, y, x = voxel(n, size)
        at = logits_ptr + offset_of(z, y, x, logits_strides)
        logit = tl.load(at, mask=inside, other=float("-inf")).to(dtype)
        higher = tl.maximum(peak, logit)
        decay, m = tl.exp((peak - higher) * sharpness), tl.exp((logit - higher) * sharpness)
        peak = higher
        point_x, point_y, point_z = lattice_point(z, y, x, size, dtype)
        total = total * decay + m
        x_sum, y_sum, z_sum = (
            x_sum * decay + m * point_x,
            y_sum * decay + m * point_y,
            z_sum * decay + m * point_z,
        )
        if MAPS:
            at = maps_ptr + offset_of(z, y, x, maps_strides)
            value = tl.load(at + entry * maps_strides[1], mask=(entry < 9) & inside, other=0.0)
            map_sums = map_sums * decay + m * value.to(dtype)

    highest = tl.max(peak, axis=0)
    scale = tl.exp((peak - highest) * sharpness)
    to = partials_ptr + row * 16 * PARTS + part
    tl.store(to, highest)
    tl.store(to + PARTS, tl.sum(total * scale, axis=0))
    tl.store(to + 2 * PARTS, tl.sum(x_sum * scale, axis=0))
    tl.store(to + 3 * PARTS, tl.sum(y_sum * scale, axis=0))
    tl.store(to + 4 * PARTS, tl.sum(z_sum * scale, axis=0))
    if MAPS:
        entry = tl.arange(0, 16)
        tl.store(to + (5 + entry) * PARTS, tl.sum(map_sums * scale, axis=1), mask=entry < 9)


@triton.jit
def _join_kernel(
    keypoints_ptr,  # (B, K, 3)
    jacobians_ptr,  # (B, K, 9), where MAPS
    softmax_ptr,  # (B, K, 2): the largest logit, and the sum of exponentials relative to it
    partials_ptr,  # (B, K, 16, PARTS)
    parts,
    sharpness: tl.float64,
    MAPS: tl.constexpr,
    PARTS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    dtype: tl.constexpr = partials_ptr.dtype.element_ty
    part = tl.arange(0, PARTS)
    at = partials_ptr + row * 16 * PARTS + part
    peak = tl.load(at, mask=part < parts, other=float("-inf"))
    highest = tl.max(peak, axis=0)
    scale = tl.exp((peak - highest) * tl.full((), sharpness, dtype)).to(tl.float64)
    total = tl.sum(scale * tl.load(at + PARTS, mask=part < parts, other=0.0), axis=0)
    tl.store(softmax_ptr + row * 2, highest)
    tl.store(softmax_ptr + row * 2 + 1, total.to(dtype))
    for axis in tl.static_range(3):
        mean = tl.sum(scale * tl.load(at + (2 + axis) * PARTS, mask=part < parts, other=0.0), axis=0) / total
        tl.store(keypoints_ptr + row * 3 + axis, mean.to(dtype))
    if MAPS:
        for entry in tl.static_range(9):
            mean = (
                tl.sum(scale * tl.load(at + (5 + entry) * PARTS, mask=part < parts, other=0.0), axis=0)
                / total
            )
            tl.store(jacobians_ptr + row * 9 + entry, mean.to(dtype))


@triton.jit
def _soft_argmax3d_backward_kernel(
    grad_logits_ptr,  # (B, K, N), contiguous, where NEED_LOGITS    N = D H W
    grad_maps_ptr,  # (B, 9K, N), contiguous, where NEED_MAPS
    grad_keypoints_ptr,  # (B, K, 3)
    grad_jacobians_ptr,  # (B, K, 3, 3), where MAPS
    keypoints_ptr,  # (B, K, 3), contiguous
    jacobians_ptr,  # (B, K, 9), contiguous, where MAPS
    softmax_ptr,  # (B, K, 2)
    logits_ptr,  # (B, K, D, H, W)
    maps_ptr,  # (B, 9K, D, H, W), where MAPS
    blocks, N,
    K, size,
    grad_keypoints_strides, grad_jacobians_strides, logits_strides, maps_strides,
    sharpness: tl.float64,
    NEED_LOGITS: tl.constexpr,
    NEED_MAPS: tl.constexpr,
    MAPS: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row, n, inside = block(blocks, N, BLOCK, WIDE)  # through (B, K)
    b, k = row // K, row % K
    dtype: tl.constexpr = keypoints_ptr.dtype.element_ty
    sharpness = tl.full((), sharpness, dtype)
    z, y, x = voxel(n, size)
    at = logits_ptr + b * logits_strides[0] + k * logits_strides[1] + offset_of(z, y, x, logits_strides)
    logit = tl.load(at, mask=inside, other=float("-inf")).to(dtype)
    m = tl.exp((logit - tl.load(softmax_ptr + row * 2)) * sharpness) / tl.load(softmax_ptr + row * 2 + 1)

    point = lattice_point(z, y, x, size, dtype)
    pulled = tl.zeros_like(m)  # g . (p - keypoints) + G . (maps_p - jacobians)
    grad_b, grad_k, grad_axis = grad_keypoints_strides
    for axis in tl.static_range(3):
        g = tl.load(grad_keypoints_ptr + b * grad_b + k * grad_k + axis * grad_axis)
        pulled += g * (point[axis] - tl.load(keypoints_ptr + row * 3 + axis))
    if MAPS:
        grad_b, grad_k, grad_row, grad_column = grad_jacobians_strides
        at = maps_ptr + b * maps_strides[0] + k * 9 * maps_strides[1] + offset_of(z, y, x, maps_strides)
        for entry in tl.static_range(9):
            to = grad_jacobians_ptr + b * grad_b + k * grad_k
            g = tl.load(to + entry // 3 * grad_row + entry % 3 * grad_column)
            if NEED_LOGITS:
                value = tl.load(at, mask=inside, other=0.0).to(dtype)
                pulled += g * (value - tl.load(jacobians_ptr + row * 9 + entry))
                at += maps_strides[1]
            if NEED_MAPS:
                to = grad_maps_ptr + (row * 9 + entry) * N + n
                tl.store(to, (m * g).to(grad_maps_ptr.dtype.element_ty), mask=inside)
    if NEED_LOGITS:
        grad = m * pulled * sharpness
        tl.store(grad_logits_ptr + row * N + n, grad.to(grad_logits_ptr.dtype.element_ty), mask=inside)


def soft_argmax3d(
    keypoints: Tensor, jacobians: Tensor, logits: Tensor, jacobian_maps: Tensor | None, temperature: float
) -> None:
    """Fills keypoints (B, K, 3), and with maps jacobians (B, K, 3, 3), both contiguous."""
    if logits.numel():
        _find_means(keypoints, jacobians, logits, jacobian_maps, temperature)


def _find_means(
    keypoints: Tensor, jacobians: Tensor, logits: Tensor, maps: Tensor | None, temperature: float
) -> Tensor:
    """Fills both, and returns the softmax's (B, K, 2): the largest logit, the sum of exponentials."""
    batch, K, *size = logits.shape
    voxels, rows = logits[0, 0].numel(), batch * K
    blocks = triton.cdiv(voxels, BLOCK)
    parts = triton.cdiv(blocks, blocks_a_program(rows * blocks, BLOCK, logits.device))
    parts = min(PARTS, parts)
    partials = keypoints.new_empty(batch, K, 16, PARTS)
    softmax = keypoints.new_empty(batch, K, 2)
    given = logits if maps is None else maps
    with torch.cuda.device_of(logits):
        _means_kernel[(rows * parts,)](
            partials, logits, given,
            blocks, parts, voxels,
            K, tuple(size),
            logits.stride(), given.stride(),
            1 / temperature,
            MAPS=maps is not None,
            WIDE=_wide(logits, given),
            BLOCK=BLOCK,
            PARTS=PARTS,
            num_warps=WARPS,
        )  # fmt: skip
        _join_kernel[(rows,)](
            keypoints, jacobians, softmax, partials, parts, 1 / temperature,
            MAPS=maps is not None,
            PARTS=PARTS,
            num_warps=1,
        )  # fmt: skip
    return softmax


def _wide(logits: Tensor, maps: Tensor) -> bool:
    return reaches_far(BLOCK, logits[0, 0], maps[0, : 16 if maps is not logits else 1])


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
    keypoints = grad_keypoints.new_empty(batch, K, 3)
    jacobians = grad_keypoints.new_empty(batch, K, 9)
    softmax = _find_means(keypoints, jacobians, logits, jacobian_maps, temperature)
    maps = logits if jacobian_maps is None else jacobian_maps
    with torch.cuda.device_of(logits):
        _soft_argmax3d_backward_kernel[(batch * K * blocks,)](
            grad_logits, grad_maps, grad_keypoints, grad_jacobians,
            keypoints, jacobians, softmax, logits, maps,
            blocks, voxels,
            K, tuple(size),
            grad_keypoints.stride(), (0,) * 4 if jacobian_maps is None else grad_jacobians.stride(),
            logits.stride(), maps.stride(),
            1 / temperature,
            NEED_LOGITS=grad_logits.numel() > 0,
            NEED_MAPS=grad_maps.numel() > 0,
            MAPS=jacobian_maps is not None,
            WIDE=_wide(logits, maps),
            BLOCK=BLOCK,
            num_warps=WARPS,
        )  # fmt: skip
