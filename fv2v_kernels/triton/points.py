# SPDX-License-Identifier: Apache-2.0
"""What kernels share about points: blocks of them, their places on the corner lattice, flows of keypoints.

Functions for kernels to call. A point and an offset are tuples (x, y, z), a size is (D, H, W); strides are
tuples in the order of a tensor's dimensions.
"""

import triton
import triton.language as tl


@triton.jit
def block(blocks, N, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    """The row of blocks that this program serves, its points n in it, and which of these exist.

    Rows and blocks share the first axis of the launch, the only one that may exceed 65535.
    """
    n, inside = points_of(tl.program_id(0) % blocks, N, BLOCK, WIDE)
    return (tl.program_id(0) // blocks).to(tl.int64), n, inside


@triton.jit
def points_of(index, N, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    """The points n of a block, and which of these exist."""
    if WIDE:
        index = index.to(tl.int64)
    n = index * BLOCK + tl.arange(0, BLOCK)
    return n, n < N


@triton.jit
def voxel(n, size):
    """z, y and x of voxel n."""
    _, H, W = size
    return n // (H * W), n // W % H, n % W


@triton.jit
def offset_of(z, y, x, strides):
    """Of a voxel in a tensor (B, C, D, H, W), within one channel."""
    _, _, stride_z, stride_y, stride_x = strides
    return z * stride_z + y * stride_y + x * stride_x


@triton.jit
def lattice_point(z, y, x, size, dtype: tl.constexpr):
    """Where a voxel sits on the corner lattice."""
    D, H, W = size
    return _place(x, W, dtype), _place(y, H, dtype), _place(z, D, dtype)


@triton.jit
def _place(i, n, dtype: tl.constexpr):
    last = tl.full((), 1, dtype) * tl.maximum(n - 1, 1)
    # the usual division of float32 is off by a unit in the last place or two, which moves the last voxel
    twice = (2 * i).to(dtype)
    return (twice / last if dtype == tl.float64 else tl.div_rn(twice, last)) - tl.minimum(n - 1, 1)


@triton.jit
def load_flow(
    source_ptr,  # (B, K, 3)
    driving_ptr,  # (B, K, 3)
    affine_ptr,  # (B, K, 3, 3), read where AFFINE
    source_strides, driving_strides, affine_strides,
    b, k,
    AFFINE: tl.constexpr,
):  # fmt: skip
    """x_s, x_d and A of flow k; flow 0, the background, has 0, 0 and the identity."""
    source_b, source_k, source_axis = source_strides
    driving_b, driving_k, driving_axis = driving_strides
    source = _load_point(source_ptr + b * source_b + (k - 1) * source_k, source_axis, k)
    driving = _load_point(driving_ptr + b * driving_b + (k - 1) * driving_k, driving_axis, k)
    matrix = source  # not read without AFFINE
    if AFFINE:
        affine_b, affine_k, row, column = affine_strides
        at = affine_ptr + b * affine_b + (k - 1) * affine_k
        matrix = (
            tl.load(at, mask=k > 0, other=1.0),
            tl.load(at + column, mask=k > 0, other=0.0),
            tl.load(at + 2 * column, mask=k > 0, other=0.0),
            tl.load(at + row, mask=k > 0, other=0.0),
            tl.load(at + row + column, mask=k > 0, other=1.0),
            tl.load(at + row + 2 * column, mask=k > 0, other=0.0),
            tl.load(at + 2 * row, mask=k > 0, other=0.0),
            tl.load(at + 2 * row + column, mask=k > 0, other=0.0),
            tl.load(at + 2 * row + 2 * column, mask=k > 0, other=1.0),
        )
    return source, driving, matrix


@triton.jit
def _load_point(at, axis, k):
    return (
        tl.load(at, mask=k > 0, other=0.0),
        tl.load(at + axis, mask=k > 0, other=0.0),
        tl.load(at + 2 * axis, mask=k > 0, other=0.0),
    )


@triton.jit
def store_point(at, point, inside):
    """(x, y, z), side by side."""
    tl.store(at, point[0], mask=inside)
    tl.store(at + 1, point[1], mask=inside)
    tl.store(at + 2, point[2], mask=inside)


@triton.jit
def minus(point, origin):
    return point[0] - origin[0], point[1] - origin[1], point[2] - origin[2]


@triton.jit
def flow_at(point, flow, AFFINE: tl.constexpr):
    """A (p - x_d) + x_s."""
    source, driving, A = flow
    x, y, z = minus(point, driving)
    if AFFINE:
        x, y, z = (
            A[0] * x + A[1] * y + A[2] * z,
            A[3] * x + A[4] * y + A[5] * z,
            A[6] * x + A[7] * y + A[8] * z,
        )
    return x + source[0], y + source[1], z + source[2]


@triton.jit
def outer(g, offset):
    """(4, 4, BLOCK): row i holds g[i] times 1, x, y and z of `offset`; g has four parts.

    With one point a thread, all of these sit in that thread's registers.
    """
    row = tl.arange(0, 4)[:, None, None]
    g = tl.where(row == 0, g[0], tl.where(row == 1, g[1], tl.where(row == 2, g[2], g[3])))
    return g * with_one(offset)


@triton.jit
def with_one(offset):
    """(4, BLOCK): 1, x, y and z."""
    row = tl.arange(0, 4)[:, None]
    return tl.where(row == 0, 1.0, tl.where(row == 1, offset[0], tl.where(row == 2, offset[1], offset[2])))


@triton.jit
def store_sums(at, sums):
    """Sums (4, 4, BLOCK) over points, to 16 numbers in a row."""
    row, column = tl.arange(0, 4)[:, None], tl.arange(0, 4)[None, :]
    tl.store(at + row * 4 + column, tl.sum(sums, axis=2))
