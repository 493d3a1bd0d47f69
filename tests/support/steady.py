# SPDX-License-Identifier: Apache-2.0
"""Motions that tremble and turn, and how much and how late others follow them: for tests and benches."""

import numpy as np
import torch
from torch import Tensor

from fv2v.geometry import Motion, keypoints_of
from fv2v.geometry.rotation import rotation_from_euler, rotation_from_vector

# What LivePortrait's trained extractor trembles by on a still face, from its own motion templates: standard
# deviations of each coordinate, in radians and in the units of keypoints.
ROTATION, TRANSLATION, EXPRESSION, SCALE = 1e-3, 5e-4, 3e-4, 1e-3

LATEST = 6  # frames


def still(frames: int, loud: float = 1.0, *, seed: int = 0, keypoints: int = 21) -> Motion:
    """A face that looks aside and holds still, but for noise of `loud` times the magnitudes above."""
    generator = torch.Generator().manual_seed(seed)

    def noise(size: float, *shape: int) -> Tensor:
        return size * loud * torch.randn(frames, *shape, generator=generator, dtype=torch.float64)

    angles = (torch.full((frames,), degrees, dtype=torch.float64) for degrees in (5.0, 20.0, -3.0))
    rotation = rotation_from_euler(*angles) @ rotation_from_vector(noise(ROTATION, 3))
    return Motion(rotation, noise(TRANSLATION, 3), noise(EXPRESSION, keypoints, 3), 1 + noise(SCALE, 1))


def turning(degrees: float, seconds: float, fps: float, *, seed: int = 0) -> Motion:
    """A second of a face that trembles as it holds still, a turn to its side, and a second of stillness."""
    frames = round((2 + seconds) * fps)
    held = still(frames, seed=seed)
    part = ((torch.arange(frames, dtype=torch.float64) / fps - 1) / seconds).clamp(0, 1)
    yaw = degrees * part * part * (3 - 2 * part)
    turn = rotation_from_euler(torch.zeros_like(yaw), yaw, torch.zeros_like(yaw))
    return Motion(turn @ held.rotation, held.translation, held.expression, held.scale)


def jitter(values: Tensor) -> float:
    """Of values (T, ..., n) over time: the root mean square of their steps from frame to frame."""
    return values.diff(dim=0).norm(dim=-1).square().mean().sqrt().item()


def keypoints(motion: Motion) -> Tensor:
    """(T, K, 3), of a face that nobody has: normal numbers, about as wide as one."""
    K = motion.expression.shape[1]
    canonical = np.random.default_rng(0).normal(scale=0.25, size=(1, K, 3))
    return keypoints_of(torch.from_numpy(canonical).to(motion.expression), motion)


def least_and_most(values: Tensor, frames: int) -> tuple[slice, slice]:
    """The `frames` frames in which (T, K, 3) move least; and most, with those before that `delay` needs."""
    speeds = values.diff(dim=0).norm(dim=-1).mean(dim=-1)
    moved = speeds.unfold(0, min(frames, len(speeds)), 1).mean(dim=-1)
    least, most = (int(each) for each in (moved.argmin(), moved.argmax()))
    return slice(least, least + frames), slice(max(0, most - LATEST), most + frames)


def delay(values: Tensor, late: Tensor) -> float:
    """By how many frames (T, ...) has to be late to be `late` as closely as it can be; at most 5."""
    after = late[LATEST:]
    errors = {}
    for hundredths in range(0, 100 * (LATEST - 1), 5):
        whole, part = divmod(hundredths / 100, 1)
        start = LATEST - int(whole)
        there, before = (values[s : s + len(after)] for s in (start, start - 1))
        errors[hundredths / 100] = ((1 - part) * there + part * before - after).square().sum().item()
    return min(errors, key=errors.__getitem__)
