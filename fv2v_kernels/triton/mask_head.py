# SPDX-License-Identifier: Apache-2.0
"""mask_head in Triton: the sum of the taps, its softmax and blend, and the read at it, in one kernel.

A program serves a block of voxels of one sample, all channels. It goes through the flows once, a tile of
flows by voxels at a time: the softmax is streaming, and so is the blend, which shrinks as larger logits come.
Where masks are wanted themselves, to be compared or stored, it goes through them again. The fast axis of a
tile is that of flows where they lie side by side in memory, else that of voxels. The gradient is put together
in Python.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from fv2v_kernels.triton.compose_warp import fill, read_at
from fv2v_kernels.triton.launch import BLOCK, reaches_far
from fv2v_kernels.triton.points import block, flow_at, lattice_point, load_flow, voxel

TILE_FLOWS = 2  # a tile: all taps of so many are on their way at a time, in few registers


@triton.jit
def _tap(taps, off, taps_t, taps_x, x, W, inside, known, dtype: tl.constexpr, FLOW_AXIS: tl.constexpr):
    """What one tap, `off` the middle, adds to a tile."""
    read = tl.expand_dims(inside & (x + off >= 0) & (x + off < W), FLOW_AXIS) & known
    return tl.load(taps + (off * taps_t + off * taps_x), mask=read, other=0.0).to(dtype)


@triton.jit
def _sum_taps(
    taps,  # where the tile of the middle tap lies; taps lie `taps_t` apart, voxels of a row `taps_x`
    taps_t, taps_x,
    x, W, inside, known,
    dtype: tl.constexpr, TAPS: tl.constexpr, FLOW_AXIS: tl.constexpr,
    AT_ONCE: tl.constexpr,  # all loads on their way together; else one after another, in fewer registers
):  # fmt: skip
    """The logits of a tile: -infinity, or nearly, where no flow is known."""
    logits = tl.where(known, tl.zeros(taps.shape, dtype), -1.7e308 if dtype == tl.float64 else -3.4e38)
    if AT_ONCE:
        for t in tl.static_range(TAPS):
            logits += _tap(taps, t - TAPS // 2, taps_t, taps_x, x, W, inside, known, dtype, FLOW_AXIS)
    else:
        for t in range(TAPS):
            logits += _tap(taps, t - TAPS // 2, taps_t, taps_x, x, W, inside, known, dtype, FLOW_AXIS)
    return logits


@triton.jit
def _flows(
    source_ptr, driving_ptr, affine_ptr, source_strides, driving_strides, affine_strides, b, k, known, point,
    AFFINE: tl.constexpr, FLOW_AXIS: tl.constexpr,
):  # fmt: skip
    """The flows of a tile at its points, (x, y, z)."""
    x, y, z = point
    point = tl.expand_dims(x, FLOW_AXIS), tl.expand_dims(y, FLOW_AXIS), tl.expand_dims(z, FLOW_AXIS)
    flow = load_flow(
        source_ptr, driving_ptr, affine_ptr, source_strides, driving_strides, affine_strides,
        b, tl.where(known, k, 0), AFFINE,
    )  # fmt: skip
    return flow_at(point, flow, AFFINE)


@triton.jit
def _add(point, shrunk, weight, along, FLOW_AXIS: tl.constexpr):
    """The blend so far, and what the flows of a tile add to it."""
    return (
        point[0] * shrunk + tl.sum(weight * along[0], axis=FLOW_AXIS),
        point[1] * shrunk + tl.sum(weight * along[1], axis=FLOW_AXIS),
        point[2] * shrunk + tl.sum(weight * along[2], axis=FLOW_AXIS),
    )


@triton.jit
def _mask_head_kernel(
    out_ptr, flow_ptr, mask_ptr, features_ptr,  # as in compose_warp
    taps_ptr,  # (B, T, K+1, D, H, W)
    source_ptr, driving_ptr,  # (B, K, 3)
    affine_ptr,  # (B, K, 3, 3)
    blocks, N,  # N = D H W
    flows,  # K+1
    size, C,
    out_strides, features_strides, taps_strides, source_strides, driving_strides, affine_strides,
    threshold: tl.float64,
    AFFINE: tl.constexpr, RETURN_FLOW: tl.constexpr, RETURN_MASK: tl.constexpr,
    MASKS: tl.constexpr,  # whether masks are wanted themselves
    ALIGN_CORNERS: tl.constexpr, TAPS: tl.constexpr, TILE_FLOWS: tl.constexpr,
    FLOW_AXIS: tl.constexpr,  # of a tile: 1 where flows lie side by side in memory, 0 where points do
    CHANNELS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, n, inside = block(blocks, N, BLOCK, WIDE)
    z, y, x = voxel(n, size)
    dtype: tl.constexpr = source_ptr.dtype.element_ty
    taps_b, taps_t, taps_k, taps_z, taps_y, taps_x = taps_strides
    offset = tl.expand_dims(z * taps_z + y * taps_y + x * taps_x, FLOW_AXIS)
    taps = taps_ptr + b * taps_b + (TAPS // 2) * taps_t + offset
    place = lattice_point(z, y, x, size, dtype)
    peak = tl.full([BLOCK], -1.7e308 if dtype == tl.float64 else -3.4e38, dtype)
    total = tl.zeros_like(peak)
    point = tl.zeros_like(peak), tl.zeros_like(peak), tl.zeros_like(peak)
    for first in range(0, flows, TILE_FLOWS):
        k = first + tl.expand_dims(tl.arange(0, TILE_FLOWS), 1 - FLOW_AXIS)
        known = k < flows
        at = taps + (k.to(tl.int64) if WIDE else k) * taps_k
        logits = _sum_taps(at, taps_t, taps_x, x, size[2], inside, known, dtype, TAPS, FLOW_AXIS, not MASKS)
        higher = tl.maximum(peak, tl.max(logits, axis=FLOW_AXIS))
        shrunk = tl.exp(peak - higher)
        weight = tl.where(known, tl.exp(logits - tl.expand_dims(higher, FLOW_AXIS)), 0.0)
        peak, total = higher, total * shrunk + tl.sum(weight, axis=FLOW_AXIS)
        if not MASKS:
            along = _flows(
                source_ptr, driving_ptr, affine_ptr, source_strides, driving_strides, affine_strides,
                b, k, known, place, AFFINE, FLOW_AXIS,
            )  # fmt: skip
            point = _add(point, shrunk, weight, along, FLOW_AXIS)
    scale = 1 / total
    if MASKS:
        threshold = tl.full((), threshold, dtype)
        for first in range(0, flows, TILE_FLOWS):
            k = first + tl.expand_dims(tl.arange(0, TILE_FLOWS), 1 - FLOW_AXIS)
            known = k < flows
            wide_k = k.to(tl.int64) if WIDE else k
            logits = _sum_taps(
                taps + wide_k * taps_k, taps_t, taps_x, x, size[2], inside, known,
                dtype, TAPS, FLOW_AXIS, False,
            )  # fmt: skip
            mask = tl.exp(logits - tl.expand_dims(peak, FLOW_AXIS)) * tl.expand_dims(scale, FLOW_AXIS)
            mask = tl.where((mask < threshold) | (k >= flows), 0.0, mask)
            if RETURN_MASK:
                at = mask_ptr + b * flows * N + (tl.expand_dims(n, FLOW_AXIS) + wide_k * N)
                tl.store(
                    at, mask.to(mask_ptr.dtype.element_ty), mask=tl.expand_dims(inside, FLOW_AXIS) & known
                )
            along = _flows(
                source_ptr, driving_ptr, affine_ptr, source_strides, driving_strides, affine_strides,
                b, k, known, place, AFFINE, FLOW_AXIS,
            )  # fmt: skip
            point = _add(point, 1.0, mask, along, FLOW_AXIS)
    else:
        point = point[0] * scale, point[1] * scale, point[2] * scale
    read_at(
        out_ptr, flow_ptr, features_ptr, b, n, inside, N, point, size, C, out_strides, features_strides,
        RETURN_FLOW, ALIGN_CORNERS, CHANNELS, WIDE,
    )  # fmt: skip


def mask_head(
    out: Tensor, flow: Tensor, mask: Tensor, features: Tensor, mask_taps: Tensor, *arguments: Any
) -> None:
    """Fills out (B, C, D, H, W) by its strides, and flow and mask, contiguous, unless they are empty."""
    if out.numel() == 0:
        return
    *_, mask_threshold = arguments[:5]
    taps, slots = mask_taps.shape[1:3]
    wide = reaches_far(BLOCK, features[0, 0], mask_taps[0], out[0, 0])
    fill(
        _mask_head_kernel, out, flow, mask, features, mask_taps, *arguments,
        MASKS=mask.numel() > 0 or mask_threshold > 0,
        TAPS=taps,
        TILE_FLOWS=TILE_FLOWS,
        FLOW_AXIS=int(mask_taps.stride(2) == 1),
        WIDE=wide or (3 + TILE_FLOWS + slots) * mask_taps[0, 0, 0].numel() >= 2**31,
    )  # fmt: skip
