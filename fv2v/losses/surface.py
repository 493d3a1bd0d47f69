# SPDX-License-Identifier: Apache-2.0
"""The source's own pixels at the flow that detail follows, compared directly. Not in the paper."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fv2v.losses.distance import wide
from fv2v.networks.detail import Surface, moved


def moved_source(source: Tensor, target: Tensor, surface: Surface, focus: Tensor | None = None) -> Tensor:
    """L1 between the source's picture, moved as what is seen has moved, and the target -> scalar.

    G can make up for a flow that is a few pixels off in the volume, but not in detail. Pixels that the source
    does not show count as little as the occlusion map says, which this teaches nothing.

    Args:
        source, target: (B, 3, n, n).
        surface: of the networks that render the one in the other's pose.
        focus: (B, 1, n, n), the weight of each pixel, as `focus_on` returns it.
    """
    found = moved(wide(source), wide(surface.flow), torch.ones_like(surface.occlusion, dtype=torch.float32))
    visible = wide(surface.occlusion.detach())
    weights = interpolate(visible, size=target.shape[2:], mode="bilinear", align_corners=False)
    if focus is not None:
        weights = weights * focus
    return ((found - wide(target)).abs() * weights).mean() / weights.mean()
