# SPDX-License-Identifier: Apache-2.0
"""Coefficients in, frames out: SadTalker's way of driving, on a tiny model."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY_SADTALKER, TINY_VOX, coefficients, encoded, lively, pictures, uncaptured

from fv2v import Reenactor, View
from fv2v.geometry import Motion, euler_degrees, keypoints_of
from fv2v.motion.coefficients import driving_coefficients, pose_views
from fv2v_kernels import keypoint_flow, warp3d

FULL = replace(TINY_SADTALKER, name="tiny-sadtalker-full", head=replace(TINY_SADTALKER.head, inputs=73))


@pytest.fixture(scope="module")
def tiny() -> Reenactor:
    return lively(Reenactor(TINY_SADTALKER, weights="random"))


@pytest.fixture(scope="module")
def full() -> Reenactor:
    return lively(Reenactor(FULL, weights="random"))


def window(sequence: np.ndarray, frame: int) -> np.ndarray:
    """(1, n, 27), spelled out."""
    seen = [min(max(i, 0), len(sequence) - 1) for i in range(frame - 13, frame + 14)]
    return np.stack([sequence[i] for i in seen], axis=1)[None]


def assert_motions_close(actual: Motion, expected: Motion) -> None:
    for name in ("rotation", "translation", "expression", "scale"):
        torch.testing.assert_close(getattr(actual, name), getattr(expected, name))


def test_each_frame_sees_those_around_it(tiny):
    """At both ends and in the middle, of a sequence longer than a window and of one shorter."""
    for frames in (40, 5):
        sequence = coefficients(frames)
        motion = tiny.extract(sequence)
        assert len(motion) == frames
        for i in range(frames):
            expected = tiny.networks.extract(torch.from_numpy(window(sequence, i)))
            assert_motions_close(motion[i : i + 1], expected)


def test_frames_further_than_thirteen_do_not_count(tiny):
    sequence = coefficients(40)
    motion = tiny.extract(sequence)[20:21]
    for far in (6, 34):
        changed = sequence.copy()
        changed[far] += 1
        assert torch.equal(tiny.extract(changed)[20:21].expression, motion.expression)
    for near in (7, 33):
        changed = sequence.copy()
        changed[near] += 1
        assert not torch.equal(tiny.extract(changed)[20:21].expression, motion.expression)


def test_the_source_sees_itself(tiny):
    row = coefficients(1)[0]
    for given in (row, row[None], torch.from_numpy(row)):
        source = tiny.encode(pictures(1)[0], coefficients=given)
        assert_motions_close(source.motion, tiny.extract(row[None]))
    rows = coefficients(2)
    two = tiny.encode(torch.rand(2, 3, 32, 32), coefficients=rows)
    for i in range(2):
        assert_motions_close(two.motion[i : i + 1], tiny.extract(rows[i : i + 1]))


def test_a_portrait_driven_by_its_own_coefficients_stays(tiny):
    source = encoded(tiny)
    own = coefficients(1)
    placed = places(tiny, source, tiny.extract(np.repeat(own, 30, axis=0)))
    torch.testing.assert_close(placed, source.keypoints.expand_as(placed))


def test_only_the_height_of_t_counts(tiny):
    source, motion = encoded(tiny), tiny.extract(coefficients(5, seed=1))
    for t in (source.motion.translation, motion.translation):
        assert torch.equal(t[:, [0, 2]], torch.zeros(len(t), 2))
        assert (t[:, 1] != 0).all()


def places(reenactor: Reenactor, source, motion, view=None) -> torch.Tensor:
    """x_d as M is asked about them."""
    reenactor, seen = uncaptured(reenactor), []
    handle = reenactor.networks.dense_motion.register_forward_pre_hook(lambda _, given: seen.append(given[2]))
    reenactor.render(source, motion, view=view)
    handle.remove()
    return seen[0]


def release_rotation(pitch, yaw, roll) -> torch.Tensor:
    """Rx(pitch) Ry(yaw) Rz(roll) as the release has them: π is 3.14."""
    (a, b, c), (d, e, f) = (
        [turn(angle / 180 * 3.14) for angle in (pitch, yaw, roll)] for turn in (math.cos, math.sin)
    )
    x = torch.tensor([[1, 0, 0], [0, a, -d], [0, d, a]])
    y = torch.tensor([[b, 0, e], [0, 1, 0], [-e, 0, b]])
    z = torch.tensor([[c, -f, 0], [f, c, 0], [0, 0, 1]])
    return x @ y @ z


def test_a_pose_override_is_the_drivers_alone(tiny):
    """Every angle walked; then one, while the others stay as read."""
    source, motion = encoded(tiny), tiny.extract(coefficients(5, seed=1))
    views = pose_views(5, pitch=[-20, 20], yaw=[30], roll=[0, 10, 5])
    angles = [(-20, 30, 0), (-10, 30, 3.75), (0, 30, 7.5), (10, 30, 10), (10, 30, 6.25)]
    rotation = torch.stack([release_rotation(*degrees) for degrees in angles])
    expected = keypoints_of(source.canonical, replace(motion, rotation=rotation))
    torch.testing.assert_close(places(tiny, source, motion, views), expected, rtol=1e-5, atol=1e-5)

    pitch, _, roll = euler_degrees(motion.rotation, "xyz", pi=3.14)
    turned = torch.stack(
        [release_rotation(pitch[i].item(), yaw, roll[i].item()) for i, yaw in enumerate((0, 30, 60, 90, 90))]
    )
    expected = keypoints_of(source.canonical, replace(motion, rotation=turned))
    placed = places(tiny, source, motion, pose_views(5, yaw=[0, 120]))
    torch.testing.assert_close(placed, expected, rtol=1e-5, atol=1e-5)
    assert_motions_close(source.motion, tiny.extract(coefficients(1)))


def test_weak_masks_are_left_out():
    """m < 0.001 counts as 0 and the others are not made larger for it."""
    tiny = lively(Reenactor(TINY_SADTALKER, weights="random", optimize=False))
    model, seen = tiny.model, {}
    model.dense_motion.mask.weight.mul_(20)  # masks that are nearly sure of themselves
    hooks = [
        model.dense_motion.register_forward_hook(
            lambda _, given, field: seen.update(given=given, field=field)
        ),
        model.generator.project.register_forward_pre_hook(lambda _, given: seen.update(warped=given[0])),
    ]
    source, motion = encoded(tiny), tiny.extract(coefficients(2, seed=1))
    tiny.render(source, motion)
    for hook in hooks:
        hook.remove()
    _, kp_source, kp_driving, affine = seen["given"]
    assert affine is None
    mask = seen["field"].mask_logits.softmax(dim=1)
    weak = mask < 1e-3
    assert 0.01 < weak.float().mean() < 0.9, "the test would see no threshold"
    flows = keypoint_flow(kp_source, kp_driving, size=mask.shape[2:])
    warped = {
        threshold: warp3d(source.features, (kept.unsqueeze(-1) * flows).sum(1), align_corners=False)
        for threshold, kept in ((True, mask.masked_fill(weak, 0)), (False, mask))
    }
    off = {kept: (seen["warped"] - warped[kept].flatten(1, 2)).abs().max() for kept in warped}
    assert off[True] < 1e-5
    assert off[False] > 100 * off[True]


def test_weights_that_read_the_crop(full):
    driven, own = coefficients(3), coefficients(1, seed=1, columns=73)[0]
    source = full.encode(pictures(1)[0], own)
    frames = list(full.animate(source, driving_coefficients(driven, own)))
    assert len(frames) == 3
    shifted = driving_coefficients(driven, np.append(own[:70], own[70:] + 1))
    assert not np.array_equal(frames, list(full.animate(source, shifted)))
    with pytest.raises(ValueError, match=r"\(T, 73\), got \(3, 70\): .*driving_coefficients"):
        full.animate(source, driven)


def test_what_does_not_drive_is_refused(tiny):
    source, portrait = encoded(tiny), pictures(1)[0]
    with pytest.raises(ValueError, match=r"'tiny-sadtalker' reads a portrait's 3DMM .*coefficients=row"):
        tiny.encode(portrait)
    with pytest.raises(ValueError, match="expected a row a portrait, 1; got 2"):
        tiny.encode(portrait, coefficients(2))
    with pytest.raises(ValueError, match=r"source coefficients: .*got \(1, 73\): .*first 70 columns"):
        tiny.encode(portrait, coefficients(1, columns=73))
    with pytest.raises(ValueError, match="'tiny-vox' reads pictures alone: expected no coefficients"):
        Reenactor(TINY_VOX, weights="random").encode(portrait, coefficients(1))
    for frames in (
        pictures(3),
        iter(pictures(3)),
        "driving.mp4",
        coefficients(3, columns=69),
        coefficients(0),
    ):
        for method in (lambda given: tiny.animate(source, given), tiny.extract):
            with pytest.raises(ValueError, match=r"driving coefficients: expected coefficients.* \(T, 70\)"):
                method(frames)


def test_views_of_other_kinds_serve_too(tiny):
    source, sequence = encoded(tiny), coefficients(3, seed=1)
    walked = list(tiny.animate(source, sequence, view=pose_views(3, yaw=30)))
    held = list(tiny.animate(source, sequence, view=View(yaw=30, mode="replace")))
    assert np.array_equal(walked, held)
