# SPDX-License-Identifier: Apache-2.0
"""What H and Δ look with: three trunks, each (B, …) -> (B, C), a summary that small heads read."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, leaky_relu

from fv2v.config import HeadConfig
from fv2v.networks.blocks import ResBottleneck


def trunk(config: HeadConfig) -> nn.Module:
    """The trunk that `config` names; its summary has `config.widths[-1]` channels."""
    kinds = {"resnet": ResNetTrunk, "convnext": ConvNeXtTrunk, "coefficients": CoefficientTrunk}
    return kinds[config.trunk](config)


class ResNetTrunk(nn.Module):
    """The paper's, nearly a ResNet-50: (B, 3, H, W) in [0, 1] -> (B, C)."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(config.inputs, config.stem_width, 7, stride=2, padding=3),
            nn.BatchNorm2d(config.stem_width),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        entering = (config.stem_width, *config.widths[:-1])
        sizes = zip(entering, config.widths, config.blocks, strict=True)
        self.stages = nn.Sequential(
            *(Stage(before, width, blocks, strided=i > 0) for i, (before, width, blocks) in enumerate(sizes))
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.stages(self.stem(image)).mean(dim=(2, 3))


class Stage(nn.Module):
    """1×1 convolution to `channels`, a bottleneck that halves the size where `strided`, plain bottlenecks."""

    def __init__(self, in_channels: int, channels: int, blocks: int, *, strided: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.ReLU()
        self.halve = ResBottleneck(channels, stride=2) if strided else nn.Identity()
        self.blocks = nn.Sequential(*(ResBottleneck(channels) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.halve(self.activation(self.norm(self.conv(x)))))


class ConvNeXtTrunk(nn.Module):
    """LivePortrait's, ConvNeXt V2 (Woo et al. 2023): (B, 3, H, W) in [0, 1] -> (B, C).

    The size is divided by 4, then by 2 before each further stage.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        widths = config.widths
        first = nn.Conv2d(config.inputs, widths[0], 4, stride=4)
        self.reduce = nn.ModuleList([first, *(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))])
        # the first one follows its convolution, the others go before theirs
        self.norms = nn.ModuleList(_layer_norm(width) for width in (widths[0], *widths[:-1]))
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(width) for _ in range(blocks)))
            for width, blocks in zip(widths, config.blocks, strict=True)
        )
        self.norm = _layer_norm(widths[-1])

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for i, (reduce, norm, stage) in enumerate(zip(self.reduce, self.norms, self.stages, strict=True)):
            x = _over_channels(norm, reduce(x)) if i == 0 else reduce(_over_channels(norm, x))
            x = stage(x)
        return self.norm(x.mean(dim=(2, 3)))


class ConvNeXtBlock(nn.Module):
    """x + (7×7 of each channel, norm, ×4 wide, GELU, response norm, back): (B, C, H, W) as it is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = _layer_norm(channels)
        self.widen = nn.Linear(channels, 4 * channels)
        self.response = ResponseNorm(4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x).permute(0, 2, 3, 1)  # (B, H, W, C)
        y = self.narrow(self.response(gelu(self.widen(self.norm(y)))))
        return x + y.permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """x + γ x N + β, where N is a channel's norm over the picture against the channels' mean of it.

    (B, H, W, C); ConvNeXt V2's global response normalisation.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        return self.gamma * (x * (size / (size.mean(dim=-1, keepdim=True) + 1e-6))) + self.beta + x


def _layer_norm(channels: int) -> nn.LayerNorm:
    return nn.LayerNorm(channels, eps=1e-6)


def _over_channels(norm: nn.Module, x: Tensor) -> Tensor:
    """A norm of the last dimension, over the channels of (B, C, H, W)."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class CoefficientTrunk(nn.Module):
    """SadTalker's mapping network: windows of 3DMM coefficients (B, coefficients, frames) -> (B, C).

    Convolutions over time without padding: a window as long as `HeadConfig.window` leaves three frames (27,
    21, 15, 9, 3 with three blocks), whose mean is the summary.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        (width,), (blocks,) = config.widths, config.blocks
        self.first = nn.Conv1d(config.inputs, width, 7)
        self.residual = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=3) for _ in range(blocks))

    def forward(self, window: Tensor) -> Tensor:
        x = self.first(window)
        for conv in self.residual:
            x = conv(leaky_relu(x, 0.1)) + x[:, :, 3:-3]
        return x.mean(dim=2)
