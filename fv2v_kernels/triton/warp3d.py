"""warp3d in Triton: out[b, c, p] = features[b, c], trilinearly, at grid[b, p].

A program serves a block of points of one sample and loops over channels, so that the eight corners around
a point, their offsets and their weights are worked out once. Corner i takes its x from bit 0, y from bit 1
and z from bit 2. Tensors over corners and points are (8, BLOCK); with one point a thread the eight corners of
a point sit in that thread's registers, and summing over them exchanges nothing.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from fv2v_kernels._op import refuse_nondeterministic

WARPS = 4
BLOCK = 32 * WARPS  # points a program: one a thread
MIN_CHANNELS = 4  # a program's share, below which finding the corners would cost more than reading them


@triton.jit
def _per_unit(size, ALIGN_CORNERS: tl.constexpr):
    """Voxels per unit of coordinate."""
    return (size - 1) * 0.5 if ALIGN_CORNERS else size * 0.5


@triton.jit
def _between(coordinate, size, ALIGN_CORNERS: tl.constexpr):
    """The voxel before a coordinate, and how far past it the coordinate lies, in [0, 1)."""
    voxel = (coordinate + 1) * _per_unit(size, ALIGN_CORNERS) - (0.0 if ALIGN_CORNERS else 0.5)
    # NaN fails both comparisons; infinity has no integer; both go where neither corner is inside
    voxel = tl.where((voxel >= -1) & (voxel < size), voxel, -2.0)
    low = tl.floor(voxel)
    return low.to(tl.int32), voxel - low


@triton.jit
def _block(blocks, N, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    """The sample b and the points n of this program, and which of these exist.

    Samples and blocks share the first axis of the launch, the only one that may exceed 65535.
    """
    b = tl.program_id(0) // blocks
    first = tl.program_id(0) % blocks
    if WIDE:
        first = first.to(tl.int64)
    n = first * BLOCK + tl.arange(0, BLOCK)
    return b.to(tl.int64), n, n < N


@triton.jit
def _cell(
    grid_ptr,  # (D', H', W', 3) of one sample
    z, y, x,  # (BLOCK,) where the points lie in it
    inside,
    D, H, W,
    grid_z, grid_y, grid_x, grid_axis,
    ALIGN_CORNERS: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """The corners (8, BLOCK) around each point: z, y, x, whether to read them, and their weights by axis."""
    at = grid_ptr + z * grid_z + y * grid_y + x * grid_x
    low_x, past_x = _between(tl.load(at, mask=inside, other=0.0), W, ALIGN_CORNERS)
    low_y, past_y = _between(tl.load(at + grid_axis, mask=inside, other=0.0), H, ALIGN_CORNERS)
    low_z, past_z = _between(tl.load(at + 2 * grid_axis, mask=inside, other=0.0), D, ALIGN_CORNERS)

    corner = tl.arange(0, 8)[:, None]
    right, below, behind = corner & 1, (corner >> 1) & 1, corner >> 2
    weight_x = tl.where(right == 1, past_x[None, :], 1 - past_x[None, :])
    weight_y = tl.where(below == 1, past_y[None, :], 1 - past_y[None, :])
    weight_z = tl.where(behind == 1, past_z[None, :], 1 - past_z[None, :])
    x, y, z = low_x[None, :] + right, low_y[None, :] + below, low_z[None, :] + behind
    read = (x >= 0) & (x < W) & (y >= 0) & (y < H) & (z >= 0) & (z < D) & inside[None, :]
    if WIDE:
        x, y, z = x.to(tl.int64), y.to(tl.int64), z.to(tl.int64)
    return z, y, x, read, weight_z, weight_y, weight_x


@triton.jit
def _warp3d_kernel(
    out_ptr,  # (B, C, N)    N = D' H' W'
    features_ptr,  # (B, C, D, H, W)    features_b = 0 where one volume serves every sample
    grid_ptr,  # (B, D', H', W', 3)
    blocks, share,  # blocks of points a sample, channels a program
    N, out_height, out_width,
    C, D, H, W,
    features_b, features_c, features_z, features_y, features_x,
    grid_b, grid_z, grid_y, grid_x, grid_axis,
    ALIGN_CORNERS: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    b, n, inside = _block(blocks, N, BLOCK, WIDE)
    z, y, x = n // (out_height * out_width), n // out_width % out_height, n % out_width
    z, y, x, read, weight_z, weight_y, weight_x = _cell(
        grid_ptr + b * grid_b, z, y, x, inside, D, H, W,
        grid_z, grid_y, grid_x, grid_axis, ALIGN_CORNERS, WIDE,
    )  # fmt: skip
    weight = weight_z * weight_y * weight_x
    offset = z * features_z + y * features_y + x * features_x

    first = tl.program_id(1).to(tl.int64) * share
    features_ptr += b * features_b + first * features_c
    out_ptr += (b * C + first) * N
    for _ in range(first, tl.minimum(first + share, C)):
        value = tl.load(features_ptr + offset, mask=read, other=0.0).to(weight.dtype)
        out = tl.sum(weight * value, axis=0)
        tl.store(out_ptr + n, out.to(out_ptr.dtype.element_ty), mask=inside)
        features_ptr += features_c
        out_ptr += N


@triton.jit
def _warp3d_backward_kernel(
    grad_features_ptr,  # (B, C, D, H, W), contiguous, zeros    grad_features_b as features_b
    grad_grid_ptr,  # (B, N, 3), zeros where SPLIT
    grad_out_ptr,  # (B, C, D', H', W')
    features_ptr,  # (B, C, D, H, W)
    grid_ptr,  # (B, D', H', W', 3)
    blocks, share,
    N, out_height, out_width,
    C, D, H, W,
    grad_features_b,
    grad_out_b, grad_out_c, grad_out_z, grad_out_y, grad_out_x,
    features_b, features_c, features_z, features_y, features_x,
    grid_b, grid_z, grid_y, grid_x, grid_axis,
    NEED_FEATURES: tl.constexpr,
    NEED_GRID: tl.constexpr,
    SPLIT: tl.constexpr,  # channels are shared among programs
    ALIGN_CORNERS: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    b, n, inside = _block(blocks, N, BLOCK, WIDE)
    z, y, x = n // (out_height * out_width), n // out_width % out_height, n % out_width
    grad_out_offset = z * grad_out_z + y * grad_out_y + x * grad_out_x
    z, y, x, read, weight_z, weight_y, weight_x = _cell(
        grid_ptr + b * grid_b, z, y, x, inside, D, H, W,
        grid_z, grid_y, grid_x, grid_axis, ALIGN_CORNERS, WIDE,
    )  # fmt: skip
    weight = weight_z * weight_y * weight_x
    offset = z * features_z + y * features_y + x * features_x
    grad_offset = (z * H + y) * W + x
    volume = tl.cast(D, tl.int64) * H * W

    first = tl.program_id(1).to(tl.int64) * share
    grad_out_ptr += b * grad_out_b + first * grad_out_c
    features_ptr += b * features_b + first * features_c
    grad_features_ptr += b * grad_features_b + first * volume
    # sum over channels at each corner first, slopes last: 8 multiplications a channel in place of 24
    pull = tl.zeros([8, BLOCK], weight.dtype)
    for _ in range(first, tl.minimum(first + share, C)):
        upstream = tl.load(grad_out_ptr + grad_out_offset, mask=inside, other=0.0).to(weight.dtype)[None, :]
        if NEED_FEATURES:
            tl.atomic_add(grad_features_ptr + grad_offset, weight * upstream, mask=read, sem="relaxed")
            grad_features_ptr += volume
        if NEED_GRID:
            pull += upstream * tl.load(features_ptr + offset, mask=read, other=0.0).to(weight.dtype)
            features_ptr += features_c
        grad_out_ptr += grad_out_c

    if NEED_GRID:
        corner = tl.arange(0, 8)[:, None]
        along_x = pull * (weight_y * weight_z) * ((corner & 1) * 2 - 1)
        along_y = pull * (weight_x * weight_z) * ((corner >> 1 & 1) * 2 - 1)
        along_z = pull * (weight_x * weight_y) * ((corner >> 2) * 2 - 1)
        grad_x = tl.sum(along_x, axis=0) * _per_unit(W, ALIGN_CORNERS)
        grad_y = tl.sum(along_y, axis=0) * _per_unit(H, ALIGN_CORNERS)
        grad_z = tl.sum(along_z, axis=0) * _per_unit(D, ALIGN_CORNERS)
        at = grad_grid_ptr + b * N * 3 + n * 3
        if SPLIT:
            tl.atomic_add(at, grad_x, mask=inside, sem="relaxed")
            tl.atomic_add(at + 1, grad_y, mask=inside, sem="relaxed")
            tl.atomic_add(at + 2, grad_z, mask=inside, sem="relaxed")
        else:
            tl.store(at, grad_x, mask=inside)
            tl.store(at + 1, grad_y, mask=inside)
            tl.store(at + 2, grad_z, mask=inside)


def warp3d(features: Tensor, grid: Tensor, align_corners: bool) -> Tensor:
    """features (B or 1, C, D, H, W), grid (B, D', H', W', 3) -> (B, C, D', H', W'); any strides."""
    batch, *out_size, _ = grid.shape
    channels, *size = features.shape[1:]
    out = features.new_empty(batch, channels, *out_size)
    if out.numel() == 0:
        return out
    points = out[0, 0].numel()
    blocks = triton.cdiv(points, BLOCK)
    share = _share(channels, batch * blocks, features.device)
    with torch.cuda.device_of(features):
        _warp3d_kernel[batch * blocks, triton.cdiv(channels, share)](
            out, features, grid,
            blocks, share,
            points, *out_size[1:],
            channels, *size,
            *_strides(features), *grid.stride(),
            ALIGN_CORNERS=align_corners,
            WIDE=_reaches_far(features[0, 0], grid[0], out[0, 0]),
            BLOCK=BLOCK,
            num_warps=WARPS,
        )  # fmt: skip
    return out


def warp3d_backward(
    grad_out: Tensor,
    features: Tensor,
    grid: Tensor,
    align_corners: bool,
    need_features: bool,
    need_grid: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients in the dtype of `grid`: as `features`, as `grid`, contiguous; (0,) where not needed.

    Raises:
        RuntimeError: under `torch.use_deterministic_algorithms(True)` on a GPU, for the features' gradient.
    """
    batch, *out_size, _ = grid.shape
    channels, *size = features.shape[1:]
    deterministic = grad_out.is_cuda and torch.are_deterministic_algorithms_enabled()
    if deterministic and need_features:
        refuse_nondeterministic("warp3d_backward", "triton")
    grad_features = grid.new_zeros(features.shape if need_features else (0,))
    grad_grid = grid.new_zeros(grid.shape if need_grid else (0,))
    if grad_out.numel() == 0 or not (need_features or need_grid):
        return grad_features, grad_grid
    points = grad_out[0, 0].numel()
    blocks = triton.cdiv(points, BLOCK)
    share = channels if deterministic else _share(channels, batch * blocks, features.device)
    with torch.cuda.device_of(features):
        _warp3d_backward_kernel[batch * blocks, triton.cdiv(channels, share)](
            grad_features, grad_grid, grad_out, features, grid,
            blocks, share,
            points, *out_size[1:],
            channels, *size,
            _strides(grad_features)[0] if need_features else 0,
            *grad_out.stride(), *_strides(features), *grid.stride(),
            NEED_FEATURES=need_features,
            NEED_GRID=need_grid,
            SPLIT=share < channels,
            ALIGN_CORNERS=align_corners,
            WIDE=_reaches_far(features[0, 0], grid[0], grad_out[0, 0]),
            BLOCK=BLOCK,
            num_warps=WARPS,
        )  # fmt: skip
    return grad_features, grad_grid


def _strides(volumes: Tensor) -> tuple[int, ...]:
    """With a batch of one, no step from sample to sample: all of them read the same volume."""
    return (volumes.stride(0) if len(volumes) > 1 else 0, *volumes.stride()[1:])


def _reaches_far(*parts: Tensor) -> bool:
    """Whether 32 bits are too few for offsets and positions within one sample's part of a tensor."""
    last = (sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True)) for t in parts)
    return max(*last, *(t.numel() + BLOCK for t in parts)) >= 2**31


def _share(channels: int, programs: int, device: torch.device) -> int:
    """Channels a program: all of them, unless the blocks of points alone would leave the GPU half empty."""
    wanted = triton.cdiv(_resident_programs(device), programs)
    return triton.cdiv(channels, max(1, min(wanted, channels // MIN_CHANNELS)))


@cache
def _resident_programs(device: torch.device) -> int:
    """How many of these programs a GPU holds at a time, at 2048 threads a multiprocessor."""
    if device.type == "cpu":  # interpreted
        return 2048 // BLOCK
    return torch.cuda.get_device_properties(device).multi_processor_count * 2048 // BLOCK
