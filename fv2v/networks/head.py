# SPDX-License-Identifier: Apache-2.0
"""H and Δ on one trunk: where a head points and is, and how its expression moves the keypoints (Sec. 3.1)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fv2v.config import HeadConfig, ModelConfig
from fv2v.devices import no_autocast
from fv2v.geometry import Motion, coordinate_dtype, rotation_from_euler, used_translation
from fv2v.networks.trunks import trunk


class HeadEstimate(NamedTuple):
    """What H and Δ estimate for B frames."""

    motion: Motion
    canonical: Tensor | None  # (B, K, 3)  x_c, where a release estimates it here, in place of L


class HeadEstimator(nn.Module):
    """A trunk and linear heads: pitch, yaw and roll as bins, t, δ; scale and x_c where a release has them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, points = config.head, 3 * config.keypoints
        self.geometry = config.geometry
        self.trunk = trunk(c)
        self.pitch, self.yaw, self.roll = (BinnedAngle(c) for _ in range(3))
        self.translation = nn.Linear(c.widths[-1], 3)
        self.expression = nn.Linear(c.widths[-1], points)
        self.scale = nn.Linear(c.widths[-1], c.scales) if c.scale else None
        if self.scale and c.scales > 1:  # three at random would hardly all be positive
            nn.init.ones_(self.scale.bias)
        self.canonical = nn.Linear(c.widths[-1], points) if config.canonical is None else None

    def forward(self, seen: Tensor) -> HeadEstimate:
        """Pictures (B, 3, H, W) in [0, 1], or what else the trunk takes. float32 beside half weights."""
        summary = self.trunk(seen)  # (B, C)
        with no_autocast(summary):
            return self._read(summary.to(self.translation.weight.dtype))

    def _read(self, summary: Tensor) -> HeadEstimate:
        """(B, C), as the trunk leaves it but for autocast."""
        dtype = coordinate_dtype(summary.dtype)
        rotation = rotation_from_euler(
            self.pitch(summary),
            self.yaw(summary),
            self.roll(summary),
            order=self.geometry.euler_order,
            pi=self.geometry.pi,
        )
        translation = used_translation(self.translation(summary).to(dtype), self.geometry)
        expression = self.expression(summary).to(dtype).unflatten(1, (-1, 3))
        scale = self.scale(summary).to(dtype) if self.scale else torch.ones_like(translation[:, :1])
        canonical = self.canonical(summary).to(dtype).unflatten(1, (-1, 3)) if self.canonical else None
        return HeadEstimate(Motion(rotation, translation, expression, scale), canonical)


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
