# SPDX-License-Identifier: Apache-2.0
"""Losses against numbers worked out by hand, or their formulas. Pictures': test_perceptual.py; L_E:
test_equivariance.py.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fv2v.geometry import Motion, rotation_from_euler
from fv2v.losses import (
    LossConfig,
    deformation_prior,
    discriminator_loss,
    feature_matching,
    generator_loss,
    head_pose,
    keypoint_prior,
    supervised,
)
from fv2v.losses.distance import l1
from fv2v.networks import PatchScores

K = 4


# Adversarial


def scored(*scales: list[float]) -> list[PatchScores]:
    return [PatchScores((), torch.tensor(scores).view(1, 1, 1, -1)) for scores in scales]


def test_the_hinge_of_d():
    """max(0, 1 − real) is 3, 0.5, 0 and max(0, 1 + fake) 0, 0.5, 5 at one scale; 2 and 1 at the other."""
    real, fake = scored([-2, 0.5, 3], [-1]), scored([-3, -0.5, 4], [0])
    assert discriminator_loss(real, fake).item() == pytest.approx((3.5 / 3 + 5.5 / 3 + 2 + 1) / 2)
    assert discriminator_loss(scored([1, 7]), scored([-1, -7])) == 0


def test_the_generator_wants_high_scores():
    assert generator_loss(scored([-3, -0.5, 4], [2])).item() == pytest.approx(-(0.5 / 3 + 2) / 2)


def test_feature_matching_sums_over_blocks_and_averages_over_scales():
    def maps(*values: float) -> PatchScores:
        shapes = ((2, 3, 5, 4), (2, 7, 2, 2))
        maps = tuple(torch.full(shape, float(value)) for shape, value in zip(shapes, values, strict=True))
        return PatchScores(maps, torch.zeros(2, 1, 2, 2))

    real, fake = [maps(1, 2), maps(0, 0)], [maps(4, -3), maps(10, 100)]
    for each in (*real[0].features, *fake[0].features):
        each.requires_grad_()
    loss = feature_matching(real, fake)
    assert loss.item() == pytest.approx((3 + 5 + 10 + 100) / 2)
    loss.backward()
    assert all(each.grad is None for each in real[0].features)
    torch.testing.assert_close(fake[0].features[0].grad, torch.full((2, 3, 5, 4), 1 / (2 * 2 * 3 * 5 * 4)))


@pytest.mark.parametrize("loss", [discriminator_loss, feature_matching])
def test_as_many_scales_of_either(loss):
    with pytest.raises(ValueError, match="as many scales of real and fake, got 2 and 1"):
        loss(scored([0], [0]), scored([0]))


# Keypoints, poses and expressions


def test_the_keypoint_prior_by_hand():
    """Squared distances 0.04, 0.09 and 0.25 (pairs count twice); depths of 0.5 on average."""
    kp = torch.tensor(
        [[[0.0, 0.0, 0.5], [0.2, 0.0, 0.5], [0.2, 0.3, 0.5]], [[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]]
    )
    crowded = 2 * ((0.1 - 0.04) + (0.1 - 0.09))
    assert keypoint_prior(kp[:1]).item() == pytest.approx(crowded + 0.17, rel=1e-5)
    assert keypoint_prior(kp[1:]).item() == pytest.approx(0.33)
    assert keypoint_prior(kp).item() == pytest.approx((crowded + 0.17 + 0.33) / 2, rel=1e-5)
    assert keypoint_prior(kp[:1], threshold=0.0, depth=0.5) == 0


def test_the_keypoint_prior_is_the_papers_double_sum():
    kp = 0.3 * torch.randn(3, K, 3, dtype=torch.float64)
    expected = 0.0
    for of_one in kp.numpy():
        pairs = ((i, j) for i in range(K) for j in range(K) if i != j)
        expected += sum(max(0, 0.2 - ((of_one[i] - of_one[j]) ** 2).sum()) for i, j in pairs)
        expected += abs(of_one[:, 2].mean() - 0.1)
    assert keypoint_prior(kp, threshold=0.2, depth=0.1).item() == pytest.approx(expected / 3)
    assert torch.autograd.gradcheck(keypoint_prior, kp.requires_grad_())


def rotation(*angles: list[float], order: str = "xyz") -> Tensor:
    return rotation_from_euler(*torch.tensor(angles, dtype=torch.float64), order=order)


@pytest.mark.parametrize("order", ["xyz", "zyx"])
def test_head_pose_is_the_sum_of_three_angles_in_degrees(order):
    """Pitch, yaw and roll are off by 5, 20, 0 in one head and by 1, 0, 8 in the other."""
    estimate = rotation([10, 1], [20, 30], [-7, 4], order=order)
    true = rotation([5, 0], [40, 30], [-7, -4], order=order)
    assert head_pose(estimate, true, order).item() == pytest.approx((25 + 9) / 2)
    other = {"xyz": "zyx", "zyx": "xyz"}[order]
    assert abs(head_pose(estimate, true, other).item() - 17) > 0.1


def test_angles_differ_the_shorter_way():
    estimate, true = rotation([179], [0], [-178]), rotation([-179], [0], [179])
    assert head_pose(estimate, true).item() == pytest.approx(2 + 3)


def test_head_pose_has_a_gradient_to_the_estimate():
    angles = torch.tensor([[10.0, 0.1], [-20, 0.2], [5, -0.3]], dtype=torch.float64, requires_grad=True)
    loss = head_pose(rotation_from_euler(*angles), torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    (gradient,) = torch.autograd.grad(loss, angles)
    torch.testing.assert_close(gradient, angles.detach().sign() / 2)


def test_the_deformation_prior_is_a_sum_over_a_face():
    expression = torch.zeros(2, K, 3)
    expression[0, 1] = torch.tensor([0.1, -0.2, 0.3])
    expression[1, 3, 2] = -1
    assert deformation_prior(expression).item() == pytest.approx((0.6 + 1) / 2)


def motion(batch: int = 2) -> Motion:
    return Motion(
        rotation=rotation_from_euler(*(30 * torch.randn(3, batch))),
        translation=torch.randn(batch, 3),
        expression=torch.randn(batch, K, 3),
        scale=torch.ones(batch, 1),
    )


def test_supervised_terms_are_apart():
    canonical, true = torch.rand(2, K, 3), motion()
    assert supervised(canonical, true, canonical, true) == (0, 0, 0, 0)
    turned = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]).expand(2, 3, 3)
    upright = replace(true, rotation=torch.eye(3).expand(2, 3, 3))
    estimate = replace(
        upright,
        rotation=turned,
        translation=true.translation + torch.tensor([0.3, 0, 0]),
        expression=true.expression - 0.25,
    )
    terms = supervised(canonical + 0.5, estimate, canonical, upright)
    assert terms.canonical.item() == pytest.approx(0.5)
    assert terms.rotation.item() == pytest.approx(4 / 9)
    assert terms.translation.item() == pytest.approx(0.1)
    assert terms.expression.item() == pytest.approx(0.25)


def test_some_keypoints_may_count_more():
    true = motion()
    offset = torch.zeros(2, K, 3)
    offset[:, 0], offset[:, 1] = 1, 0.1
    canonical, estimate = torch.rand(2, K, 3), replace(true, expression=true.expression + offset)
    for weights, expected in (
        (None, 1.1 / 4),
        (torch.full((K,), 7), 1.1 / 4),
        (torch.tensor([1.0, 5, 1, 1]), (1 + 0.5) / 8),
    ):
        weights = weights if weights is None else weights.float()
        actual = supervised(canonical, estimate, canonical, true, weights)
        assert actual.expression.item() == pytest.approx(expected)


# All of them


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_of_halves_are_made_in_single_precision(dtype):
    """As autocast leaves features and scores. bfloat16 has three digits."""
    a, b = (torch.randn(2, 3, 64, 64).to(dtype) for _ in range(2))
    real, fake = [PatchScores((a,), a[:, :1])], [PatchScores((b,), b[:, :1])]
    few = 0.1 * torch.randn(2, K, 3).to(dtype)

    def everything(*_: object) -> list[Tensor]:
        return [
            l1(a, b),
            discriminator_loss(real, fake),
            generator_loss(fake),
            feature_matching(real, fake),
            keypoint_prior(few),
            deformation_prior(few),
        ]

    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = everything()
    assert {each.dtype for each in actual} == {torch.float32}
    a, b, few = a.double(), b.double(), few.double()
    real, fake = [PatchScores((a,), a[:, :1])], [PatchScores((b,), b[:, :1])]
    torch.testing.assert_close(actual, [each.float() for each in everything()], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_is_a_number_from_0_on(weight):
    with pytest.raises(ValueError, match="expected equivariance >= 0"):
        LossConfig(equivariance=weight)
    assert LossConfig(equivariance=0).equivariance == 0
