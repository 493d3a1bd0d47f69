# SPDX-License-Identifier: Apache-2.0
"""Random warps, and what a detector that knows them scores."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import fsolve
from torch import Tensor

from fv2v.losses import RandomWarp, equivariance, equivariance_jacobians

K = 6


def sampled(batch: int = 2, seed: int = 0, **options: object) -> RandomWarp:
    """In float64, and stronger than training's unless told otherwise."""
    options = {"sigma_affine": 0.1, "sigma_tps": 0.02, "dtype": torch.float64} | options
    return RandomWarp.sample(batch, torch.Generator().manual_seed(seed), **options)


def points(batch: int = 2, count: int = K, columns: int = 2) -> Tensor:
    return 1.6 * torch.rand(batch, count, columns, dtype=torch.float64) - 0.8


def formula(warp: RandomWarp, b: int, point: np.ndarray) -> np.ndarray:
    """T(p) = A p + b + Σ w U(r), one point at a time."""
    moved = warp.linear[b].numpy() @ point + warp.shift[b].numpy()
    for control, weight in zip(warp.controls.numpy(), warp.bends[b].numpy(), strict=True):
        r = math.dist(point, control)
        moved = moved + weight * (r**2 * math.log(r) if r else 0)
    return moved


def found(warp: RandomWarp, kp_driving: Tensor) -> Tensor:
    """A perfect detector on the warped picture: T(x_T) = x_d solved for x_T, which keeps the depth."""
    solved = [
        [fsolve(lambda p, b=b, x=x: formula(warp, b, p) - x, x, xtol=1e-13) for x in of_one[:, :2].numpy()]
        for b, of_one in enumerate(kp_driving)
    ]
    return torch.cat([torch.tensor(np.array(solved)), kp_driving[..., 2:]], dim=-1)


def lattice(size: int) -> Tensor:
    """x and y (2, n, n) of pixels' centres, where ±1 are the picture's edges."""
    line = (2 * torch.arange(size, dtype=torch.float64) + 1) / size - 1
    return torch.stack(torch.meshgrid(line, line, indexing="xy"))


# The warp


def test_points_are_the_formula():
    warp, xy = sampled(), points()
    expected = [[formula(warp, b, point) for point in of_one.numpy()] for b, of_one in enumerate(xy)]
    torch.testing.assert_close(warp.points(xy), torch.tensor(np.array(expected)))
    torch.testing.assert_close(warp.points(xy[:1])[1], warp.points(xy[:1].expand(2, -1, -1))[1])


def test_draws_have_the_spread_asked_for():
    warp = RandomWarp.sample(2000, torch.Generator().manual_seed(0))
    linear = warp.linear - torch.eye(2)
    assert linear.std().item() == pytest.approx(0.05, rel=0.05)
    assert warp.shift.std().item() == pytest.approx(0.05, rel=0.05)
    assert warp.bends.std().item() == pytest.approx(0.005, rel=0.02)
    assert max(linear.mean().abs(), warp.shift.mean().abs()) < 0.003
    assert (linear[:, 0, 0] - linear[:, 1, 1]).abs().mean() > 0.03, "each number is drawn by itself"
    assert (warp.bends[..., 0] - warp.bends[..., 1]).abs().mean() > 0.003


def test_controls_are_a_lattice_from_edge_to_edge():
    line = (-1.0, -0.5, 0.0, 0.5, 1.0)
    assert sorted(map(tuple, sampled().controls.tolist())) == [(x, y) for x in line for y in line]
    assert len(sampled(points=3).bends[0]) == 9


def test_draws_are_the_generators():
    generator = torch.Generator().manual_seed(3)
    first, second = (RandomWarp.sample(2, generator) for _ in range(2))
    again = RandomWarp.sample(2, torch.Generator().manual_seed(3), dtype=torch.float64)
    xy = points()
    torch.testing.assert_close(first.points(xy), again.points(xy).float())
    assert (first.shift - second.shift).abs().min() > 1e-4


def test_the_jacobian_is_the_derivative():
    warp, xy = sampled(), points()
    for b in range(2):
        for k in range(K):
            derivative = torch.autograd.functional.jacobian(
                lambda p, b=b: warp.points(p.expand(2, 1, 2))[b, 0], xy[b, k]
            )
            torch.testing.assert_close(warp.jacobian(xy)[b, k], derivative)


def test_control_points_are_no_special_places():
    warp, offset = sampled(), 1e-7
    at = warp.controls[None].clone().requires_grad_()
    torch.testing.assert_close(warp.points(at), warp.points(at + offset), rtol=0, atol=1e-6)
    torch.testing.assert_close(warp.jacobian(at), warp.jacobian(at + offset), rtol=0, atol=1e-6)
    (warp.points(at).sum() + warp.jacobian(at).sum()).backward()
    assert at.grad.isfinite().all()


@pytest.mark.parametrize("voxels", [4, 9, 48])
def test_pictures_and_points_move_alike(voxels):
    """A picture of its own coordinates on the volume's corner lattice: bilinear reads of it are exact."""
    warp = sampled()
    coordinates = lattice(48) * voxels / (voxels - 1)
    warped = warp.image(coordinates.expand(2, -1, -1, -1), voxels)
    expected = warp.points(coordinates.flatten(1).mT[None]).mT.unflatten(2, (48, 48))
    inside = (expected.abs() <= coordinates.max()).all(1, keepdim=True).expand_as(expected)
    assert inside.double().mean() > 0.6
    torch.testing.assert_close(warped[inside], expected[inside])


