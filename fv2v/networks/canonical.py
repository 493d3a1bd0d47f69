# SPDX-License-Identifier: Apache-2.0
"""L, the canonical keypoint detector: a face's keypoints when neutral and frontal (Sec. 3.1)."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from fv2v.config import CanonicalConfig, ModelConfig
from fv2v.geometry.plane import embedded
from fv2v.networks.blocks import AntiAliasedStride, DownBlock2d, UpBlock3d, conv3d
from fv2v.networks.hourglass import Hourglass3d
from fv2v_kernels import soft_argmax3d


class Canonical(NamedTuple):
    """What L estimates for a face, whatever its pose and expression."""

    keypoints: Tensor  # (B, K, 3)  x_c
    jacobians: Tensor | None  # (B, K, 3, 3)  J_c, with a Jacobian head


class CanonicalKeypoints(nn.Module):
    """Keypoints (and Jacobians) as expectations under one softmax a keypoint over the whole volume.

    In models without H they are where the picture has them, and not canonical.
    """

    def __init__(self, config: ModelConfig, c: CanonicalConfig) -> None:
        super().__init__()
        widths = c.widths
        self.depth = c.depth or config.volume_depth
        self.temperature, self.flat, flat = c.temperature, c.hourglass, self.depth == 1
        self.reduce = AntiAliasedStride(c.stride)
        if c.hourglass:
            self.hourglass = Hourglass3d(3, widths, c.out_width, flat=flat, joined=False)
            hidden = self.hourglass.out_channels
        else:
            self.down = nn.Sequential(*(DownBlock2d(a, b) for a, b in pairwise((3, *widths))))
            self.lift = nn.Conv2d(widths[-1], widths[-1] * self.depth, 1)
            narrower = (*reversed(widths), c.out_width)
            self.up = nn.Sequential(*(UpBlock3d(a, b, flat=flat) for a, b in pairwise(narrower)))
            hidden = c.out_width
        self.heatmap = conv3d(hidden, config.keypoints, c.kernel, flat=flat, padded=not c.hourglass)
        self.jacobian = _jacobian_head(hidden, config.keypoints, c, flat) if c.jacobian else None

    def forward(self, image: Tensor) -> Canonical:
        """image (B, 3, H, W) in [0, 1]; keypoints on the corner lattice, float32 beside half weights."""
        volume = self._volume(self.reduce(image))  # (B, C, D, H/4, W/4)
        logits = self.heatmap(volume)  # (B, K, D, H/4, W/4)
        if self.jacobian is None:
            return Canonical(soft_argmax3d(logits, temperature=self.temperature), None)
        maps = self._maps(self.jacobian(volume), logits.shape[1])  # (B, 9K, D, H/4, W/4)
        keypoints, jacobians = soft_argmax3d(logits, temperature=self.temperature, jacobian_maps=maps)
        return Canonical(keypoints, embedded(jacobians[..., :2, :2]) if self.depth == 1 else jacobians)

    def _volume(self, small: Tensor) -> Tensor:
        if self.flat:
            return self.hourglass(small.unsqueeze(2))
        flat = self.lift(self.down(small))  # (B, C·D, h, w)
        return self.up(flat.unflatten(1, (-1, self.depth)))

    def _maps(self, maps: Tensor, keypoints: int) -> Tensor:
        """Nine maps a keypoint of what the head returns: where it is flat four, or of one set for all."""
        if maps.shape[1] == 9 * keypoints:
            return maps
        each, n = maps.flatten(2), 2 if self.depth == 1 else 3  # no more than five dimensions, for export
        each = pad(each.unflatten(1, (-1, n, n)), (0, 0) + (0, 3 - n) * 2).flatten(2, 3)  # (B, 1 or K, 9, N)
        return each.expand(-1, keypoints, -1, -1).flatten(1, 2).unflatten(2, maps.shape[2:])


def _jacobian_head(channels: int, K: int, c: CanonicalConfig, flat: bool) -> nn.Conv3d:
    """Nine maps a keypoint, or four where the volume is flat, which start as the identity."""
    n, sets = 2 if flat else 3, 1 if c.shared_jacobian else K
    head = conv3d(channels, n * n * sets, c.kernel, flat=flat, padded=not c.hourglass)
    with torch.device("cpu"):  # on "meta", this would import PyTorch's compiler
        identity = torch.eye(n).flatten().repeat(sets)
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(identity)  # type: ignore[union-attr]  # a convolution with a bias
    return head
