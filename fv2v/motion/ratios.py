# SPDX-License-Identifier: Apache-2.0
"""How far eyes and lips are open: height over width, of a face's landmarks or from files."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fv2v.face.landmarks import eye_ratios, lip_ratio
from fv2v.io.arrays import read_arrays
from fv2v.io.limits import FRAMES, check_limit, reading
from fv2v.io.paths import PathLike, check_input
from fv2v.motion.npz import MOTION_SUFFIXES, read_motion


@dataclass(frozen=True, slots=True)
class Openness:
    """How far eyes and lips are open, height over width (landmarks.py): about 0.35 and 0 in a calm face."""

    left_eye: float
    right_eye: float
    lips: float

    def __post_init__(self) -> None:
        check_ratios("Openness", self.left_eye, self.right_eye, self.lips)

    @classmethod
    def of(cls, landmarks: np.ndarray) -> "Openness":
        """From a face's (203, 2) landmarks; ValueError for another set."""
        left, right = eye_ratios(landmarks)
        return cls(float(left), float(right), lip_ratio(landmarks))


def read_openness(path: PathLike) -> list[Openness]:
    """How open eyes and lips are, for each frame in a file; a portrait's has one.

    A `.npy` holds 203 landmarks, (203, 2) or (T, 203, 2) in pixels, or the three ratios, (3,) or (T, 3); a
    file of motion (npz.py), such as a template of LivePortrait, may have the ratios beside the motion.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that cannot be read, or holds something else.
    """
    path = check_input(path)
    if path.suffix.lower() in MOTION_SUFFIXES:
        return _of_motion(path)
    with reading(path, "no .npy file of numbers, or a damaged one"):
        stored = read_arrays(path, ())
        shape = () if isinstance(stored, dict) else stored.shape
        check_limit("frames", shape[0] if shape else 0, FRAMES)
        if not isinstance(stored, dict) and stored.dtype.kind in "fiu":
            if shape[-2:] == (203, 2) and len(shape) <= 3:
                return [Openness.of(each) for each in stored.reshape(-1, 203, 2)]
            if shape[-1:] == (3,) and len(shape) <= 2:
                return [Openness(*map(float, each)) for each in stored.reshape(-1, 3)]
        raise ValueError(
            "expected landmarks (203, 2) or (T, 203, 2), or ratios (3,) or (T, 3): left and right eye, lips; "
            f"got {shape or type(stored).__name__}"
        )


def _of_motion(path: Path) -> list[Openness]:
    sequence = read_motion(path)
    if sequence.eyes is None or sequence.lips is None:
        raise ValueError(f"{path}: the motion has no ratios of eyes and lips; expected a file that has them")
    return [Openness(*ratios) for ratios in torch.cat([sequence.eyes, sequence.lips], dim=1).tolist()]


def check_ratios(name: str, *ratios: float) -> None:
    """ValueError unless all are finite and at least 0; the message begins with `name`."""
    if not all(math.isfinite(ratio) and ratio >= 0 for ratio in ratios):
        raise ValueError(f"{name}: expected ratios of height to width, at least 0; got {ratios}")
