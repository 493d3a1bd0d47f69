# SPDX-License-Identifier: Apache-2.0
"""LivePortrait's three small networks on keypoints: stitching, and retargeting of eyes and lips."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from fv2v.config import RetargetingConfig


class Retargeting(nn.Module):
    """What to add to keypoints (B, K, 3) so that a face fits its picture, or opens eyes and lips as asked."""

    def __init__(self, keypoints: int, config: RetargetingConfig) -> None:
        super().__init__()
        points = 3 * keypoints
        self.stitching = _mlp(2 * points, *config.stitch, points + 2)
        self.lips = _mlp(points + 2, *config.lips, points)
        self.eyes = _mlp(points + 3, *config.eyes, points)

    def stitch(self, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """kp_driving, moved so that neck and shoulders stay where the source has them."""
        output = _run(self.stitching, kp_source, kp_driving)
        delta, shift = output[:, :-2].unflatten(1, (-1, 3)), output[:, -2:]
        stitched = kp_driving + delta
        return torch.cat([stitched[..., :2] + shift.unsqueeze(1), stitched[..., 2:]], dim=-1)

    def lip_delta(self, kp_source: Tensor, ratios: Tensor) -> Tensor:
        """ratios (B, 2): how far the source's lips are open, and how far they should be -> (B, K, 3)."""
        return _run(self.lips, kp_source, ratios).unflatten(1, (-1, 3))

    def eye_delta(self, kp_source: Tensor, ratios: Tensor) -> Tensor:
        """ratios (B, 3): the source's left and right eye, and what both should be -> (B, K, 3)."""
        return _run(self.eyes, kp_source, ratios).unflatten(1, (-1, 3))


def _mlp(*widths: int) -> nn.Sequential:
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def _run(network: nn.Sequential, points: Tensor, other: Tensor) -> Tensor:
    """The network on both inputs in the dtype of its weights; the result in the dtype of `points`."""
    weights = next(network.parameters()).dtype
    inputs = torch.cat([points.flatten(1), other.flatten(1)], dim=1)
    return network(inputs.to(weights)).to(points.dtype)
