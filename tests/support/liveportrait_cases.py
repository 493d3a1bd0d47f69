# SPDX-License-Identifier: Apache-2.0
"""Sources and motions as LivePortrait has them, of random numbers."""

import torch

from fv2v import Motion, Source
from fv2v.geometry import keypoints_of, rotation_from_euler, used_translation
from fv2v.presets import preset

LIVEPORTRAIT = preset("liveportrait")
GEOMETRY, K = LIVEPORTRAIT.geometry, LIVEPORTRAIT.keypoints


def make_motion(seed: int, frames: int = 1) -> Motion:
    generator = torch.Generator().manual_seed(seed)
    pitch, yaw, roll = 80 * torch.rand(3, frames, generator=generator) - 40
    return Motion(
        rotation=rotation_from_euler(pitch, yaw, roll, order="zyx"),
        translation=used_translation(0.2 * torch.randn(frames, 3, generator=generator), GEOMETRY),
        expression=0.1 * torch.randn(frames, K, 3, generator=generator),
        scale=1 + 0.2 * torch.rand(frames, 1, generator=generator),
    )


def make_source() -> Source:
    canonical = torch.rand(1, K, 3, generator=torch.Generator().manual_seed(9)) - 0.5
    motion, nothing = make_motion(8), torch.empty(1, 1, 1, 1, 1)
    return Source(nothing, nothing, canonical, None, motion, keypoints_of(canonical, motion))
