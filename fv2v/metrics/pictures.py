# SPDX-License-Identifier: Apache-2.0
"""Distances between pictures and the true ones, a number for each picture.

Pictures are (B, 3, H, W) in [0, 1]; sums run in float32. SSIM and MS-SSIM are torchmetrics' (the extra
`train`), which is imported at the first use.
"""

import importlib
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from fv2v.extras import check_extra, installed

LEAST_SQUARE = 1e-10  # lower bound of mean squares: equal pictures have 100 dB, not infinity
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of each halving (Wang, Simoncelli, Bovik 2003)
WINDOW = 11  # pixels on a side of the Gaussian window of SSIM
GRADIENT_SCALES = 3


def knows_ssim() -> bool:
    """Whether `ssim` and `ms_ssim` can be computed: torchmetrics is installed."""
    return installed("torchmetrics")


def l1(images: Tensor, true: Tensor) -> Tensor:
    """Mean absolute difference on the scale 0 to 255, as the paper gives it: (B,)."""
    images, true = _pair(images, true)
    return 255 * (images - true).abs().flatten(1).mean(1)


def psnr(images: Tensor, true: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, at most 100: (B,)."""
    images, true = _pair(images, true)
    return -10 * (images - true).square().flatten(1).mean(1).clamp(min=LEAST_SQUARE).log10()


def ssim(images: Tensor, true: Tensor) -> Tensor:
    """Structural similarity in a Gaussian window of 11 pixels, edges mirrored: (B,), 1 for equal pictures."""
    images, true = _pair(images, true)
    similarity = _torchmetrics().structural_similarity_index_measure
    return similarity(images, true, reduction="none", data_range=1.0).reshape(len(images))


def ms_ssim(images: Tensor, true: Tensor) -> Tensor:
    """SSIM over up to five halvings (`ms_ssim_scales`): (B,), 1 for equal pictures."""
    images, true = _pair(images, true)
    weights = MS_SSIM_WEIGHTS[: ms_ssim_scales(min(images.shape[2:]))]
    similarity = _torchmetrics().multiscale_structural_similarity_index_measure
    betas = tuple(weight / sum(weights) for weight in weights)
    return similarity(images, true, reduction="none", data_range=1.0, betas=betas).reshape(len(images))


def ms_ssim_scales(side: int) -> int:
    """How many of the five scales of MS-SSIM pictures of `side` pixels have: all from 176 px on, 4 from 99.

    The smallest must hold the window. Fewer scales share the whole weight in the same proportions, which
    is another measure: only numbers of as many scales compare.

    Raises:
        ValueError: pictures smaller than the window.
    """
    for scales in range(len(MS_SSIM_WEIGHTS), 0, -1):
        # torchmetrics divides by the square, which is 9 in place of 8 at four scales
        if side // max((scales - 1) ** 2, 1 << (scales - 1)) >= WINDOW:
            return scales
    raise ValueError(f"SSIM: expected pictures of at least {WINDOW} pixels on a side, got {side}")


def gradient_distance(images: Tensor, true: Tensor) -> Tensor:
    """The sum over three scales of the mean absolute difference of x and of y differences: (B,).

    It compares where edges are, not how bright the areas between them are: a head in a wrong pose is farther
    away than a blurred one in the right pose.
    """
    images, true = _pair(images, true)
    distance = torch.zeros(len(images), device=images.device)
    for scale in range(GRADIENT_SCALES):
        if scale:
            images, true = avg_pool2d(images, 2), avg_pool2d(true, 2)
        difference = images - true
        for step in (difference.diff(dim=-1), difference.diff(dim=-2)):
            distance = distance + step.abs().flatten(1).mean(1)
    return distance


def gradient_energy(images: Tensor) -> Tensor:
    """(B, H, W): the squares of the differences to the next pixel in x and in y, summed over colours.

    The last column has no next pixel in x and the last row none in y. Blur takes most of it away.
    """
    images = images.float()
    right, down = images.diff(dim=-1).square().sum(1), images.diff(dim=-2).square().sum(1)
    return pad(right, (0, 1)) + pad(down, (0, 0, 0, 1))


def _pair(images: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32. ValueError unless they are pictures of equal number and size."""
    if images.dim() != 4 or images.shape[1] != 3 or images.shape != true.shape:
        raise ValueError(
            f"expected two batches of pictures (B, 3, H, W) of one size, got {tuple(images.shape)} "
            f"and {tuple(true.shape)}"
        )
    if not (images.is_floating_point() and true.is_floating_point()):
        raise ValueError(f"expected pictures in [0, 1], floating point; got {images.dtype} and {true.dtype}")
    return images.float(), true.float()


def _torchmetrics() -> Any:
    check_extra("SSIM", ("torchmetrics",), "train")
    return importlib.import_module("torchmetrics.functional.image")
