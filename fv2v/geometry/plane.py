# SPDX-License-Identifier: Apache-2.0
"""Pictures as volumes of depth 1: their points lie at z = 0, and what turns them leaves z alone."""

import torch
from torch import Tensor
from torch.nn.functional import pad


def embedded(matrices: Tensor) -> Tensor:
    """(..., 2, 2), acting on (x, y) -> (..., 3, 3), which leave z as it is."""
    depth = torch.eye(3, dtype=matrices.dtype, device=matrices.device)[2:].expand(*matrices.shape[:-2], 1, 3)
    return torch.cat([pad(matrices, (0, 1)), depth], dim=-2)


def projected(keypoints: Tensor) -> Tensor:
    """(..., 3) -> (..., 3) at z = 0."""
    return pad(keypoints[..., :2], (0, 1))
