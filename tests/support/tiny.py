# SPDX-License-Identifier: Apache-2.0
"""Members of the family small enough for a test to run in milliseconds."""

from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from fv2v.config import (
    AppearanceConfig,
    CanonicalConfig,
    DenseMotionConfig,
    GeneratorConfig,
    HeadConfig,
    ModelConfig,
    RetargetingConfig,
    TransformerConfig,
)
from fv2v.geometry import Source
from fv2v.networks import FaceVid2Vid
from fv2v.presets import (
    FACE_VID2VID_256_DIRECT,
    FOMM_256,
    LIVEPORTRAIT,
    PERFORMRECAST,
    SADTALKER_256,
    VOX_256,
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
TINY_VOX_JACOBIAN = replace(
    TINY, name="tiny-vox-jacobian", resize=VOX_256.resize, align_corners=False, geometry=VOX_256.geometry
)
TINY_VOX = replace(TINY_VOX_JACOBIAN, name="tiny-vox", canonical=replace(TINY.canonical, jacobian=False))
# every option of the presets that they are named after, but for the sizes
TINY_SPADE = replace(
    TINY_VOX,
    name="tiny-spade",
    appearance=replace(TINY.appearance, kernel=3),
    generator=GeneratorConfig(
        width=16, decoder="spade", widths=(32, 8), residual_blocks=1, modulation_width=8
    ),
)
TINY_SADTALKER = replace(
    TINY_SPADE,
    name="tiny-sadtalker",
    geometry=SADTALKER_256.geometry,
    head=replace(SADTALKER_256.head, widths=(32,)),
    dense_motion=replace(TINY.dense_motion, mask_threshold=SADTALKER_256.dense_motion.mask_threshold),
)
TINY_LIVEPORTRAIT = replace(
    TINY_SPADE,
    name="tiny-liveportrait",
    keypoints=LIVEPORTRAIT.keypoints,
    resize=LIVEPORTRAIT.resize,
    truncates=LIVEPORTRAIT.truncates,
    geometry=LIVEPORTRAIT.geometry,
    canonical=None,
    head=replace(LIVEPORTRAIT.head, widths=(16, 32), blocks=(1, 1)),
    generator=replace(TINY_SPADE.generator, pixel_shuffle=2),
    retargeting=RetargetingConfig(stitch=(16,), lips=(16,), eyes=(16,)),
)
TINY_PERFORMRECAST = replace(
    TINY_LIVEPORTRAIT,
    name="tiny-performrecast",
    keypoints=PERFORMRECAST.keypoints,
    geometry=PERFORMRECAST.geometry,
    appearance=AppearanceConfig(
        residual_blocks=1, transformer=TransformerConfig(patch=8, width=16, depth=1, heads=2, table=4)
    ),
    head=replace(PERFORMRECAST.head, widths=(16, 32), blocks=(1, 1)),
    retargeting=None,
)
# features finer than the volume join G: each at its stage; or both before a pixel shuffle
TINY_DETAIL = replace(
    TINY,
    name="tiny-detail",
    appearance=replace(TINY.appearance, widths=(8, 12, 16)),
    generator=replace(TINY.generator, widths=(16, 12, 8), detail_channels=4),
)
TINY_DETAIL_SPADE = replace(
    TINY_DETAIL,
    name="tiny-detail-spade",
    align_corners=False,
    generator=replace(TINY_SPADE.generator, pixel_shuffle=2, detail_channels=3),
)
TINY_FOMM = replace(
    TINY,
    name="tiny-fomm",
    volume_channels=16,
    volume_depth=1,
    resize=FOMM_256.resize,
    geometry=FOMM_256.geometry,
    appearance=replace(FOMM_256.appearance, widths=(8, 16)),
    canonical=replace(TINY.canonical, hourglass=True),
    head=FOMM_256.head,
    dense_motion=replace(TINY.dense_motion, reads="picture", compressed_channels=3, joined=False),
    generator=replace(TINY.generator, project=False),
)
TINY_DIRECT = replace(TINY, name="tiny-direct", geometry=FACE_VID2VID_256_DIRECT.geometry, head=FOMM_256.head)
TINY_2D = replace(
    TINY, name="tiny-2d", volume_channels=16, volume_depth=1, canonical=replace(TINY.canonical, depth=4)
)
TINIES = (
    TINY,
    TINY_VOX,
    TINY_VOX_JACOBIAN,
    TINY_SPADE,
    TINY_SADTALKER,
    TINY_PERFORMRECAST,
    TINY_LIVEPORTRAIT,
)
# without a pose, and flat: where what the others share is not all that they can do
DIRECTS = (TINY_FOMM, TINY_DIRECT)
SEEING = tuple(config for config in TINIES if not config.head.window)  # those that pictures drive


def lively(reenactor: Reenactor) -> Reenactor:
    """Fresh weights hardly see their input: louder heads make pictures that differ from frame to frame."""
    model = reenactor.model
    head = model.head
    model.dense_motion.mask.weight.mul_(30)
    if model.canonical:
        model.canonical.heatmap.weight.mul_(30)
    if model.config.head.trunk == "resnet":  # the other trunks speak up as they are
        for layer in (head.pitch.bins, head.yaw.bins, head.translation, head.expression):
            layer.weight.mul_(30)
    if model.config.generator.decoder == "residual":  # and so does SPADE, which normalises
        model.generator.decoder.final.weight.mul_(30)
    if head is not None and head.scale:
        head.scale.bias.fill_(1)  # there are no faces of no size, or of less
    reenactor._run(deepcopy(model), optimize=reenactor.networks is not model)
    return reenactor


def uncaptured(reenactor: Reenactor) -> Reenactor:
    """Runs the same networks without graphs, so that hooks see every frame, on a GPU too."""
    other = copy(reenactor)
    other.runner = copy(reenactor.runner)
    other.runner.graphs = None
    return other


def assert_frames_close(actual: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    """To one level of 255: batches add in another order, and graphs by other kernels."""
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == np.uint8
        assert np.abs(a.astype(int) - b).max() <= 1


def sized_as_trained(config: ModelConfig) -> FaceVid2Vid:
    """Weights of the size that training leaves: every layer passes on what it gets."""
    torch.manual_seed(0)
    model = FaceVid2Vid(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    head = model.head
    for name in ("translation", "expression", "canonical", "scale"):
        if getattr(head, name, None) is not None:
            torch.nn.init.normal_(getattr(head, name).weight, std=0.01)  # keypoints stay in the volume
    if getattr(head, "scale", None) is not None:
        torch.nn.init.ones_(head.scale.bias)
    return model.eval()  # once more: W / sigma follows the weights


def pictures(count: int, seed: int = 0, size: int = 32) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def coefficients(count: int, seed: int = 0, columns: int = 70) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, columns), np.float32)


def driving(config: ModelConfig, count: int, seed: int = 0) -> Any:
    """What drives a model of that config: pictures, or coefficients."""
    return coefficients(count, seed, config.head.inputs) if config.head.window else pictures(count, seed)


def encoded(reenactor: Reenactor) -> Source:
    """The first of `pictures`, with coefficients of its own where they drive."""
    head = reenactor.config.head
    own = coefficients(1, 0, head.inputs) if head.window else None
    return reenactor.encode(pictures(1)[0], own)
