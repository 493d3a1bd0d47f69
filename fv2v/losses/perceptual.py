# SPDX-License-Identifier: Apache-2.0
"""L_P, the perceptual loss: pictures compared by the features of a trained network (Johnson et al. 2016)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fv2v.losses.distance import l1
from fv2v.networks.blocks import pyramid

VGG_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


class PerceptualLoss(nn.Module):
    """Σ over resolutions and feature maps of weight × mean abs(φ(output) - φ(target)) (paper, Sec. 3).

    Resolutions halve, and are averaged down. The target gets no gradient.

    `features` maps pictures (B, 3, H, W) in [0, 1] to as many feature maps as there are weights; it is frozen
    here, and stays in evaluation mode. With `Vgg19Features` this is the paper's first term. Its second, a
    VGG-16 trained on faces at one resolution, is the same with another module: `PerceptualLoss(face, weights,
    scales=1)`.
    """

    def __init__(self, features: nn.Module, weights: Sequence[float] = VGG_WEIGHTS, scales: int = 3) -> None:
        super().__init__()
        self.features = features.requires_grad_(False)
        self.weights, self.scales = tuple(weights), scales
        self.eval()

    def train(self, mode: bool = True) -> "PerceptualLoss":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] each -> scalar.

        ValueError where the pictures' shapes differ or do not halve, or where `features` makes another number
        of maps.
        """
        if output.shape != target.shape:
            raise ValueError(
                f"expected two pictures of one shape, got {tuple(output.shape)} and {tuple(target.shape)}"
            )
        terms = []
        for y, d in zip(pyramid(output, self.scales), pyramid(target, self.scales), strict=True):
            with torch.no_grad():
                wanted = self._maps(d)
            terms += [w * l1(a, b) for w, a, b in zip(self.weights, self._maps(y), wanted, strict=True)]
        return torch.stack(terms).sum()

    def _maps(self, image: Tensor) -> Sequence[Tensor]:
        maps = self.features(image)
        if len(maps) != len(self.weights):
            raise ValueError(
                f"expected {len(self.weights)} feature maps of {type(self.features).__name__}, one a weight, "
                f"got {len(maps)}"
            )
        return maps
