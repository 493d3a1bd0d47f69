"""Pictures as the networks take them, (B, 3, H, W) RGB in [0, 1] of one size, from whatever they come as."""

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fv2v.image import read_image

KINDS = "a path, a PIL image, an (H, W, 3) uint8 array, or a (3, H, W) or (B, 3, H, W) float tensor in [0, 1]"


def to_images(picture: Any, size: int) -> Tensor:
    """A picture of any kind and size -> (B, 3, size, size) float32 in [0, 1], on the device it came on.

    One that is not square is squeezed, as the releases do.

    Raises:
        FileNotFoundError: a path where there is no file.
        ValueError: no picture, or one that cannot be used.
    """
    if isinstance(picture, str | os.PathLike):
        picture = read_image(picture)
    elif hasattr(picture, "convert"):  # PIL is not needed to know its pictures
        picture = np.asarray(picture.convert("RGB"))
    images = _from_tensor(picture) if isinstance(picture, Tensor) else _from_array(picture)
    if images.shape[2:] == (size, size):
        return images
    return interpolate(images, (size, size), mode="bilinear", antialias=True).clamp(0, 1)


def to_uint8(images: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [0, 1] -> (B, H, W, 3) uint8 on the CPU."""
    levels = images.float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _from_array(picture: Any) -> Tensor:
    if not isinstance(picture, np.ndarray):
        raise ValueError(f"expected a picture, {KINDS}; got {type(picture).__name__}")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise ValueError(f"expected an (H, W, 3) uint8 array, got {picture.shape} {picture.dtype}")
    return torch.from_numpy(np.require(picture, requirements=["C", "W"])).permute(2, 0, 1)[None].float() / 255


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
