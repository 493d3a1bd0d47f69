"""Members of the family small enough for a test to run in milliseconds."""

from dataclasses import replace

import numpy as np

from fv2v.config import (
    VOX_256,
    AppearanceConfig,
    CanonicalConfig,
    DenseMotionConfig,
    GeneratorConfig,
    HeadConfig,
    ModelConfig,
)
from fv2v.reenactor import Reenactor

TINY = ModelConfig(
    name="tiny",
    image_size=32,
    keypoints=5,
    volume_channels=4,
    volume_depth=4,
    appearance=AppearanceConfig(widths=(8, 16), residual_blocks=1),
    canonical=CanonicalConfig(stride=2, widths=(8, 16), out_width=8, kernel=3),
    head=HeadConfig(stem_width=8, widths=(16, 32), blocks=(1, 1)),
    dense_motion=DenseMotionConfig(compressed_channels=2, widths=(8, 16), out_width=8, kernel=3),
    generator=GeneratorConfig(width=16, widths=(16, 8), residual_blocks=1),
)
# the release's geometry and lattice on tiny networks
TINY_VOX_JACOBIAN = replace(TINY, name="tiny-vox-jacobian", align_corners=False, geometry=VOX_256.geometry)
TINY_VOX = replace(TINY_VOX_JACOBIAN, name="tiny-vox", canonical=replace(TINY.canonical, jacobian=False))
TINIES = (TINY, TINY_VOX, TINY_VOX_JACOBIAN)


def lively(reenactor: Reenactor) -> Reenactor:
    """Fresh weights hardly see their input: louder heads make pictures that differ from frame to frame."""
    model = reenactor.model
    for layer in (model.head.pitch.bins, model.head.yaw.bins, model.head.translation, model.head.expression):
        layer.weight.mul_(30)
    model.canonical.heatmap.weight.mul_(30)
    model.dense_motion.mask.weight.mul_(30)
    model.generator.decoder.final.weight.mul_(30)
    return reenactor


def pictures(count: int, seed: int = 0, size: int = 32) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8))
