# SPDX-License-Identifier: Apache-2.0
"""AKD: how far a face's landmarks are from the true picture's (average keypoint distance)."""

from collections.abc import Callable

import torch
from torch import Tensor

Detector = Callable[[Tensor], Tensor]  # pictures (B, 3, H, W) in [0, 1] -> (B, N, 2) pixels


@torch.no_grad()
def akd(detector: Detector, images: Tensor, true: Tensor) -> Tensor:
    """Mean distance in pixels between the landmarks that `detector` finds in both pictures: (B,).

    The paper's detector finds 68 landmarks of the face; numbers by different detectors do not compare.

    Raises:
        ValueError: a detector that does not return as many points for each picture.
    """
    found, expected = detector(images), detector(true)
    B = len(images)
    if found.shape != expected.shape or found.dim() != 3 or found.shape[::2] != (B, 2):
        raise ValueError(
            f"AKD: expected landmarks (B, N, 2) of both batches, B={B}, got {tuple(found.shape)} "
            f"and {tuple(expected.shape)}"
        )
    return (found.float() - expected.float()).norm(dim=-1).mean(-1)
