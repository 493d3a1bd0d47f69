# SPDX-License-Identifier: Apache-2.0
"""Pictures resized as a preset's release resizes them (`ModelConfig.resize`).

    triangle  weights that fall linearly to 0 one pixel of the result away: torch's "bilinear", antialiased
    area      the mean over what a pixel of the result covers: OpenCV's INTER_AREA
    gaussian  a Gaussian, then linear between pixels: `skimage.transform.resize`

All act on each axis by itself. The last two are matrices here, (size, pixels), whose rows sum to 1; the first
is torch's own.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fv2v.config import RESIZES

TRIANGLE, AREA, GAUSSIAN = RESIZES
AxisWeights = tuple[Tensor, Tensor]  # of rows and columns


def axis_weights(resize: str, pixels: tuple[int, int], size: int, device: torch.device) -> AxisWeights | None:
    """What resizes pictures of so many pixels (H, W) to (size, size); None: the triangle, or nothing."""
    if resize == TRIANGLE or pixels == (size, size):
        return None
    rows, columns = (torch.from_numpy(each).to(device) for each in _matrices(resize, *pixels, size))
    return rows, columns


def resized(images: Tensor, size: int, weights: AxisWeights | None) -> Tensor:
    """(B, C, H, W) float32 -> (B, C, size, size), by `axis_weights`; None: by the triangle."""
    if weights is None:
        return interpolate(images, (size, size), mode="bilinear", antialias=True)
    rows, columns = weights
    return rows @ images @ columns.mT


@lru_cache(maxsize=32)
def _matrices(resize: str, H: int, W: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    axis: Callable[[int, int], np.ndarray] = _gaussian
    if resize == AREA:
        axis = _mean if min(H, W) >= size else _between
    return axis(H, size).astype(np.float32), axis(W, size).astype(np.float32)


def _mean(pixels: int, size: int) -> np.ndarray:
    """INTER_AREA that reduces: how much of each pixel lies under a pixel of the result."""
    edges = np.arange(size + 1)[:, None] * (pixels / size)
    index = np.arange(pixels)
    covered = np.minimum(edges[1:], index + 1) - np.maximum(edges[:-1], index)
    return covered.clip(0) * (size / pixels)


def _between(pixels: int, size: int) -> np.ndarray:
    """INTER_AREA where it enlarges: pixels stay flat, and blend where one of the result covers two."""
    step = pixels / size
    index = np.arange(size)
    low = np.floor(index * step).astype(int)
    share = (index + 1) - (low + 1) / step
    share = np.where(share > 0, share % 1, 0.0)
    weights = np.zeros((size, pixels))
    np.add.at(weights, (index, low), 1 - share)
    np.add.at(weights, (index, np.minimum(low + 1, pixels - 1)), share)
    return weights


def _gaussian(pixels: int, size: int) -> np.ndarray:
    """σ = (s − 1) / 2 for s pixels to one of the result, to 4 σ, mirrored at the border; none to enlarge."""
    step = pixels / size
    sigma = max(0.0, (step - 1) / 2)
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    bell = np.exp(-0.5 * (offsets / max(sigma, 1e-9)) ** 2)
    place = (np.arange(size) + 0.5) * step - 0.5
    low = np.floor(place).astype(int)
    weights = np.zeros((size, pixels))
    for start, share in ((low, 1 - (place - low)), (low + 1, place - low)):
        read = _mirrored(_mirrored(start, pixels)[:, None] + offsets, pixels)
        np.add.at(weights, (np.arange(size)[:, None], read), share[:, None] * (bell / bell.sum()))
    return weights


def _mirrored(index: np.ndarray, pixels: int) -> np.ndarray:
    """The pixel that an index beyond the border stands for: mirrored about the outermost ones."""
    if pixels == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * pixels - 2)
    return np.minimum(index, 2 * pixels - 2 - index)
