# SPDX-License-Identifier: Apache-2.0
"""L_G, the GAN loss with D's hinge (Lim and Ye 2017) and feature matching (Wang et al. 2018).

Each is the mean over D's scales; the paper does not state whether scales are summed; it has one at 256 px.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import relu

from fv2v.losses.distance import l1, wide
from fv2v.networks.discriminator import PatchScores


def discriminator_loss(real: list[PatchScores], fake: list[PatchScores]) -> Tensor:
    """What D minimises: E max(0, 1 − D(real)) + E max(0, 1 + D(fake)), of a detached fake picture."""
    terms = [
        relu(1 - wide(r.scores)).mean() + relu(1 + wide(f.scores)).mean() for r, f in _scales(real, fake)
    ]
    return torch.stack(terms).mean()


def generator_loss(fake: list[PatchScores]) -> Tensor:
    """What G minimises: −E D(fake)."""
    return torch.stack([-wide(each.scores).mean() for each in fake]).mean()


def feature_matching(real: list[PatchScores], fake: list[PatchScores]) -> Tensor:
    """Σ over D's blocks of the mean L1 between their feature maps, without a gradient to the real ones."""
    terms = [
        torch.stack([l1(a, b.detach()) for a, b in zip(f.features, r.features, strict=True)]).sum()
        for r, f in _scales(real, fake)
    ]
    return torch.stack(terms).mean()


def _scales(real: list[PatchScores], fake: list[PatchScores]) -> Iterator[tuple[PatchScores, PatchScores]]:
    if len(real) != len(fake):
        raise ValueError(f"expected as many scales of real and fake, got {len(real)} and {len(fake)}")
    return zip(real, fake, strict=True)
