# SPDX-License-Identifier: Apache-2.0
"""Pictures of any kind as tensors for the networks, (B, 3, H, W) RGB in [0, 1] of one size, and back."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fv2v.io.image import read_image
from fv2v.io.resize import AREA, TRIANGLE, AxisWeights, axis_weights, resized

KINDS = "a path, a PIL image, an (H, W, 3) uint8 array, or a (3, H, W) or (B, 3, H, W) float tensor in [0, 1]"


def as_batch(
    pictures: Sequence[Any],
    size: int,
    device: torch.device,
    resize: str = TRIANGLE,
    *,
    on_size: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Pictures of any kinds and sizes as one tensor, which `to_images` resizes and scales for the networks.

    `on_size` is called with the height and width of each.

    Returns:
        (B, H, W, 3) uint8 on the CPU, where all are uint8 and of one size; else (B, 3, size, size) float32
        in [0, 1] on `device`.

    Raises:
        FileNotFoundError: a path where there is no file.
        ValueError: no pictures, or something that is none.
    """
    if not pictures:
        raise ValueError("expected at least one picture, got none")
    tensors = [_checked(picture) for picture in pictures]
    if on_size is not None:
        for tensor in tensors:
            on_size(*(tensor.shape[1:3] if tensor.dtype == torch.uint8 else tensor.shape[2:]))
    if len({tensor.shape[1:] for tensor in tensors}) == 1 and tensors[0].dtype == torch.uint8:
        return torch.cat(tensors)
    return torch.cat([to_images(tensor, size, resize).to(device) for tensor in tensors])


def to_images(
    pictures: Tensor,
    size: int,
    resize: str = TRIANGLE,
    weights: AxisWeights | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """(B, H, W, 3) uint8, or (B, 3, H, W) in [0, 1] -> (B, 3, size, size) in [0, 1].

    The device stays. Pictures that are not square are squeezed, as in the releases.

    Args:
        resize: by which kernel, as `ModelConfig.resize`.
        weights: `axis_weights` of these pictures, where they are prepared already.
        dtype: of the result, rounded from float32, or from what pictures in [0, 1] have; None: not rounded.
    """
    levels = pictures.dtype == torch.uint8
    dtype = dtype or (torch.float32 if levels else pictures.dtype)
    images = pictures.permute(0, 3, 1, 2) if levels else pictures
    H, W = images.shape[2:]
    if H == W == size:
        if not levels:
            return images.to(dtype)
        # one operation, where conversion, quotient and rounding would each be one
        return torch.div(images, 255, out=torch.empty_like(images, dtype=dtype))
    images = images.float() if levels else images
    if weights is None:
        weights = axis_weights(resize, (H, W), size, images.device)
    if resize == AREA and levels:  # of levels, which come out as levels in OpenCV
        return ((resized(images, size, weights) + 0.5).floor().clamp(0, 255) / 255).to(dtype)
    return resized(images / 255 if levels else images, size, weights).clamp(0, 1).to(dtype)


def to_uint8(images: Tensor, *, truncate: bool = False, inside: bool = False) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, H, W, 3) uint8, on the same device: rounded, or truncated.

    What is outside is clipped; `inside`: nothing is, as of a sigmoid.
    """
    levels = (images.float() if inside else images.float().clamp(0, 1)).mul(255)
    levels = (levels if truncate else levels.round()).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous()


def _checked(picture: Any) -> Tensor:
    """(1, H, W, 3) uint8 on the CPU, or (B, 3, H, W) float32 in [0, 1] on the device it came on."""
    if isinstance(picture, str | os.PathLike):
        picture = read_image(picture)
    elif hasattr(picture, "convert"):  # a PIL image, recognized without importing PIL
        picture = np.asarray(picture.convert("RGB"))
    return _from_tensor(picture) if isinstance(picture, Tensor) else _from_array(picture)


def _from_array(picture: Any) -> Tensor:
    if not isinstance(picture, np.ndarray):
        raise ValueError(f"expected a picture, {KINDS}; got {type(picture).__name__}")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise ValueError(f"expected an (H, W, 3) uint8 array, got {picture.shape} {picture.dtype}")
    return torch.from_numpy(np.require(picture, requirements=["C", "W"]))[None]


def _from_tensor(picture: Tensor) -> Tensor:
    images = picture[None] if picture.dim() == 3 else picture
    if images.dim() != 4 or images.shape[1] != 3 or 0 in images.shape or not images.is_floating_point():
        raise ValueError(
            "expected a float tensor (3, H, W) or (B, 3, H, W) in [0, 1], got "
            f"{tuple(picture.shape)} {picture.dtype}"
        )
    low, high = images.aminmax()
    if not (low >= 0 and high <= 1):  # also where they are NaN
        raise ValueError(f"expected pictures in [0, 1], got values from {float(low):g} to {float(high):g}")
    return images.float()
