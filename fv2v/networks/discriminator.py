# SPDX-License-Identifier: Apache-2.0
"""D, the discriminator: which patches of a picture look real (Sec. 3; the layers are public code's)."""

from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, leaky_relu

from fv2v.config import DiscriminatorConfig
from fv2v.networks.blocks import pyramid
from fv2v.networks.spade import SpectralConv2d


class PatchScores(NamedTuple):
    """D's output for B pictures at one scale."""

    features: tuple[Tensor, ...]  # (B, C, H, W) of each block, for feature matching
    scores: Tensor  # (B, 1, H, W)  above 0 where a patch looks real; no sigmoid, the loss is a hinge


class Discriminator(nn.Module):
    """One patch discriminator a scale, each with weights of its own, every convolution spectrally normed."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.scales = nn.ModuleList(PatchDiscriminator(config.widths) for _ in range(config.scales))

    def forward(self, image: Tensor) -> list[PatchScores]:
        """image (B, 3, H, W) in [0, 1] -> one `PatchScores` a scale, full size first.

        ValueError for a picture that is too small, or whose sides do not halve once for every further scale.
        """
        if min(image.shape[2:]) < self.config.smallest:
            raise ValueError(
                f"D: expected pictures of {self.config.smallest} px a side at least, with {self.config}; "
                f"got {tuple(image.shape)}"
            )
        images = pyramid(image, self.config.scales)
        return [judge(each) for judge, each in zip(self.scales, images, strict=True)]


class PatchDiscriminator(nn.Module):
    """D at one scale: blocks that widen and halve, the last without halving, then a 1×1 convolution."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        last = len(widths) - 1
        self.blocks = nn.ModuleList(
            PatchBlock(a, b, norm=i > 0, pool=i < last) for i, (a, b) in enumerate(pairwise((3, *widths)))
        )
        self.score = SpectralConv2d(widths[-1], 1, 1)

    def forward(self, image: Tensor) -> PatchScores:
        features = [image]
        for block in self.blocks:
            features.append(block(features[-1]))
        return PatchScores(tuple(features[1:]), self.score(features[-1]))


class PatchBlock(nn.Module):
    """4×4 convolution without padding, instance norm, leaky ReLU, 2×2 means."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool, pool: bool) -> None:
        super().__init__()
        self.conv = SpectralConv2d(in_channels, out_channels, 4)
        self.norm = nn.InstanceNorm2d(out_channels, affine=True) if norm else nn.Identity()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        y = leaky_relu(self.norm(self.conv(x)), 0.2)
        return avg_pool2d(y, 2) if self.pool else y
