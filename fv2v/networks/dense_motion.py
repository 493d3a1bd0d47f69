# SPDX-License-Identifier: Apache-2.0
"""M, the motion field estimator: which keypoint moves what, and what the source does not show (Sec. 3.2)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from fv2v.config import ModelConfig
from fv2v.networks.blocks import AntiAliasedStride, DepthConv2d, conv3d
from fv2v.networks.hourglass import Hourglass3d
from fv2v_kernels import warp_candidates


class MotionField(NamedTuple):
    """What M estimates for a driving frame."""

    # (B, K+1, D, H, W), before the softmax over the K+1 flows, of which 0 is the background; or what
    # engine/passes/taps_in_channels.py makes of them
    mask_logits: Tensor
    occlusion: Tensor  # (B, 1, H, W)  o, 1 where the source shows what the frame needs


class DenseMotion(nn.Module):
    """Each of K keypoints proposes a flow; M estimates how much each counts at every voxel.

    w_k(p) = A_k (p − x_d,k) + x_s,k is the flow around keypoint k. The K+1 warps of the compressed volume
    and the Gaussian differences are made in one operator, which builds the flows as it reads.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, flat = config.dense_motion, config.volume_depth == 1
        self.align_corners, self.variance = config.align_corners, c.variance
        self.memory_format = torch.contiguous_format  # that the hourglass reads
        self.reduce = AntiAliasedStride(config.volume_stride) if c.reads == "picture" else None
        self.compressor: nn.Module = nn.Identity()
        self.norm: nn.Module = nn.Identity()
        if self.reduce is None:
            self.compressor = nn.Conv3d(config.volume_channels, c.compressed_channels, 1)
            self.norm = nn.BatchNorm3d(c.compressed_channels)
        candidates = config.flows * (c.compressed_channels + 1)
        self.hourglass = Hourglass3d(candidates, c.widths, c.out_width, flat=flat, joined=c.joined)
        hidden = self.hourglass.out_channels
        self.mask = conv3d(hidden, config.flows, c.kernel, flat=flat)
        self.occlusion = DepthConv2d(hidden * config.volume_depth, 1, c.kernel, padding=c.kernel // 2)

    def compress(self, features: Tensor, image: Tensor) -> Tensor:
        """f_s (B, C, D, H, W), or the picture itself -> (B, C', D, H, W).

        Knows nothing of the driving frame: once a source.
        """
        if self.reduce is not None:
            return self.reduce(image).unsqueeze(2)
        return relu(self.norm(self.compressor(features)))

    def forward(
        self, compressed: Tensor, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None
    ) -> MotionField:
        """compressed (B or 1, C', D, H, W), keypoints (B, K, 3), affine (B, 3, 3), (B, K, 3, 3) or None."""
        candidates = warp_candidates(
            compressed,
            kp_source,
            kp_driving,
            affine,
            align_corners=self.align_corners,
            variance=self.variance,
            memory_format=self.memory_format,
        )  # (B, (K+1)(C'+1), D, H, W)
        hidden = self.hourglass(candidates)
        return MotionField(self.mask(hidden), self.occlusion(hidden).sigmoid())
