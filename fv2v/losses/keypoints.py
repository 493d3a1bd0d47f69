# SPDX-License-Identifier: Apache-2.0
"""L_L, L_H and L_Δ: priors of keypoints and expressions, and errors of poses and keypoints."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu

from fv2v.geometry import Motion
from fv2v.geometry.rotation import euler_degrees
from fv2v.losses.distance import l1, wide


def keypoint_prior(kp: Tensor, threshold: float = 0.1, depth: float = 0.33) -> Tensor:
    """L_L of keypoints (B, K, 3): they shall be spread out, and at a given depth on average.


    The mean over the batch of Σ_{i≠j} max(0, threshold − ‖x_i − x_j‖²) + abs(mean_k z_k − depth). As in the
    paper the sum counts each pair twice. Public code has i = j too, which adds K × threshold and no gradient.
    """
    kp = wide(kp)
    squared = (kp.unsqueeze(2) - kp.unsqueeze(1)).square().sum(-1)  # (B, K, K)
    crowded = 2 * relu(threshold - squared).triu(1).sum((1, 2))
    return (crowded + (kp[:, :, 2].mean(1) - depth).abs()).mean()


def head_pose(rotation: Tensor, true_rotation: Tensor, order: str = "xyz") -> Tensor:
    """L_H of rotations (B, 3, 3): degrees between their angles, summed over the three, a mean over the batch.

    Angles differ by 180° at most, whichever way is shorter. Angles of `order` (rotation.py) are unique for
    yaws within ±90°; at ±90° the gradient is not finite.
    """
    angles, wanted = (
        torch.stack(euler_degrees(wide(each), order), dim=1) for each in (rotation, true_rotation)
    )
    turned = torch.remainder(angles - wanted + 180, 360) - 180  # (B, 3)
    return turned.abs().sum(1).mean()


def deformation_prior(expression: Tensor) -> Tensor:
    """L_Δ of δ (B, K, 3): ‖δ‖₁, the sum over keypoints and axes, a mean over the batch."""
    return wide(expression).abs().sum((1, 2)).mean()


def keypoint_error(kp: Tensor, true_kp: Tensor, *, flat: bool = False) -> Tensor:
    """Mean absolute error of keypoints x (B, K, 3) in pictures; in x and y alone where they are `flat`."""
    axes = 2 if flat else 3
    return l1(kp[..., :axes], true_kp[..., :axes])


class SupervisedTerms(NamedTuple):
    """Mean absolute errors against a truth, each a scalar."""

    canonical: Tensor  # of x_c
    rotation: Tensor  # of R's nine numbers
    translation: Tensor  # of t
    expression: Tensor  # of δ


def supervised(
    estimate_canonical: Tensor,
    estimate: Motion,
    true_canonical: Tensor,
    true: Motion,
    expression_weights: Tensor | None = None,
) -> SupervisedTerms:
    """Estimates for B faces against the truth that the data has (data/pairs.py, `Truth`).

    Rotations are compared as matrices: smooth everywhere, as Euler angles are not.

    Args:
        estimate_canonical: x_c (B, K, 3).
        estimate: R, t and δ by H and Δ.
        true_canonical: as `estimate_canonical`.
        true: as `estimate`.
        expression_weights: (K,) how much each keypoint's δ counts, so that eyes and mouth may count more;
            only their ratios matter. None: all alike.
    """
    offsets, wanted = wide(estimate.expression), wide(true.expression)
    if expression_weights is not None:
        share = (expression_weights / expression_weights.mean()).unsqueeze(1)  # (K, 1), 1 on average
        offsets, wanted = offsets * share, wanted * share
    return SupervisedTerms(
        canonical=l1(estimate_canonical, true_canonical),
        rotation=l1(estimate.rotation, true.rotation),
        translation=l1(estimate.translation, true.translation),
        expression=l1(offsets, wanted),
    )
