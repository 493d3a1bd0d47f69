# SPDX-License-Identifier: Apache-2.0
"""The losses of the paper's Section 3 on one page: training minimises Σ λ L, λ in `LossConfig`.

y is the output, d the driving frame that it should equal; x, J, R and δ are the estimates of d's keypoints,
Jacobians, rotation and expression offsets. A bar marks the truth. Norms are sums, E is a mean.

| term               | function                  | is                                                        |
|--------------------|---------------------------|-----------------------------------------------------------|
| L_P perceptual     | `PerceptualLoss`          | Σ_s Σ_l w_l E abs(φ_l(y↓s) − φ_l(d↓s)), φ VGG-19, or H    |
| L_G GAN            | `generator_loss`          | −E D(y)                                                   |
|                    | `feature_matching`        | Σ_l E abs(D_l(y) − D_l(d))                                |
| for D itself       | `discriminator_loss`      | E max(0, 1 − D(d)) + E max(0, 1 + D(y))                   |
| L_E equivariance   | `equivariance`            | E abs(x_d − T(x_T(d))) in x and y, T a `RandomWarp`       |
|                    | `equivariance_jacobians`  | E abs(J_d⁻¹ T′ J_T(d) − 1) in x and y                     |
| L_L keypoint prior | `keypoint_prior`          | Σ_{i≠j} max(0, D_t − ‖x_i − x_j‖²) + abs(E_k z_k − z_t)   |
| L_H head pose      | `head_pose`               | ‖angles(R) − angles(R̄)‖₁, degrees                         |
| L_Δ deformation    | `deformation_prior`       | ‖δ‖₁                                                      |

All are means over the batch, and those of D over its scales too. More are not the paper's: `supervised`,
where the data has the true motion, is E abs(x_c − x̄_c), and likewise of R, t and δ, and `keypoint_error` the
same of x; `reconstruction` compares pixels and their gradients, for training without a feature network, and
may give eyes and mouth more weight (`focus_on`); `moved_source` is the error of the flow that detail follows.

Differences and sums are float32 at least, also of half-precision tensors under autocast.
"""

from fv2v.losses.adversarial import discriminator_loss, feature_matching, generator_loss
from fv2v.losses.config import LossConfig
from fv2v.losses.equivariance import RandomWarp, equivariance, equivariance_jacobians
from fv2v.losses.head_features import HeadFeatures
from fv2v.losses.keypoints import (
    SupervisedTerms,
    deformation_prior,
    head_pose,
    keypoint_error,
    keypoint_prior,
    supervised,
)
from fv2v.losses.perceptual import PerceptualLoss
from fv2v.losses.reconstruction import focus_on, reconstruction
from fv2v.losses.surface import moved_source
from fv2v.losses.vgg import Vgg19Features

__all__ = [
    "HeadFeatures",
    "LossConfig",
    "PerceptualLoss",
    "RandomWarp",
    "SupervisedTerms",
    "Vgg19Features",
    "deformation_prior",
    "discriminator_loss",
    "equivariance",
    "equivariance_jacobians",
    "feature_matching",
    "focus_on",
    "generator_loss",
    "head_pose",
    "keypoint_error",
    "keypoint_prior",
    "moved_source",
    "reconstruction",
    "supervised",
]
