# SPDX-License-Identifier: Apache-2.0
"""modulate in Triton: over each plane n = (x - mean) / sqrt(var + eps), then leaky((1 + gamma) n + beta).

A program takes a part of the pixels of one plane, or of as many planes as `CHANNELS` where channels lie side
by side, in tiles (pixels, CHANNELS). One kernel finds mean and variance of each part; the next puts them
together, in a fixed order. For the gradient another one in between sums up what comes back to a plane.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fv2v_kernels.triton.launch import WARPS, reaches_far, result_strides, tile_channels
from fv2v_kernels.triton.planes import (
    load_tile,
    of_part,
    of_parts,
    origin,
    part_of_planes,
    statistics,
    store_tile,
)
from fv2v_kernels.triton.points import points_of

BLOCK = 512  # numbers in a tile
SHARE = 8  # tiles in a part at least
PARTS = 32  # of a plane at most


@triton.jit
def _moments_kernel(
    moments_ptr,  # (B C, 3, PARTS): a number near the mean, the sums of x less that, and of its square
    x_ptr,  # (B, C, 1, H, W)
    blocks, share, parts, groups,
    N, width,
    x_strides,
    CHANNELS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    row, part, first, last = part_of_planes(parts, share, blocks)
    dtype: tl.constexpr = moments_ptr.dtype.element_ty
    PIXELS: tl.constexpr = BLOCK // CHANNELS
    x_ptr = origin(x_ptr, row, groups, x_strides, CHANNELS)
    sums = tl.zeros([PIXELS, CHANNELS], dtype)
    for index in range(first, last):
        n, inside = points_of(index, N, PIXELS, WIDE)
        sums += load_tile(x_ptr, n, inside, width, x_strides, dtype, CHANNELS)
    count = tl.minimum(share * PIXELS, N - first * PIXELS)
    pivot = tl.sum(sums, axis=0) / count.to(dtype)

    sums = tl.zeros([PIXELS, CHANNELS], dtype)
    squares = tl.zeros([PIXELS, CHANNELS], dtype)
    for index in range(first, last):
        n, inside = points_of(index, N, PIXELS, WIDE)
        x = load_tile(x_ptr, n, inside, width, x_strides, dtype, CHANNELS)
        centred = tl.where(inside[:, None], x - pivot[None, :], 0.0)
        sums += centred
        squares += centred * centred
    at = of_part(moments_ptr, row, part, 3, CHANNELS, PARTS)
    tl.store(at, pivot)
    tl.store(at + PARTS, tl.sum(sums, axis=0))
    tl.store(at + 2 * PARTS, tl.sum(squares, axis=0))


@triton.jit
def _origins(
    x_ptr, gamma_ptr, beta_ptr, row, groups, x_strides, gamma_strides, beta_strides, CHANNELS: tl.constexpr
):  # fmt: skip
    """Where a group of planes begins in each."""
    return (
        origin(x_ptr, row, groups, x_strides, CHANNELS),
        origin(gamma_ptr, row, groups, gamma_strides, CHANNELS),
        origin(beta_ptr, row, groups, beta_strides, CHANNELS),
    )


@triton.jit
def _modulate_kernel(
    out_ptr,  # (B, C, N)    N = H W
    moments_ptr,  # (B C, 3, PARTS)
    x_ptr, gamma_ptr, beta_ptr,  # (B, C, 1, H, W)
    blocks, share, parts, groups,
    N, width,
    out_strides, x_strides, gamma_strides, beta_strides,
    eps: tl.float64, negative_slope: tl.float64,
    CHANNELS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    row, _part, first, last = part_of_planes(parts, share, blocks)
    dtype: tl.constexpr = moments_ptr.dtype.element_ty
    PIXELS: tl.constexpr = BLOCK // CHANNELS
    negative_slope = tl.full((), negative_slope, dtype)
    mean, scale = statistics(moments_ptr, row, parts, share * PIXELS, N, eps, CHANNELS, PARTS)
    x_ptr, gamma_ptr, beta_ptr = _origins(
        x_ptr, gamma_ptr, beta_ptr, row, groups, x_strides, gamma_strides, beta_strides, CHANNELS
    )
    out_ptr = origin(out_ptr, row, groups, out_strides, CHANNELS)
    for index in range(first, last):
        n, inside = points_of(index, N, PIXELS, WIDE)
        y = (load_tile(x_ptr, n, inside, width, x_strides, dtype, CHANNELS) - mean) * scale
        y += load_tile(gamma_ptr, n, inside, width, gamma_strides, dtype, CHANNELS) * y
        y += load_tile(beta_ptr, n, inside, width, beta_strides, dtype, CHANNELS)
        store_tile(out_ptr, n, inside, out_strides, tl.where(y > 0, y, negative_slope * y), CHANNELS)


@triton.jit
def _pulled(
    grad_out_ptr, x_ptr, gamma_ptr, beta_ptr,  # where a group of planes begins
    n, inside, width,
    grad_out_strides, x_strides, gamma_strides, beta_strides,
    mean, scale, negative_slope,
    CHANNELS: tl.constexpr,
):  # fmt: skip
    """The normalised pixels, and the gradients of y and of what is normalised; 0 where not inside."""
    dtype: tl.constexpr = mean.dtype
    normal = (load_tile(x_ptr, n, inside, width, x_strides, dtype, CHANNELS) - mean) * scale
    gamma = load_tile(gamma_ptr, n, inside, width, gamma_strides, dtype, CHANNELS)
    y = normal + gamma * normal + load_tile(beta_ptr, n, inside, width, beta_strides, dtype, CHANNELS)
    g = load_tile(grad_out_ptr, n, inside, width, grad_out_strides, dtype, CHANNELS)
    h = tl.where(y > 0, g, negative_slope * g)
    return normal, h, h + gamma * h  # a product as such could be fused with what is subtracted from it


@triton.jit
def _modulate_pull_kernel(
    sums_ptr,  # (B C, 2, PARTS): of u = (1 + gamma) d loss / d y, and of u n
    grad_gamma_ptr,  # (B, C, N), where NEED_GAMMA
    grad_beta_ptr,  # (B, C, N), where NEED_BETA
    moments_ptr,  # (B C, 3, PARTS)
    grad_out_ptr, x_ptr, gamma_ptr, beta_ptr,  # (B, C, 1, H, W)
    blocks, share, parts, groups,
    N, width,
    out_strides,  # of the gradients
    grad_out_strides, x_strides, gamma_strides, beta_strides,
    eps: tl.float64, negative_slope: tl.float64,
    NEED_GAMMA: tl.constexpr, NEED_BETA: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr,
    BLOCK: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    row, part, first, last = part_of_planes(parts, share, blocks)
    dtype: tl.constexpr = moments_ptr.dtype.element_ty
    PIXELS: tl.constexpr = BLOCK // CHANNELS
    negative_slope = tl.full((), negative_slope, dtype)
    mean, scale = statistics(moments_ptr, row, parts, share * PIXELS, N, eps, CHANNELS, PARTS)
    grad_out_ptr = origin(grad_out_ptr, row, groups, grad_out_strides, CHANNELS)
    x_ptr, gamma_ptr, beta_ptr = _origins(
        x_ptr, gamma_ptr, beta_ptr, row, groups, x_strides, gamma_strides, beta_strides, CHANNELS
    )
    grad_gamma_ptr = origin(grad_gamma_ptr, row, groups, out_strides, CHANNELS)
    grad_beta_ptr = origin(grad_beta_ptr, row, groups, out_strides, CHANNELS)
    sum_u = tl.zeros([PIXELS, CHANNELS], dtype)
    sum_un = tl.zeros([PIXELS, CHANNELS], dtype)
    for index in range(first, last):
        n, inside = points_of(index, N, PIXELS, WIDE)
        normal, h, u = _pulled(
            grad_out_ptr, x_ptr, gamma_ptr, beta_ptr, n, inside, width,
            grad_out_strides, x_strides, gamma_strides, beta_strides,
            mean, scale, negative_slope, CHANNELS,
        )  # fmt: skip
        if NEED_GAMMA:
            store_tile(grad_gamma_ptr, n, inside, out_strides, h * normal, CHANNELS)
        if NEED_BETA:
            store_tile(grad_beta_ptr, n, inside, out_strides, h, CHANNELS)
        sum_u += u
        sum_un += u * normal
    at = of_part(sums_ptr, row, part, 2, CHANNELS, PARTS)
    tl.store(at, tl.sum(sum_u, axis=0))
    tl.store(at + PARTS, tl.sum(sum_un, axis=0))


@triton.jit
def _modulate_push_kernel(
    grad_x_ptr,  # (B, C, N)
    sums_ptr,  # (B C, 2, PARTS)
    moments_ptr,  # (B C, 3, PARTS)
    grad_out_ptr, x_ptr, gamma_ptr, beta_ptr,  # (B, C, 1, H, W)
    blocks, share, parts, groups,
    N, width,
    out_strides, grad_out_strides, x_strides, gamma_strides, beta_strides,
    eps: tl.float64, negative_slope: tl.float64,
    CHANNELS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    row, _part, first, last = part_of_planes(parts, share, blocks)
    dtype: tl.constexpr = moments_ptr.dtype.element_ty
    PIXELS: tl.constexpr = BLOCK // CHANNELS
    negative_slope = tl.full((), negative_slope, dtype)
    mean, scale = statistics(moments_ptr, row, parts, share * PIXELS, N, eps, CHANNELS, PARTS)
    mean_u = (tl.sum(of_parts(sums_ptr, row, 0, parts, 2, CHANNELS, PARTS), axis=1) / N).to(dtype)
    mean_un = (tl.sum(of_parts(sums_ptr, row, 1, parts, 2, CHANNELS, PARTS), axis=1) / N).to(dtype)
    grad_out_ptr = origin(grad_out_ptr, row, groups, grad_out_strides, CHANNELS)
    x_ptr, gamma_ptr, beta_ptr = _origins(
        x_ptr, gamma_ptr, beta_ptr, row, groups, x_strides, gamma_strides, beta_strides, CHANNELS
    )
    grad_x_ptr = origin(grad_x_ptr, row, groups, out_strides, CHANNELS)
    for index in range(first, last):
        n, inside = points_of(index, N, PIXELS, WIDE)
        normal, _h, u = _pulled(
            grad_out_ptr, x_ptr, gamma_ptr, beta_ptr, n, inside, width,
            grad_out_strides, x_strides, gamma_strides, beta_strides,
            mean, scale, negative_slope, CHANNELS,
        )  # fmt: skip
        grad = (u - mean_u[None, :] - normal * mean_un[None, :]) * scale
        store_tile(grad_x_ptr, n, inside, out_strides, grad, CHANNELS)


class _Launch:
    """How a picture is cut into parts: arguments of every kernel."""

    def __init__(self, x: Tensor, *others: Tensor) -> None:
        batch, channels, height, width = x.shape
        self.tile = tile_channels(x.unsqueeze(2))
        pixels = height * width
        blocks = triton.cdiv(pixels, BLOCK // self.tile)
        share = max(SHARE, triton.cdiv(blocks, PARTS))
        parts, groups = triton.cdiv(blocks, share), channels // self.tile
        self.grid = (batch * groups * parts,)
        self.cut = blocks, share, parts, groups, pixels, width
        self.constants = {
            "CHANNELS": self.tile,
            "WIDE": reaches_far(BLOCK, *(each[0, : self.tile] for each in (x, *others) if each.numel())),
            "BLOCK": BLOCK,
            "PARTS": PARTS,
            "num_warps": WARPS,
        }

    def moments(self, x: Tensor) -> Tensor:
        """(B C, 3, PARTS), as `statistics` reads them."""
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        found = x.new_empty(x.shape[0] * x.shape[1], 3, PARTS, dtype=wide)
        _moments_kernel[self.grid](found, x, *self.cut, _strides(x), **self.constants)
        return found


def _strides(picture: Tensor) -> tuple[int, ...]:
    return picture.unsqueeze(2).stride()


def modulate(
    out: Tensor,
    x: Tensor, gamma: Tensor, beta: Tensor,
    eps: float, negative_slope: float, channels_last: bool,
) -> None:  # fmt: skip
    """Fills out (B, C, H, W), contiguous or channels-last."""
    if out.numel() == 0:
        return
    launch = _Launch(x, gamma, beta, out)
    with torch.cuda.device_of(x):
        _modulate_kernel[launch.grid](
            out, launch.moments(x), x, gamma, beta,
            *launch.cut,
            result_strides(out), _strides(x), _strides(gamma), _strides(beta),
            eps, negative_slope,
            **launch.constants,
        )  # fmt: skip


def modulate_backward(
    grad_x: Tensor, grad_gamma: Tensor, grad_beta: Tensor,
    grad_out: Tensor,
    x: Tensor, gamma: Tensor, beta: Tensor,
    eps: float, negative_slope: float, channels_last: bool,
) -> None:  # fmt: skip
    """Fills the gradients, all contiguous or all channels-last, that are not empty."""
    if x.numel() == 0:
        return
    asked = [grad for grad in (grad_x, grad_gamma, grad_beta) if grad.numel()]
    launch = _Launch(x, gamma, beta, grad_out, *asked)
    strides = result_strides(asked[0]), *map(_strides, (grad_out, x, gamma, beta))
    with torch.cuda.device_of(x):
        moments = launch.moments(x)
        sums = moments.new_empty(len(moments), 2, PARTS)
        _modulate_pull_kernel[launch.grid](
            sums, grad_gamma, grad_beta, moments, grad_out, x, gamma, beta,
            *launch.cut,
            *strides,
            eps, negative_slope,
            NEED_GAMMA=grad_gamma.numel() > 0,
            NEED_BETA=grad_beta.numel() > 0,
            **launch.constants,
        )  # fmt: skip
        if grad_x.numel():
            _modulate_push_kernel[launch.grid](
                grad_x, sums, moments, grad_out, x, gamma, beta,
                *launch.cut,
                *strides,
                eps, negative_slope,
                **launch.constants,
            )  # fmt: skip
