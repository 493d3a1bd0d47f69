"""Motions that tremble and turn, and how much and how late others follow them: for tests and benches."""

import torch
from torch import Tensor

from fv2v.geometry import Motion
from fv2v.rotation import rotation_from_euler, rotation_from_vector

# What LivePortrait's trained extractor trembles by on a still face, from its own motion templates: standard
# deviations of each coordinate, in radians and in the units of keypoints.
ROTATION, TRANSLATION, EXPRESSION, SCALE = 1e-3, 5e-4, 3e-4, 1e-3


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


def delay(values: Tensor, late: Tensor, most: int = 6) -> float:
    """By how many frames, at most `most`, (T, ...) has to be late to be `late` as closely as it can be."""
    after = late[most:]
    errors = {}
    for hundredths in range(0, 100 * (most - 1), 5):
        whole, part = divmod(hundredths / 100, 1)
        start = most - int(whole)
        there, before = (values[s : s + len(after)] for s in (start, start - 1))
        errors[hundredths / 100] = ((1 - part) * there + part * before - after).square().sum().item()
    return min(errors, key=errors.__getitem__)
