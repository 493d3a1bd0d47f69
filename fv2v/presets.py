# SPDX-License-Identifier: Apache-2.0
"""The presets: configs of published models and of the starter, most a `replace(...)` of another."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fv2v.config import (
    AppearanceConfig,
    CanonicalConfig,
    DenseMotionConfig,
    GeneratorConfig,
    GeometryConfig,
    HeadConfig,
    ModelConfig,
    RetargetingConfig,
    TransformerConfig,
)

FACE_VID2VID_256 = ModelConfig(name="face-vid2vid-256")
# The networks see 256 px; a third upsampling stage paints 512.
FACE_VID2VID_512 = replace(
    FACE_VID2VID_256, name="face-vid2vid-512", generator=GeneratorConfig(widths=(256, 128, 64, 32))
)

# zhanglonghao1992's release. It was trained with a flow without rotation, volumes read on the face lattice
# although flows are on the corner lattice, and π = 3.14: its weights need all three. Its demo resizes by
# scikit-image, and moves absolutely; its documented command moves relatively, to scale.
_VOX_CANONICAL = CanonicalConfig(kernel=3, jacobian=False)
VOX_256 = ModelConfig(
    name="vox-256",
    keypoints=15,
    resize="gaussian",
    align_corners=False,
    geometry=GeometryConfig(transfer="keypoint", relative=False, pi=3.14),
    canonical=_VOX_CANONICAL,
)
VOX_256_JACOBIAN = replace(VOX_256, name="vox-256-jacobian", canonical=replace(_VOX_CANONICAL, jacobian=True))

# The same release's SPADE generator, which it calls `spade`.
VOX_256_SPADE = replace(
    VOX_256,
    name="vox-256-spade",
    appearance=AppearanceConfig(kernel=3),
    generator=GeneratorConfig(decoder="spade", widths=(512, 256, 64)),
)

# SadTalker's renderer: that generator, driven by 3DMM coefficients. Of t it uses the height alone, and masks
# below a threshold count as 0.
SADTALKER_256 = replace(
    VOX_256_SPADE,
    name="sadtalker-256",
    geometry=replace(VOX_256.geometry, translation="y"),
    head=HeadConfig(trunk="coefficients", inputs=70, widths=(1024,), blocks=(3,)),
    dense_motion=DenseMotionConfig(mask_threshold=1e-3),
)
SADTALKER_512 = replace(SADTALKER_256, name="sadtalker-512", image_size=512)

# LivePortrait: one trunk estimates everything about a face, canonical keypoints and scale included; its bins
# are symmetric, its rotations multiply in the other order, and t in depth is not used. It resizes by OpenCV,
# and truncates what it paints.
LIVEPORTRAIT = replace(
    VOX_256_SPADE,
    name="liveportrait",
    keypoints=21,
    resize="area",
    truncates=True,
    geometry=GeometryConfig(transfer="liveportrait", euler_order="zyx", translation="xy"),
    canonical=None,
    head=HeadConfig(
        trunk="convnext", widths=(96, 192, 384, 768), blocks=(3, 3, 9, 3), scale=True, degree_offset=97.5
    ),
    generator=replace(VOX_256_SPADE.generator, pixel_shuffle=2),
    retargeting=RetargetingConfig(),
)

# PerformRecast (youku-aigc): LivePortrait's M and G with more keypoints, a vision transformer for F, and
# zhanglonghao1992's angles; a scale for each axis, and an expression that turns with the head.
PERFORMRECAST = replace(
    LIVEPORTRAIT,
    name="performrecast",
    keypoints=49,
    geometry=GeometryConfig(transfer="performrecast", relative=False, pi=3.14, translation="xy"),
    appearance=AppearanceConfig(transformer=TransformerConfig()),
    head=replace(LIVEPORTRAIT.head, scale_axes=3, degree_offset=99.0),
    retargeting=None,
)

# First Order Motion (Siarohin et al. 2019), the flat ancestor: keypoints and Jacobians are read in each
# picture, and the reduced picture is what M sees warped. Its weights were most likely trained with sampling
# on the corner lattice; on a torch since 1.3 its code reads on the face lattice, which is "-unaligned". All
# its data sets have one architecture but for mgif's, whose keypoints share a set of Jacobians.
FOMM_256 = ModelConfig(
    name="fomm-256",
    keypoints=10,
    volume_channels=256,
    volume_depth=1,
    resize="gaussian",
    geometry=GeometryConfig(transfer="keypoint", relative=False),
    appearance=AppearanceConfig(residual_blocks=0, lift=False),
    canonical=CanonicalConfig(hourglass=True),
    head=HeadConfig(trunk="none"),
    dense_motion=DenseMotionConfig(
        reads="picture", compressed_channels=3, widths=(128, 256, 512, 1024, 1024), out_width=64, joined=False
    ),
    generator=GeneratorConfig(project=False),
)
FOMM_256_UNALIGNED = replace(FOMM_256, name="fomm-256-unaligned", align_corners=False)
FOMM_256_MGIF = replace(
    FOMM_256, name="fomm-256-mgif", canonical=CanonicalConfig(hourglass=True, shared_jacobian=True)
)

# The paper's ablation (Table 4): fewer keypoints; keypoints read in each picture, not moved from canonical
# ones; keypoints projected to the picture and flat features, of as many numbers, warped there.
FACE_VID2VID_256_K10 = replace(FACE_VID2VID_256, name="face-vid2vid-256-k10", keypoints=10)
FACE_VID2VID_256_K15 = replace(FACE_VID2VID_256, name="face-vid2vid-256-k15", keypoints=15)
FACE_VID2VID_256_DIRECT = replace(
    FACE_VID2VID_256,
    name="face-vid2vid-256-direct",
    geometry=GeometryConfig(transfer="keypoint"),
    head=HeadConfig(trunk="none"),
)
FACE_VID2VID_256_2D = replace(
    FACE_VID2VID_256,
    name="face-vid2vid-256-2d",
    volume_channels=512,
    volume_depth=1,
    canonical=CanonicalConfig(depth=16),
)

# The model that ships with the package (training/configs/starter-*.toml): keypoints are the drawn heads'
# landmarks, and one trunk estimates all that H, L and Δ do.
STARTER = ModelConfig(
    name="starter",
    image_size=128,
    keypoints=22,
    volume_channels=16,
    volume_depth=8,
    appearance=AppearanceConfig(widths=(32, 64, 128), residual_blocks=2),
    canonical=None,
    head=HeadConfig(stem_width=32, widths=(64, 128, 256, 512), blocks=(1, 2, 2, 2)),
    dense_motion=DenseMotionConfig(
        compressed_channels=1, widths=(48, 96, 128), out_width=18, kernel=3, variance=0.02
    ),
    generator=GeneratorConfig(width=128, widths=(128, 64, 32), residual_blocks=4),
)

PRESETS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        FACE_VID2VID_256,
        FACE_VID2VID_512,
        VOX_256,
        VOX_256_JACOBIAN,
        VOX_256_SPADE,
        SADTALKER_256,
        SADTALKER_512,
        LIVEPORTRAIT,
        PERFORMRECAST,
        FOMM_256,
        FOMM_256_UNALIGNED,
        FOMM_256_MGIF,
        FACE_VID2VID_256_K10,
        FACE_VID2VID_256_K15,
        FACE_VID2VID_256_DIRECT,
        FACE_VID2VID_256_2D,
        STARTER,
    )
}


_ADDED = ("resize", "truncates")  # fields that files of earlier versions do not have
_ADDED_TO = {  # and those of their parts, whose defaults change nothing
    "appearance": ("transformer", "lift"),
    "canonical": ("shared_jacobian", "depth", "hourglass"),
    "head": ("scale_axes",),
    "dense_motion": ("reads", "joined"),
    "generator": ("project", "detail_channels"),
}


def completed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """`ModelConfig.as_dict` of any version as this one writes it.

    What an earlier file lacks is what its preset's release does, and so is whether motion is relative by
    default, which presets once had otherwise. With a name that no preset has it is the defaults, which change
    nothing.
    """
    if not isinstance(values, Mapping):
        return values
    for name, fields in _ADDED_TO.items():
        part, defaults = values.get(name), getattr(FACE_VID2VID_256, name)
        if isinstance(part, Mapping):
            values = {**values, name: {**{field: getattr(defaults, field) for field in fields}, **part}}
    if any(name in values for name in _ADDED):
        return values
    name = str(values.get("name"))
    known = PRESETS.get(name) or PRESETS.get(name.removesuffix("-jacobian"))
    added = {field: getattr(known or FACE_VID2VID_256, field) for field in _ADDED}
    geometry = values.get("geometry")
    if known and isinstance(geometry, Mapping):
        added["geometry"] = {**geometry, "relative": known.geometry.relative}
    return {**values, **added}


def preset(name: str) -> ModelConfig:
    """The preset of that name; a ValueError lists the names there are."""
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"expected a preset, one of {', '.join(PRESETS)}; got {name!r}")
    return PRESETS[name]
