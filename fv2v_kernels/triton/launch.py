# SPDX-License-Identifier: Apache-2.0
"""What launches share: strides, widths of offsets, shares that fill a GPU, and what adds up their sums."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from fv2v_kernels._native import INTERPRETED

WARPS = 4
# points a program: one a thread; the interpreter's time goes by programs
BLOCK = 512 if INTERPRETED else 32 * WARPS
TILE_BYTES = 32  # of channels side by side: two threads a point, each with 16 bytes a load
FEWEST_CHANNELS = 4  # a program's share, below which finding the corners would cost more than reading them


def volume_strides(volumes: Tensor) -> tuple[int, ...]:
    """With a batch of one, no step from sample to sample: all of them read the same volume."""
    return (volumes.stride(0) if len(volumes) > 1 else 0, *volumes.stride()[1:])


class Flows(NamedTuple):
    """Keypoints and their matrices as kernels take them; `AFFINE` says whether there are matrices."""

    tensors: tuple[Tensor, Tensor, Tensor]
    strides: tuple[tuple[int, ...], ...]
    affine: bool


def flows_of(kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None) -> Flows:
    tensors = kp_source, kp_driving, kp_source if affine is None else affine
    return Flows(
        tensors, (kp_source.stride(), kp_driving.stride(), _affine_strides(affine)), affine is not None
    )


def launch_over_voxels(
    kernel: Any,
    pointers: Sequence[Tensor],
    masks: Tensor,
    flows: Flows,
    others: Sequence[object],
    mask_threshold: float,
    warps: int = WARPS,
    **constants: Any,
) -> None:
    """Launch a kernel in which a program serves a block of voxels of one sample, with all K+1 flows there.

    Args:
        pointers: what the kernel takes before `masks`.
        masks: logits (B, K+1, D, H, W) or taps (B, T, K+1, D, H, W).
        others: what it takes between the size of the volume and the strides of `masks`.
    """
    slots, *size = masks.shape[-4:]
    voxels = math.prod(size)
    blocks = triton.cdiv(voxels, BLOCK)
    with torch.cuda.device_of(masks):
        kernel[(len(masks) * blocks,)](
            *pointers, masks, *flows.tensors,
            blocks, voxels, slots, tuple(size),
            *others, masks.stride(), *flows.strides,
            mask_threshold,
            AFFINE=flows.affine,
            BLOCK=BLOCK,
            num_warps=warps,
            **constants,
        )  # fmt: skip


def result_strides(result: Tensor) -> tuple[int, ...]:
    """(B, C, N), N the voxels or pixels, of a result that is contiguous or channels-last."""
    return (*result.stride()[:2], result.stride(-1))


def _affine_strides(affine: Tensor | None) -> tuple[int, ...]:
    """(B, K, 3, 3), whose keypoints lie 0 apart where they share one matrix."""
    if affine is None:
        return (0,) * 4
    batch, *others = affine.stride()
    return (batch, *others) if affine.dim() == 4 else (batch, 0, *others)


def reaches_far(block: int, *parts: Tensor) -> bool:
    """Whether 32 bits are too few for offsets and positions, up to a block past the end, in any part."""
    last = (sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True)) for t in parts)
    return max(*last, *(t.numel() + block for t in parts)) >= 2**31


def tile_channels(features: Tensor) -> int:
    """How many channels to read at a time: 1, unless they lie side by side and start at even addresses."""
    channels, (_, channel, *others) = features.shape[1], volume_strides(features)
    # Triton reads vectors where it knows a stride to be a multiple of 16; without them tiles are slow
    if channel != 1 or any(stride % 16 for stride in others):
        return 1
    return min(TILE_BYTES // features.element_size(), channels & -channels)  # a power of two, and no rest


def share_of_tiles(tiles: int, channels: int, programs: int, threads: int, device: torch.device) -> int:
    """Tiles a program: all of them, unless the blocks of points alone would leave the GPU half empty."""
    wanted = triton.cdiv(resident_programs(device, threads), programs)
    return triton.cdiv(tiles, max(1, min(wanted, tiles, channels // FEWEST_CHANNELS)))


def blocks_a_program(blocks: int, threads: int, device: torch.device) -> int:
    """How many blocks a program sums up: as many as still fill the GPU twice."""
    return max(1, blocks // (2 * resident_programs(device, threads)))


@cache
def resident_programs(device: torch.device, threads: int) -> int:
    """How many programs of so many threads a GPU holds at a time, at 2048 a multiprocessor."""
    if device.type == "cpu":  # interpreted
        return 2048 // threads
    return torch.cuda.get_device_properties(device).multi_processor_count * 2048 // threads


def add_sums(
    grad_source: Tensor,
    grad_driving: Tensor,
    grad_affine: Tensor,
    sums: Tensor,
    affine: Tensor | None,
    further_driving: Tensor | float = 0.0,
    further_source: Tensor | float = 0.0,
) -> None:
    """Gradients of x_s, x_d and A, those that are not empty, from sums over parts of the voxels.

    With g = d loss / d w_k:   x_s gets sum g,   x_d gets -A^T sum g,   A gets sum g (p - x_d)^T.

    Args:
        sums: (parts, B, K, 4, 4): row i < 3 holds the sums of g_i times 1, x, y and z of p - x_d.
        further_driving, further_source: (B, K, 3), added to the gradients of x_d and x_s.
    """
    total = sums.double().sum(0)
    moved, outer = total[..., :3, 0], total[..., :3, 1:]  # (B, K, 3), (B, K, 3, 3)
    if grad_source.numel():
        grad_source.copy_(moved + further_source)
    if grad_driving.numel():
        back = moved
        if affine is not None:  # not a matrix product, which on a GPU may add in any order
            matrix = affine.double() if affine.dim() == 4 else affine.double().unsqueeze(1)
            back = (matrix * moved.unsqueeze(-1)).sum(-2)
        grad_driving.copy_(further_driving - back)
    if grad_affine.numel():
        grad_affine.copy_(outer if grad_affine.dim() == 4 else outer.sum(1))
