# SPDX-License-Identifier: Apache-2.0
"""How much each loss counts."""

import math
from dataclasses import asdict, dataclass

OF_PICTURES = ("perceptual", "gan", "feature_matching", "reconstruction", "moved_source")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """The weights λ of the terms in losses/__init__.py; 0 leaves a term out. The defaults are the paper's.

    The paper does not give the weights of feature matching and of Jacobians: the former is public code's, the
    latter that of keypoint equivariance.
    """

    perceptual: float = 10.0
    gan: float = 1.0
    feature_matching: float = 10.0
    equivariance: float = 20.0
    equivariance_jacobians: float = 20.0  # of presets whose keypoints have Jacobians
    keypoint_prior: float = 10.0
    head_pose: float = 20.0
    deformation_prior: float = 5.0
    reconstruction: float = 0.0  # pixels and gradients, in place of a feature network
    moved_source: float = 0.0  # the source's pixels at the flow of detail, of configs that have it
    # where the data knows the true motion
    true_canonical: float = 0.0
    true_rotation: float = 0.0
    true_translation: float = 0.0
    true_expression: float = 0.0
    true_keypoints: float = 0.0  # where pictures have them, which models without a pose know, too

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"LossConfig: expected {name} >= 0, got {weight!r}")

    @property
    def of_pictures(self) -> bool:
        """Whether any term compares the generated picture."""
        return any(getattr(self, name) for name in OF_PICTURES)

    @property
    def of_motion(self) -> bool:
        """Whether any term uses the estimates of H, L and Δ."""
        return any(weight for name, weight in asdict(self).items() if name not in OF_PICTURES)
