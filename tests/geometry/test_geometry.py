# SPDX-License-Identifier: Apache-2.0
"""Closed forms: what must come out of rotations, views and transfer, whatever the weights."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from fv2v.config import GeometryConfig
from fv2v.geometry import (
    Motion,
    Source,
    View,
    apply_view,
    check_motion,
    euler_degrees,
    keypoints_of,
    place,
    rotation_from_euler,
)
from fv2v.geometry.hull import hull_volume, movement_scale
from fv2v.presets import FACE_VID2VID_256, VOX_256
from fv2v_kernels import keypoint_flow, warp3d

POSE, KEYPOINT = FACE_VID2VID_256.geometry, VOX_256.geometry
RULES = pytest.mark.parametrize("geometry", [POSE, KEYPOINT], ids=["pose", "keypoint"])
K = 7


def rotation(pitch: float, yaw: float, roll: float, **conventions) -> torch.Tensor:
    return rotation_from_euler(*(torch.tensor([angle]) for angle in (pitch, yaw, roll)), **conventions)


def make_motion(seed: int, frames: int = 1) -> Motion:
    generator = torch.Generator().manual_seed(seed)
    pitch, yaw, roll = 80 * torch.rand(3, frames, generator=generator) - 40
    return Motion(
        rotation=rotation_from_euler(pitch, yaw, roll),
        translation=0.2 * torch.randn(frames, 3, generator=generator),
        expression=0.1 * torch.randn(frames, K, 3, generator=generator),
        scale=torch.ones(frames, 1),
    )


def make_source(motion: Motion | None = None, *, jacobians: bool = False) -> Source:
    generator = torch.Generator().manual_seed(9)
    motion = motion or make_motion(8)
    canonical = torch.rand(1, K, 3, generator=generator) - 0.5
    return Source(
        features=torch.randn(1, 3, 4, 6, 8, generator=generator),
        compressed=torch.empty(1, 1, 4, 6, 8),
        canonical=canonical,
        jacobians=torch.eye(3) + 0.3 * torch.randn(1, K, 3, 3, generator=generator) if jacobians else None,
        motion=motion,
        keypoints=keypoints_of(canonical, motion),
    )


# Rotations


def test_each_angle_turns_the_nose_where_the_convention_says():
    nose = torch.tensor([0.0, 0.0, -1.0])
    assert (rotation(0, 30, 0) @ nose)[0, 0] < 0, "positive yaw: to the left of the picture"
    assert (rotation(30, 0, 0) @ nose)[0, 1] > 0, "positive pitch: down"
    crown = rotation(0, 0, 30) @ torch.tensor([0.0, -1.0, 0.0])
    assert crown[0, 0] > 0, "positive roll: clockwise"


def test_order_is_the_product_it_spells():
    x, y, z = rotation(20, 0, 0), rotation(0, 30, 0), rotation(0, 0, 40)
    torch.testing.assert_close(rotation(20, 30, 40, order="xyz"), x @ y @ z)
    torch.testing.assert_close(rotation(20, 30, 40, order="zyx"), z @ y @ x)
    assert (rotation(20, 30, 40, order="xyz") - rotation(20, 30, 40, order="zyx")).abs().max() > 0.1


def test_half_a_turn_is_pi_of_the_preset():
    torch.testing.assert_close(rotation(0, 180, 0, pi=3.14)[0, 0, 0].item(), math.cos(3.14))


@pytest.mark.parametrize("order", ["xyz", "zyx"])
@pytest.mark.parametrize("pi", [math.pi, 3.14])
def test_euler_round_trip(order, pi):
    grid = itertools.product((-170.0, -30.0, 0.0, 75.0), (-89.0, -20.0, 0.0, 60.0), (-135.0, 0.0, 10.0))
    angles = torch.tensor(list(grid), dtype=torch.float64).T
    read = euler_degrees(rotation_from_euler(*angles, order=order, pi=pi), order, pi=pi)
    torch.testing.assert_close(torch.stack(read), angles, rtol=0, atol=1e-9)


@pytest.mark.parametrize("order", ["xyz", "zyx"])
@pytest.mark.parametrize("yaw", [90.0, -90.0])
def test_in_gimbal_lock_the_rotation_still_comes_back(order, yaw):
    locked = rotation(25.0, yaw, -40.0, order=order)
    again = rotation_from_euler(*euler_degrees(locked, order), order=order)
    torch.testing.assert_close(again, locked, rtol=0, atol=1e-5)


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match=r"one of \('xyz', 'zyx'\), got 'yxz'"):
        rotation(0, 0, 0, order="yxz")


# Transfer


def test_identity_motion_is_an_identity_warp_on_the_corner_lattice():
    source = make_source()
    kp_driving, affine = place(source, source.motion, geometry=POSE)
    flow = keypoint_flow(source.keypoints, kp_driving, affine, size=(4, 6, 8))
    for k in range(K + 1):
        warped = warp3d(source.features, flow[:, k], align_corners=True)
        torch.testing.assert_close(warped, source.features, rtol=0, atol=2e-5)


def test_a_pure_rotation_gives_its_affine():
    source = make_source()
    own = source.motion
    turned = Motion(rotation(10, 25, -5) @ own.rotation, own.translation, own.expression, own.scale)
    kp_driving, affine = place(source, turned, geometry=POSE)
    torch.testing.assert_close(affine, own.rotation @ torch.linalg.inv(turned.rotation))
    # around each keypoint, rotating the canonical head by R_d moves a point as R_d R_s⁻¹ does, the flow back
    offset = torch.tensor([0.1, -0.05, 0.2])
    back = affine @ (turned.rotation @ offset)[..., None]
    torch.testing.assert_close(back, (own.rotation @ offset)[..., None])
    torch.testing.assert_close(kp_driving, keypoints_of(source.canonical, turned))


@RULES
@pytest.mark.parametrize("jacobians", [False, True])
@pytest.mark.parametrize("movement", [1.0, 1.7])
def test_the_anchor_itself_gives_the_sources_own_keypoints(geometry, jacobians, movement):
    source, anchor = make_source(jacobians=jacobians), make_motion(3)
    kp_driving, affine = place(source, anchor, anchor, geometry=geometry, movement=movement)
    torch.testing.assert_close(kp_driving, source.keypoints, rtol=0, atol=1e-6)
    if affine is not None:
        torch.testing.assert_close(affine, torch.eye(3).expand_as(affine), rtol=0, atol=1e-5)


def test_pose_transfer_by_hand():
    source, driving, anchor = make_source(), make_motion(1), make_motion(2)
    own = source.motion
    R = driving.rotation @ torch.linalg.inv(anchor.rotation) @ own.rotation
    t = own.translation + driving.translation - anchor.translation
    delta = own.expression + driving.expression - anchor.expression
    kp_driving, affine = place(source, driving, anchor, geometry=POSE)
    for k in range(K):
        torch.testing.assert_close(kp_driving[0, k], R[0] @ source.canonical[0, k] + t[0] + delta[0, k])
    torch.testing.assert_close(affine, own.rotation @ torch.linalg.inv(R))


def test_keypoint_transfer_by_hand():
    source, driving, anchor = make_source(jacobians=True), make_motion(1), make_motion(2)
    J_s, J_d, J_0 = (m.rotation[:, None] @ source.jacobians for m in (source.motion, driving, anchor))
    change = keypoints_of(source.canonical, driving) - keypoints_of(source.canonical, anchor)
    kp_driving, affine = place(source, driving, anchor, geometry=KEYPOINT, movement=1.5)
    torch.testing.assert_close(kp_driving, source.keypoints + 1.5 * change)
    J = J_d @ torch.linalg.inv(J_0) @ J_s
    torch.testing.assert_close(affine, J_s @ torch.linalg.inv(J), rtol=1e-4, atol=1e-4)
    kp_driving, affine = place(source, driving, geometry=KEYPOINT)
    torch.testing.assert_close(kp_driving, keypoints_of(source.canonical, driving))
    torch.testing.assert_close(affine, J_s @ torch.linalg.inv(J_d), rtol=1e-4, atol=1e-4)


@RULES
def test_frames_of_a_batch_do_not_meet(geometry):
    source, frames, anchor = make_source(jacobians=True), make_motion(1, frames=3), make_motion(2)
    views = [View(yaw=20), View(), View(pitch=5, translation=(0.1, 0.0, 0.0), mode="replace")]
    together = place(source, frames, anchor, views, geometry=geometry)
    for i, view in enumerate(views):
        alone = place(source, frames[i : i + 1], anchor, view, geometry=geometry)
        torch.testing.assert_close(together.kp_driving[i : i + 1], alone.kp_driving)
        torch.testing.assert_close(together.affine[i : i + 1], alone.affine)


# Views


def test_views_compose():
    motion = make_motion(1)
    first = View(yaw=15, pitch=5, translation=(0.1, 0.0, 0.0))
    second = View(roll=-20, translation=(0.0, 0.2, 0.0))
    both = apply_view(apply_view(motion, first, POSE), second, POSE)
    torch.testing.assert_close(both.rotation, rotation(0, 0, -20) @ rotation(5, 15, 0) @ motion.rotation)
    torch.testing.assert_close(both.translation, motion.translation + torch.tensor([0.1, 0.2, 0.0]))
    assert both.expression is motion.expression, "a view never rotates δ"


@pytest.mark.parametrize("geometry", [POSE, KEYPOINT, GeometryConfig(euler_order="zyx")])
def test_replace_sets_what_is_given_and_keeps_the_rest(geometry):
    motion = make_motion(1)
    pi, order = geometry.pi, geometry.euler_order
    before = euler_degrees(motion.rotation, order, pi=pi)
    after = apply_view(motion, View(yaw=20, mode="replace"), geometry)
    pitch, yaw, roll = euler_degrees(after.rotation, order, pi=pi)
    torch.testing.assert_close((pitch, roll), (before[0], before[2]), rtol=0, atol=1e-4)
    torch.testing.assert_close(yaw, torch.tensor([20.0]), rtol=0, atol=1e-4)
    torch.testing.assert_close(after.translation, motion.translation)
    moved = apply_view(motion, View(translation=(0.1, 0.2, 0.3), mode="replace"), geometry)
    torch.testing.assert_close(moved.translation, torch.tensor([[0.1, 0.2, 0.3]]))
    torch.testing.assert_close(moved.rotation, motion.rotation, rtol=0, atol=1e-6)


def test_pose_views_come_after_the_transfer_and_keypoint_views_before():
    source, driving, anchor, view = make_source(), make_motion(1), make_motion(2), View(yaw=20)
    turn, own = rotation(0, 20, 0), source.motion
    R = turn @ driving.rotation @ anchor.rotation.mT @ own.rotation
    affine = place(source, driving, anchor, view, geometry=POSE).affine
    torch.testing.assert_close(affine, own.rotation @ R.mT, rtol=0, atol=1e-6)
    turned = Motion(
        rotation(0, 20, 0, pi=3.14) @ driving.rotation, driving.translation, driving.expression, driving.scale
    )
    torch.testing.assert_close(
        place(source, driving, anchor, view, geometry=KEYPOINT).kp_driving,
        place(source, turned, anchor, geometry=KEYPOINT).kp_driving,
    )


def test_as_many_views_as_frames():
    with pytest.raises(ValueError, match="one for each of 3 frames, got 2"):
        apply_view(make_motion(1, frames=3), [View(), View()], POSE)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"yaw": math.nan}, "finite"),
        ({"mode": "set"}, "'compose' or 'replace'"),
        ({"translation": (1, 2)}, "3 numbers"),
    ],
)
def test_a_view_that_means_nothing_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        View(**wrong)


# Motion that someone gives


@pytest.mark.parametrize("name", ["rotation", "translation", "expression", "scale"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_in_a_given_motion_is_refused(name, value):
    motion = make_motion(1)
    getattr(motion, name)[0, 0] = value
    with pytest.raises(ValueError, match=f"motion of the anchor: {name} holds NaN"):
        check_motion(motion, K, "anchor")


def test_a_given_motion_of_other_sizes_is_refused():
    motion = make_motion(1)
    with pytest.raises(ValueError, match=r"expected expression of shape \(1, 15, 3\) .* got \(1, 7, 3\)"):
        check_motion(motion, 15)
    with pytest.raises(ValueError, match=r"expected scale 1 .* got \[2\.0\]"):
        check_motion(Motion(motion.rotation, motion.translation, motion.expression, 2 * motion.scale), K)
    with pytest.raises(ValueError, match="expected a Motion for the frames, got dict"):
        check_motion({}, K)


# Hull volumes


@pytest.mark.parametrize("points", [4, 5, 15, 21, 60])
def test_hull_volume_matches_scipy(points):
    generator = np.random.default_rng(points)
    for _ in range(20):
        cloud = generator.normal(size=(points, 3)) * [1.0, 0.5, 0.01]
        assert hull_volume(cloud) == pytest.approx(ConvexHull(cloud).volume, rel=1e-10)


def test_hull_volume_of_degenerate_sets():
    cube = np.array(list(itertools.product((0.0, 1.0, 2.0), repeat=3)))  # many in one plane, one inside
    assert hull_volume(cube) == pytest.approx(8.0)
    assert hull_volume(np.repeat(cube, 2, axis=0)) == pytest.approx(8.0)  # every point twice
    assert hull_volume(cube * [1, 1, 0] + 0.3) == 0.0
    assert hull_volume(np.zeros((5, 3))) == 0.0
    assert hull_volume(cube[:3]) == 0.0


def test_movement_scale_is_the_releases_ratio():
    source, anchor = make_source(), make_motion(2)
    clouds = source.keypoints, keypoints_of(source.canonical, anchor)
    volumes = [ConvexHull(cloud[0].numpy()).volume for cloud in clouds]
    scale = movement_scale(source, anchor)
    assert scale.shape == (1, 1, 1)
    assert scale.item() == pytest.approx(math.sqrt(volumes[0]) / math.sqrt(volumes[1]), rel=1e-5)
    flat = Motion(anchor.rotation, anchor.translation, -(source.canonical @ anchor.rotation.mT), anchor.scale)
    with pytest.raises(ValueError, match="one plane"):
        movement_scale(source, flat)
