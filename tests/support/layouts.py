# SPDX-License-Identifier: Apache-2.0
"""The same numbers with other strides, and NaN wherever nobody should read."""

import torch
from torch import Tensor


def contiguous(tensor: Tensor) -> Tensor:
    return tensor.contiguous()


def transposed(tensor: Tensor) -> Tensor:
    return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)


CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by dimensions


def channels_last(tensor: Tensor) -> Tensor:
    if tensor.dim() == 6:  # (B, T, K+1, D, H, W): a convolution's channels, taken apart
        return channels_last(tensor.flatten(1, 2)).unflatten(1, tensor.shape[1:3])
    order = CHANNELS_LAST.get(tensor.dim(), torch.contiguous_format)
    return tensor.contiguous(memory_format=order)


def between_channels(tensor: Tensor) -> Tensor:
    """Channels-last amid eight more: every vector of them starts in the middle of another."""
    return _amid(tensor, 1, 8)


def channels_with_gaps(tensor: Tensor) -> Tensor:
    """Channels-last, each voxel an element after the one before it, which no vector divides."""
    return _amid(tensor, 0, 1)


def _amid(tensor: Tensor, before: int, more: int) -> Tensor:
    if tensor.dim() not in CHANNELS_LAST:
        return tensor
    B, C, *size = tensor.shape
    wide = channels_last(tensor.new_full((B, C + more, *size), torch.nan))
    return wide[:, before : before + C].copy_(tensor)


def sliced(tensor: Tensor) -> Tensor:
    """Every other column of a wider tensor, off by one; reading between them finds NaN."""
    wide = tensor.new_full((*tensor.shape[:-1], 2 * tensor.shape[-1] + 1), torch.nan)
    wide[..., 1::2] = tensor
    return wide[..., 1::2]


def part_of_a_batch(tensor: Tensor) -> Tensor:
    wide = tensor.new_full((2 * len(tensor) + 1, *tensor.shape[1:]), torch.nan)
    wide[1::2] = tensor
    return wide[1::2]


def batch_innermost(tensor: Tensor) -> Tensor:
    return tensor.movedim(0, -1).contiguous().movedim(-1, 0)


LAYOUTS = (contiguous, transposed, channels_last, sliced, part_of_a_batch, batch_innermost)
UNEVEN = (between_channels, channels_with_gaps)  # where kernels must not read several channels at a time
