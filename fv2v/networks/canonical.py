# SPDX-License-Identifier: Apache-2.0
"""L, the canonical keypoint detector: a face's keypoints when neutral and frontal (Sec. 3.1)."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from fv2v.config import CanonicalConfig, ModelConfig
from fv2v.networks.blocks import DownBlock2d, UpBlock3d
from fv2v_kernels import soft_argmax3d


class Canonical(NamedTuple):
    """What L estimates for a face, whatever its pose and expression."""

    keypoints: Tensor  # (B, K, 3)  x_c
    jacobians: Tensor | None  # (B, K, 3, 3)  J_c, with a Jacobian head


class CanonicalKeypoints(nn.Module):
    """Keypoints (and Jacobians) as expectations under one softmax a keypoint over the whole volume."""

    def __init__(self, config: ModelConfig, c: CanonicalConfig) -> None:
        super().__init__()
        widths = c.widths
        self.depth, self.temperature = config.volume_depth, c.temperature
        self.reduce = AntiAliasedStride(c.stride)
        self.down = nn.Sequential(*(DownBlock2d(a, b) for a, b in pairwise((3, *widths))))
        self.lift = nn.Conv2d(widths[-1], widths[-1] * config.volume_depth, 1)
        narrower = (*reversed(widths), c.out_width)
        self.up = nn.Sequential(*(UpBlock3d(a, b) for a, b in pairwise(narrower)))
        self.heatmap = nn.Conv3d(c.out_width, config.keypoints, c.kernel, padding=c.kernel // 2)
        self.jacobian = _jacobian_head(config.keypoints, c) if c.jacobian else None

    def forward(self, image: Tensor) -> Canonical:
        """image (B, 3, H, W) in [0, 1]; keypoints on the corner lattice, float32 beside half weights."""
        flat = self.lift(self.down(self.reduce(image)))  # (B, C·D, h, w)
        volume = self.up(flat.unflatten(1, (-1, self.depth)))  # (B, C, D, H/4, W/4)
        logits = self.heatmap(volume)  # (B, K, D, H/4, W/4)
        if self.jacobian is None:
            return Canonical(soft_argmax3d(logits, temperature=self.temperature), None)
        maps = self.jacobian(volume)  # (B, 9K, D, H/4, W/4)
        return Canonical(*soft_argmax3d(logits, temperature=self.temperature, jacobian_maps=maps))


def _jacobian_head(K: int, c: CanonicalConfig) -> nn.Conv3d:
    """Nine maps a keypoint, which start as the identity."""
    head = nn.Conv3d(c.out_width, 9 * K, c.kernel, padding=c.kernel // 2)
    identity = torch.eye(3).flatten().repeat(K)
    head.load_state_dict({"weight": torch.zeros_like(head.weight), "bias": identity})
    return head


class AntiAliasedStride(nn.Module):
    """Every `stride`-th pixel after a Gaussian of σ = (stride − 1) / 2, zeros outside the picture."""

    weight: Tensor

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride
        sigma = (stride - 1) / 2
        radius = round(4 * sigma)
        line = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
        kernel = line[:, None] * line
        self.register_buffer("weight", (kernel / kernel.sum()).repeat(3, 1, 1, 1))  # (3, 1, n, n)

    def forward(self, image: Tensor) -> Tensor:
        return conv2d(image, self.weight, stride=self.stride, padding=self.weight.shape[-1] // 2, groups=3)
