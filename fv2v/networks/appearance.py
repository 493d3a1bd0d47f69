# SPDX-License-Identifier: Apache-2.0
"""F, the appearance feature extractor: a picture becomes a volume of features (Sec. 3.1)."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import gelu

from fv2v.config import ModelConfig, TransformerConfig
from fv2v.networks.blocks import DownBlock2d, ResBlock3d, SameBlock2d
from fv2v.networks.vision_transformer import VisionTransformer


def appearance_extractor(config: ModelConfig) -> "AppearanceExtractor | TransformerExtractor":
    """F as the config has it."""
    transformer = config.appearance.transformer
    return TransformerExtractor(config, transformer) if transformer else AppearanceExtractor(config)


class AppearanceExtractor(nn.Module):
    """Convolutions down to a quarter of the size, channels unfolded into depth, residual blocks in 3D."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = config.appearance.widths
        self.depth = config.volume_depth
        self.first = SameBlock2d(3, widths[0], kernel=config.appearance.kernel)
        self.down = nn.Sequential(*(DownBlock2d(a, b) for a, b in pairwise(widths)))
        self.lift: nn.Module = nn.Identity()
        if config.appearance.lift:
            self.lift = nn.Conv2d(widths[-1], config.flat_channels, 1)
        self.residual = _residual(config)
        channels = config.generator.detail_channels
        self.detail = nn.ModuleList(
            nn.Conv2d(width, channels, 1) for width, _ in zip(widths, config.detail_sizes, strict=False)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """image (B, 3, H, W) in [0, 1] -> f_s (B, C, D, H/4, W/4), and `Source.detail`."""
        x, detail = self.first(image), []
        for i, block in enumerate(self.down):
            if self.detail:
                detail.append(self.detail[i](x))
            x = block(x)
        flat = self.lift(x)  # (B, C·D, H/4, W/4)
        return self.residual(flat.unflatten(1, (-1, self.depth))), tuple(detail)


class TransformerExtractor(nn.Module):
    """PerformRecast's F: tokens of a vision transformer, 2×2 voxels each, in place of the convolutions."""

    def __init__(self, config: ModelConfig, transformer: TransformerConfig) -> None:
        super().__init__()
        width = transformer.width
        self.depth = config.volume_depth
        self.transformer = VisionTransformer(transformer)
        self.enlarge = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.lift = nn.Conv2d(width, config.flat_channels, 1)
        self.residual = _residual(config)

    def forward(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """image (B, 3, H, W) in [0, 1] -> f_s (B, C, D, 2H/patch, 2W/patch), and no detail."""
        flat = self.lift(gelu(self.enlarge(self.transformer(image))))
        return self.residual(flat.unflatten(1, (-1, self.depth))), ()


def _residual(config: ModelConfig) -> nn.Sequential:
    flat = config.volume_depth == 1
    return nn.Sequential(
        *(ResBlock3d(config.volume_channels, flat=flat) for _ in range(config.appearance.residual_blocks))
    )
