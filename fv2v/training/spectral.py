# SPDX-License-Identifier: Apache-2.0
"""Spectral norms on the generator, in training only (Sec. 4 of the paper, appendix A)."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from fv2v.networks import FaceVid2Vid
from fv2v.networks.spade import SpectralConv2d


def add_spectral_norms(generator: nn.Module, seed: int) -> None:
    """From now on divide the weight of every plain convolution by its largest singular value σ, in place.

    `seed` is of the vectors that the power iteration starts from.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for parent in list(generator.modules()):
            for name, child in parent.named_children():
                if type(child) is nn.Conv2d:
                    setattr(parent, name, _normed(child))


def plain_weights(model: FaceVid2Vid, names: Collection[str]) -> dict[str, Tensor]:
    """The state of a model in training for a model without added norms: W / σ in place of W.

    `names` are the tensors of that model.
    """
    state = model.state_dict()
    for name, module in model.named_modules():
        if isinstance(module, SpectralConv2d) and f"{name}.weight_u" not in names:
            state[f"{name}.weight"] = module.quotient().detach()
    return {name: state[name] for name in names}


def _normed(conv: nn.Conv2d) -> SpectralConv2d:
    normed = SpectralConv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        padding=conv.padding,
        bias=conv.bias is not None,
        dtype=conv.weight.dtype,
    )
    normed.to(conv.weight.device).load_state_dict(normed.state_dict() | conv.state_dict())
    return normed.train(conv.training)
