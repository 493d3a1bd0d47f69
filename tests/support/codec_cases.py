# SPDX-License-Identifier: Apache-2.0
"""Motion made for the codec's tests, and packets encoded and decoded side by side."""

import math
from collections.abc import Iterable

import torch

from fv2v import Motion
from fv2v.codec import MotionDecoder, MotionEncoder
from fv2v.config import ModelConfig
from fv2v.geometry import rotation_from_euler


def talking(config: ModelConfig, frames: int, seed: int = 0) -> Motion:
    """A face that turns, nods and talks smoothly: sums of a few waves a number."""
    generator = torch.Generator().manual_seed(seed)
    K, time = config.keypoints, torch.arange(frames, dtype=torch.float64) / 25

    def waves(count: int, size: float) -> torch.Tensor:
        rates = torch.rand(count, 3, generator=generator, dtype=torch.float64) * 2 + 0.1
        phases = torch.rand(count, 3, generator=generator, dtype=torch.float64) * 2 * math.pi
        return size * torch.sin(2 * math.pi * rates * time[:, None, None] + phases).mean(-1)

    pitch, yaw, roll = waves(3, 20).T
    rotation = rotation_from_euler(pitch, yaw, roll, order=config.geometry.euler_order, pi=config.geometry.pi)
    scale = 1.2 + waves(config.head.scales, 0.05) if config.head.scale else torch.ones(frames, 1)
    return Motion(
        rotation.float(),
        waves(3, 0.05).float(),
        waves(3 * K, 0.01).reshape(frames, K, 3).float(),
        scale.float(),
    )


def wild(config: ModelConfig, frames: int, seed: int = 0) -> Motion:
    """Anything that is motion: turned any way, from still to extreme, each frame for itself."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    size = 10 ** (draw(frames, 1).clamp(-2, 2) * 2)
    still = torch.rand(frames, 1, generator=generator) < 0.3
    size = size.where(~still, 0.0)
    angles = (draw(3, frames) * 90).where(~still.T, 180.0)
    rotation = rotation_from_euler(*angles, order=config.geometry.euler_order, pi=config.geometry.pi)
    scale = draw(frames, config.head.scales).exp() if config.head.scale else torch.ones(frames, 1)
    K = config.keypoints
    return Motion(rotation, draw(frames, 3) * size, draw(frames, K, 3) * size[:, None], scale)


def one_by_one(motion: Motion) -> Iterable[Motion]:
    return (motion[i : i + 1] for i in range(len(motion)))


def assert_equal(one: Motion, other: Motion) -> None:
    """Bit for bit."""
    for name in ("rotation", "translation", "expression", "scale"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def assert_in_step(encoder: MotionEncoder, decoder: MotionDecoder) -> None:
    """Both give the same motion, and expect the same of the next frame."""
    assert encoder.motion is not None
    assert_equal(decoder.motion, encoder.motion)
    assert decoder.contexts.digest_bytes() == encoder.contexts.digest_bytes()
