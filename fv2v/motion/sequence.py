# SPDX-License-Identifier: Apache-2.0
"""The motion of many frames with their time stamps: the content of a file of motion."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fv2v.config import ModelConfig
from fv2v.geometry import Motion, check_motion
from fv2v.io.timing import Span, Timing
from fv2v.presets import PRESETS

SKEW = 0.05  # how far R Rᵀ may be from the identity: averages of rotations are not quite rotations
RATIOS = {"eyes": 2, "lips": 1}  # what may come with the motion, and how many numbers a frame


@dataclass(frozen=True, slots=True)
class MotionSequence:
    """Motion of T frames, and when they are shown: all that a driving video contributes but its sound.

    Raises:
        ValueError: sizes that do not fit, NaN or infinite numbers, scales that are not positive, matrices
            that are no rotations; it names which.
    """

    motion: Motion  # of T frames; from a file float32, on the CPU
    timing: Timing  # of T frames
    preset: str  # the name of the preset whose H and Δ estimated it, or that it is made for
    eyes: Tensor | None = None  # (T, 2) how far the left and the right eye are open, height over width
    lips: Tensor | None = None  # (T, 1) how far the lips are

    def __post_init__(self) -> None:
        direct = self.motion.jacobians is not None
        K, scales = self.motion.expression.shape[1], 3 if self.motion.scale.shape[1:] == (3,) else 1
        check_motion(self.motion, K, "motion sequence", scales=scales, jacobians=direct)
        T = len(self.motion)
        if len(self.timing.pts) != T:
            raise ValueError(f"expected a time stamp for each of {T} frames, got {len(self.timing.pts)}")
        for name, width in RATIOS.items():
            ratios = getattr(self, name)
            if ratios is not None and ratios.shape != (T, width):
                raise ValueError(f"expected {name} {(T, width)}, got {tuple(ratios.shape)}")
            if ratios is not None and not ratios.isfinite().all():
                raise ValueError(f"{name} hold NaN or infinite numbers")
        R = self.motion.rotation.detach().cpu().float()
        skew = (R @ R.mT - torch.eye(3)).abs().amax(dim=(1, 2))
        skewed = (skew > SKEW) | (torch.linalg.det(R) < 0)
        if skewed.any():
            raise ValueError(
                f"expected rotations, got at frame {int(skewed.int().argmax())} a matrix that is none"
            )

    def __len__(self) -> int:
        return len(self.motion)

    def part(self, span: Span) -> "MotionSequence":
        """Those frames of it, with their time stamps. ValueError where there are none."""
        taken = span.of(self.timing)
        ratios = (None if each is None else each[taken] for each in (self.eyes, self.lips))
        return MotionSequence(self.motion[taken], self.timing.part(taken), self.preset, *ratios)

    def __repr__(self) -> str:
        T, K, _ = self.motion.expression.shape
        rate = float(self.timing.rate)
        return f"MotionSequence({self.preset!r}, {T} frames, {K} keypoints, {rate:g} frames/s)"


def check_fits(sequence: MotionSequence, config: ModelConfig) -> None:
    """Check that a sequence can drive a preset: its own, or one with the same keypoints and geometry.

    Raises:
        ValueError: it cannot; the message names both presets.
    """
    own = PRESETS.get(sequence.preset, config if sequence.preset == config.name else None)
    K = sequence.motion.expression.shape[1]
    same = own is not None and _meaning(own) == _meaning(config)
    if not same or config.keypoints != K:
        raise ValueError(
            f"motion of {sequence.preset!r} with {K} keypoints cannot move {config.name!r}, which has "
            f"{config.keypoints}: expected weights of the preset that the motion is of"
        )


def tensor(values: Any, name: str) -> Tensor:
    """Numbers from a file as float32; those too large for it become infinite, which is checked later."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"expected numbers for {name}, got an array of {array.dtype}")
    with np.errstate(over="ignore"):
        return torch.from_numpy(array.astype(np.float32, order="C"))


def _meaning(config: ModelConfig) -> tuple[object, ...]:
    """What the numbers of a motion depend on; whether it is relative is decided when it is used."""
    jacobians = config.direct and config.jacobian
    return (
        replace(config.geometry, relative=True),
        config.keypoints,
        config.head.scales,
        config.direct,
        jacobians,
    )
