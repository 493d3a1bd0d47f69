# SPDX-License-Identifier: Apache-2.0
"""What modulate's kernels share: parts of planes, tiles of their pixels, and what parts add up to.

A group of planes is one channel of a sample, or as many as `CHANNELS` that lie side by side; a tile of it is
(pixels, CHANNELS). Pictures (B, C, H, W) come with the strides of (B, C, 1, H, W), results with those of
(B, C, H W).
"""

import triton
import triton.language as tl


@triton.jit
def part_of_planes(parts, share, blocks):
    """The group of planes that this program serves, through (B, groups), its part, and the tiles of that."""
    part = tl.program_id(0) % parts
    row = (tl.program_id(0) // parts).to(tl.int64)
    return row, part, part * share, tl.minimum((part + 1) * share, blocks)


@triton.jit
def origin(pointer, row, groups, strides, CHANNELS: tl.constexpr):
    """Where a group of planes begins."""
    return pointer + (row // groups * strides[0] + row % groups * CHANNELS * strides[1])


@triton.jit
def load_tile(origin, n, inside, width, strides, dtype: tl.constexpr, CHANNELS: tl.constexpr):
    """A tile (pixels, CHANNELS); pixels that are not inside are 0."""
    offset = (n // width * strides[3] + n % width * strides[4])[:, None]
    channel = tl.arange(0, CHANNELS)[None, :]
    return tl.load(origin + (offset + channel * strides[1]), mask=inside[:, None], other=0.0).to(dtype)


@triton.jit
def store_tile(origin, n, inside, strides, tile, CHANNELS: tl.constexpr):
    offset = (n * strides[2])[:, None] + tl.arange(0, CHANNELS)[None, :] * strides[1]
    tl.store(origin + offset, tile.to(origin.dtype.element_ty), mask=inside[:, None])


@triton.jit
def of_part(pointer, row, part, KINDS: tl.constexpr, CHANNELS: tl.constexpr, PARTS: tl.constexpr):
    """Where numbers of one part lie in (B C, KINDS, PARTS): the first kind of each plane in a group."""
    return pointer + (row * CHANNELS + tl.arange(0, CHANNELS)) * (KINDS * PARTS) + part


@triton.jit
def of_parts(
    pointer, row, kind, parts, KINDS: tl.constexpr, CHANNELS: tl.constexpr, PARTS: tl.constexpr
):  # fmt: skip
    """(CHANNELS, PARTS): one kind of number of all parts; 0 where there is none."""
    plane, part = tl.arange(0, CHANNELS)[:, None], tl.arange(0, PARTS)[None, :]
    at = pointer + (row * CHANNELS + plane) * (KINDS * PARTS) + kind * PARTS + part
    return tl.load(at, mask=part < parts, other=0.0).to(tl.float64)


@triton.jit
def statistics(
    moments_ptr,  # (B C, 3, PARTS), as _moments_kernel leaves them
    row, parts, pixels,  # pixels a part
    N, eps,
    CHANNELS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """mean and 1 / sqrt(var + eps) of each plane in a group, (1, CHANNELS)."""
    part = tl.arange(0, PARTS)[None, :]
    count = tl.where(part < parts, tl.minimum(pixels, N - part * pixels), 0).to(tl.float64)
    pivot = of_parts(moments_ptr, row, 0, parts, 3, CHANNELS, PARTS)
    shift = of_parts(moments_ptr, row, 1, parts, 3, CHANNELS, PARTS)
    squares = of_parts(moments_ptr, row, 2, parts, 3, CHANNELS, PARTS)
    mean = tl.sum(count * pivot + shift, axis=1) / N
    further = pivot - mean[:, None]
    rest = tl.sum(squares + 2 * further * shift + count * further * further, axis=1)
    scale = 1 / tl.sqrt(tl.where(rest < 0, 0.0, rest) / N + eps)  # NaN stays NaN
    dtype: tl.constexpr = moments_ptr.dtype.element_ty
    return mean.to(dtype)[None, :], scale.to(dtype)[None, :]
