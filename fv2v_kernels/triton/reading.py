# SPDX-License-Identifier: Apache-2.0
"""What kernels share about reading a feature volume between its voxels, and about the gradient of that.

Functions for kernels to call. Corner i of the eight around a point takes its x from bit 0, y from bit 1 and z
from bit 2. Two ways through memory, chosen by CHANNELS:

1: a point a thread, channels one after another. Tensors over corners and points are (8, BLOCK); the eight
corners of a point sit in its thread's registers, and summing over them exchanges nothing.

Above 1, for channels that lie side by side: so many of them at a time, in tiles (BLOCK, CHANNELS), corners
one after another. The number of channels is a multiple of it.
"""

import triton
import triton.language as tl

from fv2v_kernels.triton.points import offset_of


@triton.jit
def _per_unit(size, ALIGN_CORNERS: tl.constexpr):
    """Voxels per unit of coordinate."""
    return (size - 1) * 0.5 if ALIGN_CORNERS else size * 0.5


@triton.jit
def _between(coordinate, size, ALIGN_CORNERS: tl.constexpr):
    """The voxel before a coordinate, and how far past it the coordinate lies, in [0, 1)."""
    at = (coordinate + 1) * _per_unit(size, ALIGN_CORNERS) - (0.0 if ALIGN_CORNERS else 0.5)
    # NaN fails both comparisons; infinity has no integer; both go where neither corner is inside
    at = tl.where((at >= -1) & (at < size), at, -2.0)
    low = tl.floor(at)
    return low.to(tl.int32), at - low


@triton.jit
def cell(point, size, ALIGN_CORNERS: tl.constexpr):
    """The first of the eight voxels around each point, and how far past it the point lies, by z, y, x."""
    D, H, W = size
    low_x, past_x = _between(point[0], W, ALIGN_CORNERS)
    low_y, past_y = _between(point[1], H, ALIGN_CORNERS)
    low_z, past_z = _between(point[2], D, ALIGN_CORNERS)
    return (low_z, low_y, low_x), (past_z, past_y, past_x)


@triton.jit
def corner(i, low, past, inside, size, WIDE: tl.constexpr):
    """Corner i: its voxel z, y, x, its weights by axis, whether to read it. For i of (8, 1), all eight."""
    D, H, W = size
    right, below, behind = i & 1, (i >> 1) & 1, i >> 2
    z, y, x = low[0] + behind, low[1] + below, low[2] + right
    weight_z = tl.where(behind == 1, past[0], 1 - past[0])
    weight_y = tl.where(below == 1, past[1], 1 - past[1])
    weight_x = tl.where(right == 1, past[2], 1 - past[2])
    read = (x >= 0) & (x < W) & (y >= 0) & (y < H) & (z >= 0) & (z < D) & inside
    if WIDE:
        z, y, x = z.to(tl.int64), y.to(tl.int64), x.to(tl.int64)
    return (z, y, x), (weight_z, weight_y, weight_x), read


