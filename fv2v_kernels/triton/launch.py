"""How kernels are launched: strides, widths of offsets, and shares that fill a GPU."""

from functools import cache

import torch
import triton
from torch import Tensor

MOST_CHANNELS = 32  # in a tile
FEWEST_CHANNELS = 4  # a program's share, below which finding the corners would cost more than reading them


def volume_strides(volumes: Tensor) -> tuple[int, ...]:
    """With a batch of one, no step from sample to sample: all of them read the same volume."""
    return (volumes.stride(0) if len(volumes) > 1 else 0, *volumes.stride()[1:])


def affine_strides(affine: Tensor | None) -> tuple[int, ...]:
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
    """How many channels to read at a time: 1, unless they lie side by side."""
    channels = features.shape[1]
    if channels == 1 or features.stride(1) != 1:
        return 1
    return min(MOST_CHANNELS, triton.next_power_of_2(channels))


def channel_share(channels: int, programs: int, threads: int, device: torch.device) -> int:
    """Channels a program: all of them, unless the blocks of points alone would leave the GPU half empty."""
    wanted = triton.cdiv(resident_programs(device, threads), programs)
    return triton.cdiv(channels, max(1, min(wanted, channels // FEWEST_CHANNELS)))


@cache
def resident_programs(device: torch.device, threads: int) -> int:
    """How many programs of so many threads a GPU holds at a time, at 2048 a multiprocessor."""
    if device.type == "cpu":  # interpreted
        return 2048 // threads
    return torch.cuda.get_device_properties(device).multi_processor_count * 2048 // threads
