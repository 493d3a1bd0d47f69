# SPDX-License-Identifier: Apache-2.0
"""What motion is, and what a portrait contributes: the values that networks, geometry and files share."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fv2v.batch import Batched


@dataclass(frozen=True, slots=True, repr=False)
class Motion(Batched):
    """What H and Δ read in B frames, and all that a sender transmits. float32 (or 64), never half."""

    rotation: Tensor  # (B, 3, 3)
    translation: Tensor  # (B, 3)
    expression: Tensor  # (B, K, 3)  δ
    scale: Tensor  # (B, 1)     1 in all presets but LivePortrait's and PerformRecast's, its (B, 3)
    jacobians: Tensor | None = (
        None  # (B, K, 3, 3)  J, of models that read keypoints directly (`direct_motion`)
    )

    def __repr__(self) -> str:
        B, K, _ = self.expression.shape
        return f"Motion of {_count(B, 'frame')}, {_count(K, 'keypoint')}, {_where(self.expression)}"


POSED = ("rotation", "translation", "expression", "scale")  # what every motion has


@dataclass(frozen=True, slots=True, repr=False)
class Source(Batched):
    """All that a portrait contributes, computed once: what it looks like, and where its keypoints are."""

    features: Tensor  # (B, C, D, H, W)   f_s
    compressed: Tensor  # (B, C', D, H, W)  what M sees of f_s
    canonical: Tensor  # (B, K, 3)         x_c: neutral face, frontal pose
    jacobians: Tensor | None  # (B, K, 3, 3)      J_c, where the preset has them
    motion: Motion  # its own
    keypoints: Tensor  # (B, K, 3)         x_s
    # (B, d, n, n) each, of `ModelConfig.detail_sizes`: what f_s is too coarse for, where G takes it
    detail: tuple[Tensor, ...] = ()

    def __repr__(self) -> str:
        B, C, D, H, W = self.features.shape
        K = self.keypoints.shape[1]
        return (
            f"Source of {_count(B, 'portrait')}, features {C} x {D} x {H} x {W}, {_count(K, 'keypoint')}, "
            f"{_where(self.features)}"
        )


class Placement(NamedTuple):
    """Where the source's keypoints go, and how what surrounds them turns."""

    kp_driving: Tensor  # (B, K, 3)  x_d
    affine: Tensor | None  # (B, 3, 3) shared, (B, K, 3, 3), or None for the identity


def direct_motion(keypoints: Tensor, jacobians: Tensor | None) -> Motion:
    """Keypoints x (B, K, 3) in a picture, of a model without H: R = 1, t = 0, s = 1, x_c = 0, δ = x."""
    first = keypoints[:, 0]  # like which (B, 3) and (B, 1) are made
    straight = torch.eye(3, dtype=keypoints.dtype, device=keypoints.device).expand(len(first), -1, -1)
    return Motion(straight, torch.zeros_like(first), keypoints, torch.ones_like(first[:, :1]), jacobians)


def coordinate_dtype(dtype: torch.dtype) -> torch.dtype:
    """What keypoints and rotations are kept in beside features of `dtype`: never half."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check_motion(
    motion: Motion, keypoints: int, frames: str = "frames", *, scales: int = 0, jacobians: bool = False
) -> None:
    """Check a motion from outside. Waits for the device, so not for motions just extracted.

    Args:
        motion: of B frames.
        keypoints: K, how many the preset has.
        frames: what errors call its frames.
        scales: how many numbers of scale the preset has; 0 where it is 1.
        jacobians: whether its motions have Jacobians.

    Raises:
        ValueError: sizes that do not fit, NaN or infinite numbers, a scale where the preset has none or one
            that is not positive; it names which.
    """
    if not isinstance(motion, Motion):
        raise ValueError(f"expected a Motion for the {frames}, got {type(motion).__name__}")
    B = len(motion.translation)
    expected = {
        "rotation": (B, 3, 3),
        "translation": (B, 3),
        "expression": (B, keypoints, 3),
        "scale": (B, max(scales, 1)),
    }
    if (motion.jacobians is not None) != jacobians:
        expected_, got_ = ("with", "without") if jacobians else ("without", "with")
        raise ValueError(f"motion of the {frames}: expected one {expected_} Jacobians, got one {got_}")
    if jacobians:
        expected["jacobians"] = (B, keypoints, 3, 3)
    for name, shape in expected.items():
        got = getattr(motion, name)
        if tuple(got.shape) != shape:
            raise ValueError(
                f"motion of the {frames}: expected {name} of shape {shape} (B={B}, K={keypoints}), "
                f"got {tuple(got.shape)}"
            )
        if (got - got).any():  # 0 or NaN: in half of isfinite's time
            raise ValueError(f"motion of the {frames}: {name} holds NaN or infinite numbers")
    wanted = "positive scales" if scales else "scale 1 (this preset has no other)"
    if not ((motion.scale > 0) if scales else (motion.scale == 1)).all():
        raise ValueError(f"motion of the {frames}: expected {wanted}, got {motion.scale.flatten().tolist()}")


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _where(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"
