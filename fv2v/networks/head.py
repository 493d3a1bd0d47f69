"""H and Δ on one trunk: where a head points and is, and how its expression moves the keypoints (Sec. 3.1)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from fv2v.config import HeadConfig, ModelConfig
from fv2v.geometry import Motion, coordinate_dtype, rotation_from_euler
from fv2v.networks.blocks import ResBottleneck


class HeadEstimator(nn.Module):
    """A ResNet-50-like trunk and five linear heads: pitch, yaw and roll as bins, t, δ."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config.head
        self.geometry = config.geometry
        self.stem = nn.Sequential(
            nn.Conv2d(3, c.stem_width, 7, stride=2, padding=3),
            nn.BatchNorm2d(c.stem_width),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        entering = (c.stem_width, *c.widths[:-1])
        self.stages = nn.Sequential(
            *(
                Stage(before, width, blocks, strided=i > 0)
                for i, (before, width, blocks) in enumerate(zip(entering, c.widths, c.blocks, strict=True))
            )
        )
        self.pitch, self.yaw, self.roll = (BinnedAngle(c) for _ in range(3))
        self.translation = nn.Linear(c.widths[-1], 3)
        self.expression = nn.Linear(c.widths[-1], 3 * config.keypoints)

    def forward(self, image: Tensor) -> Motion:
        """image (B, 3, H, W) in [0, 1]; the Motion is float32 beside half-precision weights."""
        summary = self.stages(self.stem(image)).mean(dim=(2, 3))  # (B, C)
        dtype = coordinate_dtype(summary.dtype)
        rotation = rotation_from_euler(
            self.pitch(summary),
            self.yaw(summary),
            self.roll(summary),
            order=self.geometry.euler_order,
            pi=self.geometry.pi,
        )
        translation = self.translation(summary).to(dtype)
        expression = self.expression(summary).to(dtype).unflatten(1, (-1, 3))
        return Motion(rotation, translation, expression, torch.ones_like(translation[:, :1]))


class Stage(nn.Module):
    """1×1 convolution to `channels`, a bottleneck that halves the size where `strided`, plain bottlenecks."""

    def __init__(self, in_channels: int, channels: int, blocks: int, *, strided: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.halve = ResBottleneck(channels, stride=2) if strided else nn.Identity()
        self.blocks = nn.Sequential(*(ResBottleneck(channels) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.halve(relu(self.norm(self.conv(x)))))


class BinnedAngle(nn.Module):
    """(B, C) -> (B,) degrees, expected over bins: `degrees_per_bin` Σ i softmax_i − `degree_offset`."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.per_bin, self.offset = config.degrees_per_bin, config.degree_offset
        self.bins = nn.Linear(config.widths[-1], config.bins)

    def forward(self, summary: Tensor) -> Tensor:
        logits = self.bins(summary)
        weights = torch.softmax(logits.to(coordinate_dtype(logits.dtype)), dim=1)  # (B, bins)
        index = torch.arange(weights.shape[1], device=weights.device, dtype=weights.dtype)
        return self.per_bin * (weights @ index) - self.offset
