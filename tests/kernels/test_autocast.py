# SPDX-License-Identifier: Apache-2.0
"""Under autocast operators take what half-precision layers leave behind: coordinates are widened to float32,
tensors stored in two dtypes to the wider one, and nothing is narrowed.
"""

import pytest
import torch
from tiny import TINY, TINY_VOX

from fv2v.geometry import keypoints_of, place
from fv2v.networks import FaceVid2Vid
from fv2v_kernels import (
    compose_flow,
    compose_warp,
    keypoint_flow,
    mask_head,
    modulate,
    soft_argmax3d,
    warp3d,
    warp_candidates,
)

HALF = torch.bfloat16
FEATURES, LOGITS, TAPS = (torch.randn(2, *shape, 2, 3, 5) for shape in ((4,), (6,), (3, 6)))
SOURCE, DRIVING, GRID = (torch.rand(*shape).to(HALF) for shape in ((2, 5, 3), (2, 5, 3), (2, 2, 3, 5, 3)))

CALLS = {  # call(points): with coordinates as they come
    "keypoint_flow": lambda to: keypoint_flow(to(SOURCE), to(DRIVING), size=(2, 3, 5)),
    "warp_candidates": lambda to: warp_candidates(FEATURES, to(SOURCE), to(DRIVING), align_corners=True),
    "compose_flow": lambda to: compose_flow(LOGITS, to(SOURCE), to(DRIVING)),
    "warp3d": lambda to: warp3d(FEATURES, to(GRID), align_corners=True),
    "compose_warp": lambda to: compose_warp(FEATURES, LOGITS, to(SOURCE), to(DRIVING), align_corners=True),
    "mask_head": lambda to: mask_head(FEATURES, TAPS, to(SOURCE), to(DRIVING), align_corners=True),
}


@pytest.mark.parametrize("op", CALLS)
def test_half_coordinates_are_widened(op):
    expected = CALLS[op](torch.Tensor.float)
    with torch.autocast("cpu", dtype=HALF):
        actual = CALLS[op](lambda points: points)
    assert actual.dtype == torch.float32
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("op", [op for op in CALLS if op != "keypoint_flow"])
def test_outside_of_autocast_they_are_an_error(op):
    with pytest.raises(TypeError, match="coordinates are never stored in half precision"):
        CALLS[op](lambda points: points)


def test_of_two_dtypes_the_wider_wins():
    points = SOURCE.float(), DRIVING.float()
    maps = torch.randn(2, 54, 2, 3, 5)
    expected_warp = compose_warp(FEATURES, LOGITS.to(HALF).float(), *points, align_corners=True)
    expected = soft_argmax3d(LOGITS.to(HALF).float(), temperature=1.0, jacobian_maps=maps)
    picture, gamma, beta = torch.randn(3, 2, 4, 3, 5)
    expected_picture = modulate(picture.to(HALF).float(), gamma, beta)
    with torch.autocast("cpu", dtype=HALF):
        warped = compose_warp(FEATURES, LOGITS.to(HALF), *points, align_corners=True)
        found = soft_argmax3d(LOGITS.to(HALF), temperature=1.0, jacobian_maps=maps)
        modulated = modulate(picture.to(HALF), gamma, beta)
    assert warped.dtype == torch.float32
    assert torch.equal(warped, expected_warp)
    assert torch.equal(found.jacobians, expected.jacobians)
    assert torch.equal(modulated, expected_picture)


def test_features_in_half_stay_in_half():
    with torch.autocast("cpu", dtype=HALF):
        warped = compose_warp(FEATURES.to(HALF), LOGITS.to(HALF), SOURCE, DRIVING, align_corners=True)
    assert warped.dtype == HALF


def test_gradients_have_their_tensors_dtype():
    points = SOURCE.clone().requires_grad_()
    logits = LOGITS.to(HALF).requires_grad_()
    with torch.autocast("cpu", dtype=HALF):
        flow = compose_flow(logits, points, DRIVING)
    flow.square().sum().backward()
    assert points.grad.dtype == logits.grad.dtype == HALF
    assert points.grad.abs().sum() > 0


def test_keypoints_and_poses_are_not_halved():
    """Whatever the trunk is computed in: matrix products of coordinates stay what they are."""
    model = FaceVid2Vid(TINY).eval()
    source, driving = torch.rand(2, 2, 3, TINY.image_size, TINY.image_size)
    encoded, motion = model.encode(source), model.extract(driving)
    expected = place(encoded, motion, geometry=TINY.geometry)
    with torch.autocast("cpu", dtype=HALF):
        rotation = model.extract(driving).rotation
        found = place(encoded, motion, geometry=TINY.geometry)
        keypoints = keypoints_of(encoded.canonical, encoded.motion)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(2, 3, 3), rtol=0, atol=1e-6)
    assert torch.equal(found.kp_driving, expected.kp_driving)
    assert torch.equal(found.affine, expected.affine)
    assert torch.equal(keypoints, encoded.keypoints)


def test_the_networks_run_and_train():
    torch.manual_seed(0)
    model = FaceVid2Vid(TINY_VOX).eval()
    source, driving = torch.rand(2, 1, 3, TINY_VOX.image_size, TINY_VOX.image_size)
    with torch.autocast("cpu", dtype=HALF):
        encoded = model.encode(source)
        placed = place(encoded, model.extract(driving), geometry=TINY_VOX.geometry)
        image = model.render(encoded, placed)
    assert encoded.keypoints.dtype == torch.float32
    assert (image - model(source, driving)).abs().max() < 0.05
    image.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.generator.parameters())
