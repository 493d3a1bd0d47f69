# SPDX-License-Identifier: Apache-2.0
"""Models as training leaves them, for tests of their rewrites."""

from dataclasses import replace

import torch
from tiny import DIRECTS, TINIES, TINY_DETAIL, TINY_DETAIL_SPADE
from torch import nn

from fv2v import checkpoints
from fv2v.config import ModelConfig
from fv2v.networks import FaceVid2Vid
from fv2v.presets import PRESETS


def narrow(config: ModelConfig) -> ModelConfig:
    """The same conventions with a few channels, at 64 px."""
    head, generator = config.head, config.generator
    transformer = config.appearance.transformer
    if transformer:
        transformer = replace(transformer, width=48, depth=2, heads=3, table=4)
    few = {"coefficients": (32,)}.get(head.trunk, (16, 32))
    flat = config.volume_depth == 1
    return replace(
        config,
        image_size=64,
        volume_channels=32 if flat else 8,
        volume_depth=1 if flat else 4,
        appearance=replace(config.appearance, widths=(8, 16, 32), residual_blocks=2, transformer=transformer),
        canonical=config.canonical
        and replace(
            config.canonical,
            widths=(16, 32),
            out_width=16,
            kernel=3,
            depth=4 if config.canonical.depth else None,
        ),
        head=replace(head, stem_width=16, widths=few, blocks=head.blocks[: len(few)]),
        dense_motion=replace(config.dense_motion, widths=(16, 32), out_width=8, kernel=3),
        generator=replace(
            generator,
            width=generator.width // 8,
            widths=tuple(width // 8 for width in generator.widths),
            residual_blocks=2,
            modulation_width=16,
        ),
    )


def trained_like(config) -> FaceVid2Vid:
    """Norms that are no identities."""
    model = checkpoints.random(config).double()
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model.eval()


# more layers, and doublings; flat volumes
SEVERAL = tuple(
    narrow(PRESETS[name]) for name in ("face-vid2vid-512", "liveportrait", "fomm-256", "face-vid2vid-256-2d")
)
CONFIGS = {config.name: config for config in (*TINIES, *DIRECTS, TINY_DETAIL, TINY_DETAIL_SPADE, *SEVERAL)}
