# SPDX-License-Identifier: Apache-2.0
"""What H sees in pictures, for a perceptual loss without VGG-19: features of a network of one's own.

H has learnt where eyes, lids, brows and lips are, and how far they have moved: pictures in which it sees the
same have the same face, where pixels alone would be content with a blurred one.
"""

from torch import Tensor, nn

from fv2v.networks import HeadEstimator
from fv2v.networks.trunks import ResNetTrunk

POOLING = 3  # the place in the stem of what only halves


class HeadFeatures(nn.Module):
    """The feature maps of a trained H: of its first convolution, and of each stage; always evaluated."""

    def __init__(self, head: HeadEstimator) -> None:
        """ValueError for a trunk that has no such stages."""
        super().__init__()
        trunk = head.trunk
        if not isinstance(trunk, ResNetTrunk):
            raise ValueError(f"expected H on the trunk 'resnet', got {type(trunk).__name__}")
        self.first, self.pooling, self.stages = trunk.stem[:POOLING], trunk.stem[POOLING:], trunk.stages
        self.requires_grad_(False).eval()

    @property
    def weights(self) -> tuple[float, ...]:
        """Of each map in `PerceptualLoss`: norms have made them alike, so they count alike."""
        return (1.0,) * (1 + len(self.stages))

    def train(self, mode: bool = True) -> "HeadFeatures":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1] -> (B, C, H/2, W/2), (B, C', H/4, W/4) and half of that a further stage."""
        maps = [self.first(image)]
        x = self.pooling(maps[0])
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