@triton.jit
def sample(
    out,  # (BLOCK,) where the first channel goes; channels lie `out_step` apart
    out_step,
    features_ptr,  # (C, D, H, W), the first channel of one sample
    point,
    inside,
    channels,  # how many to read
    size, features_strides,
    ALIGN_CORNERS: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Read features at each point that is inside, and write them."""
    low, past = cell(point, size, ALIGN_CORNERS)
    channel_step = features_strides[1]
    if CHANNELS == 1:
        where, weights, read = corner(tl.arange(0, 8)[:, None], low, past, inside, size, WIDE)
        weight = weights[0] * weights[1] * weights[2]
        offset = offset_of(where[0], where[1], where[2], features_strides)
        for _ in range(channels):
            value = tl.load(features_ptr + offset, mask=read, other=0.0).to(weight.dtype)
            tl.store(out, tl.sum(weight * value, axis=0).to(out.dtype.element_ty), mask=inside)
            features_ptr += channel_step
            out += out_step
    else:
        for first in range(0, channels, CHANNELS):
            channel = first + tl.arange(0, CHANNELS)[None, :]
            total = tl.zeros([out.shape[0], CHANNELS], past[0].dtype)
            for i in tl.static_range(8):
                where, weights, read = corner(i, low, past, inside, size, WIDE)
                weight = weights[0] * weights[1] * weights[2]
                offset = offset_of(where[0], where[1], where[2], features_strides)
                at = features_ptr + (offset[:, None] + channel * channel_step)
                value = tl.load(at, mask=read[:, None], other=0.0)
                total += weight[:, None] * value.to(total.dtype)
            at = out[:, None] + channel * out_step
            tl.store(at, total.to(out.dtype.element_ty), mask=inside[:, None])


@triton.jit
def pull(
    grad_features_ptr,  # (C, D, H, W), contiguous: as features, added to where NEED_FEATURES
    upstream,  # (BLOCK,) where the first channel's gradients lie; channels lie `upstream_step` apart
    upstream_step,
    features_ptr,  # (C, D, H, W), the first channel of one sample
    point,
    inside,
    channels,
    size, features_strides,
    NEED_FEATURES: tl.constexpr,  # with CHANNELS = 1 only: neighbouring points add side by side
    NEED_POINT: tl.constexpr, ALIGN_CORNERS: tl.constexpr, CHANNELS: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """The gradient of `sample`: adds to the features' and returns the points', where not needed 0."""
    low, past = cell(point, size, ALIGN_CORNERS)
    channel_step = features_strides[1]
    D, H, W = size
    if CHANNELS == 1:
        i = tl.arange(0, 8)[:, None]
        where, weights, read = corner(i, low, past, inside, size, WIDE)
        weight = weights[0] * weights[1] * weights[2]
        z, y, x = where
        offset = offset_of(z, y, x, features_strides)
        grad_offset = (z * H + y) * W + x
        volume = tl.cast(D, tl.int64) * H * W
        # summed over channels at each corner first, slopes last: 8 multiplications a channel in place of 24
        at_corner = tl.zeros([8, upstream.shape[0]], weight.dtype)
        for _ in range(channels):
            grad = tl.load(upstream, mask=inside, other=0.0).to(weight.dtype)
            if NEED_POINT:
                value = tl.load(features_ptr + offset, mask=read, other=0.0)
                at_corner += tl.where(read, grad * value.to(weight.dtype), 0.0)  # infinity times 0 is NaN
                features_ptr += channel_step
            if NEED_FEATURES:
                tl.atomic_add(grad_features_ptr + grad_offset, weight * grad, mask=read, sem="relaxed")
                grad_features_ptr += volume
            upstream += upstream_step
        z, y, x = _slopes(i, weights, at_corner)
        z, y, x = tl.sum(z, axis=0), tl.sum(y, axis=0), tl.sum(x, axis=0)
    else:
        z, y, x = tl.zeros_like(past[0]), tl.zeros_like(past[0]), tl.zeros_like(past[0])
        for first in range(0, channels, CHANNELS):
            channel = first + tl.arange(0, CHANNELS)[None, :]
            grad = tl.load(upstream[:, None] + channel * upstream_step, mask=inside[:, None], other=0.0)
            grad = grad.to(z.dtype)
            for i in tl.static_range(8):
                where, weights, read = corner(i, low, past, inside, size, WIDE)
                offset = offset_of(where[0], where[1], where[2], features_strides)
                at = features_ptr + (offset[:, None] + channel * channel_step)
                value = tl.load(at, mask=read[:, None], other=0.0).to(z.dtype)
                at_corner = tl.where(read, tl.sum(grad * value, axis=1), 0.0)
                along_z, along_y, along_x = _slopes(i, weights, at_corner)
                z, y, x = z + along_z, y + along_y, x + along_x
    return (
        x * _per_unit(W, ALIGN_CORNERS),
        y * _per_unit(H, ALIGN_CORNERS),
        z * _per_unit(D, ALIGN_CORNERS),
    )


@triton.jit
def _slopes(i, weights, at_corner):
    """What corner i sends along z, y and x, in voxels."""
    right, below, behind = (i & 1) * 2 - 1, ((i >> 1) & 1) * 2 - 1, (i >> 2) * 2 - 1
    return (
        at_corner * (weights[1] * weights[2]) * behind,
        at_corner * (weights[0] * weights[2]) * below,
        at_corner * (weights[0] * weights[1]) * right,
    )