def test_a_shift_reads_to_its_side_and_mirrors_at_the_edge():
    picture = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    two_pixels = torch.tensor([[2 * 2 / 7, 0]], dtype=torch.float64)
    still = sampled(1, sigma_affine=0, sigma_tps=0)
    warp = RandomWarp(still.linear, two_pixels, still.bends)
    expected = torch.cat((picture[..., 2:], picture[..., [7, 6]]), dim=3)
    torch.testing.assert_close(warp.image(picture, voxels=8), expected)
    torch.testing.assert_close(still.image(picture, voxels=5), picture)


def test_what_is_seen_moves_as_the_loss_wants_it():
    """Blobs painted at x_d, found by their centres of mass in the warped picture."""
    size, voxels = 96, 6
    warp = sampled(3, sigma_affine=0.05, sigma_tps=0.005)
    kp_driving = points(3, 2, 3) / 2
    coordinates = lattice(size) * voxels / (voxels - 1)
    away = (coordinates - kp_driving[..., :2, None, None]).square().sum(2)  # (3, 2, n, n)
    blobs = torch.exp(-away / (2 * 0.06**2))
    weights = warp.image(blobs, voxels)
    weights = weights / weights.sum((2, 3), keepdim=True)
    centres = torch.einsum("bkyx,cyx->bkc", weights, coordinates)
    kp_warped = torch.cat((centres, kp_driving[..., 2:]), dim=-1)
    assert (kp_warped - kp_driving).abs()[..., :2].mean() > 0.02
    assert equivariance(kp_driving, kp_warped, warp) < 5e-4


# The losses


def test_a_perfect_detector_scores_zero():
    warp, kp_driving = sampled(), points(columns=3)
    kp_warped = found(warp, kp_driving)
    jac_warped = torch.eye(3) + 0.3 * torch.randn(2, K, 3, 3, dtype=torch.float64)
    jac_driving = jac_warped.clone()
    jac_driving[..., :2, :] = warp.jacobian(kp_warped[..., :2]) @ jac_warped[..., :2, :]
    assert equivariance(kp_driving, kp_warped, warp) < 1e-9
    assert equivariance_jacobians(jac_driving, jac_warped, warp, kp_warped) < 1e-9
    assert equivariance(kp_warped, kp_driving, warp) > 0.01, "and the other way round does not"
    assert equivariance_jacobians(jac_warped, jac_driving, warp, kp_warped) > 0.01
    assert equivariance_jacobians(jac_driving, jac_warped, warp, kp_driving) > 0.01, "the slope is at x_T"


def test_errors_count_by_their_mean_and_depth_does_not():
    warp, kp_driving = sampled(), points(columns=3)
    kp_warped = found(warp, kp_driving)
    wrong = kp_driving.clone()
    wrong[..., 0] += 0.3
    wrong[0, 0, 1] -= 0.6
    wrong[..., 2] += 5
    expected = (2 * K * 0.3 + 0.6) / (2 * K * 2)
    assert equivariance(wrong, kp_warped, warp).item() == pytest.approx(expected)


def test_jacobians_are_compared_as_their_quotient():
    warp, kp = sampled(), points(columns=3)
    driving, warped = (torch.eye(3) + 0.3 * torch.randn(2, K, 3, 3, dtype=torch.float64) for _ in range(2))
    expected = [
        np.abs(
            np.linalg.inv(driving[b, k, :2, :2].numpy())
            @ warp.jacobian(kp[..., :2])[b, k].numpy()
            @ warped[b, k, :2, :2].numpy()
            - np.eye(2)
        ).mean()
        for b in range(2)
        for k in range(K)
    ]
    actual = equivariance_jacobians(driving, warped, warp, kp)
    assert actual.item() == pytest.approx(np.mean(expected))


def test_gradients_reach_both_pictures_keypoints():
    warp, kp_driving, kp_warped = sampled(), points(columns=3), points(columns=3)
    jacobians = (torch.eye(3) + 0.2 * torch.randn(2, 2, K, 3, 3, dtype=torch.float64)).unbind()
    inputs = [each.requires_grad_() for each in (kp_driving, kp_warped, *jacobians)]
    assert torch.autograd.gradcheck(lambda d, w, *_: equivariance(d, w, warp), inputs)
    assert torch.autograd.gradcheck(lambda _, w, j, i: equivariance_jacobians(j, i, warp, w), inputs)


def test_autocast_does_not_halve_coordinates():
    warp = RandomWarp.sample(2, torch.Generator().manual_seed(0))
    kp_driving, kp_warped = points(columns=3).float(), points(columns=3).float()
    jacobians = (torch.eye(3) + 0.2 * torch.randn(2, 2, K, 3, 3)).unbind()
    picture = torch.rand(2, 3, 16, 16).bfloat16()

    def everything() -> list[Tensor]:
        return [
            warp.points(kp_warped[..., :2]),
            equivariance(kp_driving, kp_warped, warp),
            equivariance_jacobians(*jacobians, warp, kp_warped),
            warp.image(picture, 4),
        ]

    plain = everything()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = everything()
    assert [each.dtype for each in under] == [torch.float32] * 3 + [torch.bfloat16]
    torch.testing.assert_close(under, plain, rtol=0, atol=0)


def test_wrong_sizes_are_errors():
    warp = sampled()
    with pytest.raises(ValueError, match=r"expected points \(B, K, 2\), got \(2, 6, 3\)"):
        warp.points(points(columns=3))
    with pytest.raises(ValueError, match="2 voxels a side at least, got 1"):
        warp.image(torch.rand(2, 3, 8, 8), voxels=1)
    with pytest.raises(ValueError, match="two tensors of one shape"):
        equivariance(points(count=5, columns=3), points(columns=3), warp)
