"""Pictures compared pixel by pixel: what there is without a feature network. Not the paper's."""

import torch
from torch import Tensor

from fv2v.losses.distance import l1
from fv2v.networks.blocks import pyramid


def reconstruction(output: Tensor, target: Tensor, scales: int = 3) -> Tensor:
    """L1 of colours and of their differences to the next pixel right and down, (B, 3, H, W) each -> scalar.

    The mean over `scales` resolutions, each half of the last.
    """
    pairs = zip(pyramid(output, scales), pyramid(target, scales), strict=True)
    terms = [l1(y, d) + l1(y.diff(dim=3), d.diff(dim=3)) + l1(y.diff(dim=2), d.diff(dim=2)) for y, d in pairs]
    return torch.stack(terms).mean()
