# SPDX-License-Identifier: Apache-2.0
"""LivePortrait's own ways: its transfer rule, a picture that drives, stitching and retargeting."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from liveportrait_cases import GEOMETRY, LIVEPORTRAIT, K, make_motion, make_source
from tiny import TINY_LIVEPORTRAIT, TINY_VOX, lively, pictures

from fv2v import Motion, Reenactor, Stream, View
from fv2v.config import GeometryConfig
from fv2v.geometry import (
    check_motion,
    keypoints_of,
    place,
    resting,
    rotation_from_euler,
    used_translation,
)
from fv2v.geometry.liveportrait import LIPS_AT_REST
from fv2v.io.tensors import to_uint8
from fv2v.networks import Retargeting
from fv2v.presets import FACE_VID2VID_256


def release_rows(motion: Motion) -> tuple[torch.Tensor, ...]:
    """R for rows, t, δ and s, as LivePortrait stores them."""
    return motion.rotation.mT, motion.translation, motion.expression, motion.scale[..., None]


def test_transfer_by_hand():
    """In the release's rows: x = s (x_c R + δ) + t."""
    source, driving, anchor = make_source(), make_motion(1), make_motion(2)
    (R_s, t_s, e_s, s_s), (R_d, t_d, e_d, s_d), (R_0, t_0, e_0, s_0) = map(
        release_rows, (source.motion, driving, anchor)
    )
    kp_driving, affine = place(source, driving, anchor, geometry=GEOMETRY)
    assert affine is None
    R_new, e_new = (R_d @ R_0.mT) @ R_s, e_s + e_d - e_0
    expected = s_s * s_d / s_0 * (source.canonical @ R_new + e_new) + (t_s + t_d - t_0)[:, None]
    torch.testing.assert_close(kp_driving, expected)
    e_new = e_s.clone()
    for k in (1, 2, 6, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20):
        e_new[:, k] = e_d[:, k]
    e_new[:, 3:5, 1], e_new[:, 5, 2], e_new[:, 8, 2] = e_d[:, 3:5, 1], e_d[:, 5, 2], e_d[:, 8, 2]
    e_new[:, 9, 1:] = e_d[:, 9, 1:]
    kp_driving, _ = place(source, driving, geometry=GEOMETRY)
    torch.testing.assert_close(kp_driving, s_s * (source.canonical @ R_d + e_new) + t_d[:, None])
    turned, _ = place(source, driving, anchor, View(yaw=20), geometry=GEOMETRY)
    zero = torch.zeros(1)
    R_u = rotation_from_euler(zero, zero + 20, zero)
    expected = s_s * s_d / s_0 * (source.canonical @ R_new @ R_u.mT + e_s + e_d - e_0)
    torch.testing.assert_close(turned, expected + (t_s + t_d - t_0)[:, None])


def test_frames_of_a_batch_do_not_meet():
    source, frames, anchor = make_source(), make_motion(1, frames=3), make_motion(2)
    views = [View(yaw=20), View(), View(pitch=5, translation=(0.1, 0.0, 0.3), mode="replace")]
    for against in (anchor, None):
        together = place(source, frames, against, views, geometry=GEOMETRY)
        for i, view in enumerate(views):
            alone = place(source, frames[i : i + 1], against, view, geometry=GEOMETRY)
            torch.testing.assert_close(together.kp_driving[i : i + 1], alone.kp_driving)


def test_a_driving_picture_moves_only_the_expression():
    source, picture = make_source(), make_motion(1)
    anchor = resting(picture, GEOMETRY)
    kp_driving, _ = place(source, picture, anchor, geometry=GEOMETRY)
    own = source.motion
    lips = torch.tensor(LIPS_AT_REST)
    posed = replace(own, expression=own.expression + picture.expression - lips)
    torch.testing.assert_close(kp_driving, keypoints_of(source.canonical, posed))
    assert resting(picture, FACE_VID2VID_256.geometry) is None


def test_what_a_preset_leaves_out_of_t_is_zero():
    t = torch.tensor([[1.0, 2.0, 3.0]])
    for axes, kept in (("xyz", [1.0, 2.0, 3.0]), ("xy", [1.0, 2.0, 0.0]), ("y", [0.0, 2.0, 0.0])):
        assert used_translation(t, GeometryConfig(translation=axes)).tolist() == [kept]


def test_a_scale_must_be_positive():
    motion = make_motion(1)
    check_motion(motion, K, scales=1)
    with pytest.raises(ValueError, match=r"expected positive scales, got \[-"):
        check_motion(replace(motion, scale=-motion.scale), K, scales=1)
    with pytest.raises(ValueError, match=r"expected scale 1 .* got \[1\."):
        check_motion(motion, K)


# The three small networks


def test_retargeting_networks_read_their_inputs_in_order():
    """Each is its layers on the concatenation of keypoints and ratios; what it says is added to keypoints."""
    torch.manual_seed(0)
    networks = Retargeting(K, LIVEPORTRAIT.retargeting)
    points, moved = torch.randn(2, 2, K, 3)
    assert [layer.in_features for layer in networks.eyes if hasattr(layer, "in_features")] == [
        66, 256, 256, 128, 128, 64
    ]  # fmt: skip
    said = networks.stitching(torch.cat([points.flatten(1), moved.flatten(1)], dim=1))
    expected = moved + said[:, :63].view(2, K, 3)
    expected[..., :2] += said[:, None, 63:]
    torch.testing.assert_close(networks.stitch(points, moved), expected)
    ratios = torch.rand(2, 3)
    expected = networks.lips(torch.cat([points.flatten(1), ratios[:, :2]], dim=1)).view(2, K, 3)
    torch.testing.assert_close(networks.lip_delta(points, ratios[:, :2]), expected)
    expected = networks.eyes(torch.cat([points.flatten(1), ratios], dim=1)).view(2, K, 3)
    torch.testing.assert_close(networks.eye_delta(points, ratios), expected)


def test_keypoints_stay_float32_beside_half_networks():
    networks = Retargeting(K, LIVEPORTRAIT.retargeting).bfloat16()
    points = torch.randn(1, K, 3)
    assert networks.stitch(points, points).dtype == torch.float32


# Through the Reenactor


@pytest.fixture(scope="module")
def reenactor() -> Reenactor:
    return lively(Reenactor(TINY_LIVEPORTRAIT, weights="random"))


def test_stitching_is_on_and_can_be_left_out(reenactor):
    source, motion = reenactor.encode(pictures(1)[0]), reenactor.extract(pictures(2, seed=1))
    stitched, plain = (reenactor.render(source, motion, stitch=wish) for wish in (True, False))
    torch.testing.assert_close(stitched, reenactor.render(source, motion))
    assert not torch.equal(stitched, plain)
    with torch.inference_mode():
        placed = place(source, motion, geometry=reenactor.config.geometry)
        expected = reenactor.networks.render(source, reenactor.networks.stitch(source, placed))
    torch.testing.assert_close(stitched, expected)


def test_a_picture_drives(reenactor):
    source, picture = reenactor.encode(pictures(1)[0]), pictures(1, seed=1)[0]
    motion = reenactor.extract(picture)
    expected = reenactor.render(source, motion, resting(motion, reenactor.config.geometry))
    assert_truncated(reenactor.imitate(source, picture), expected)
    absolute = reenactor.imitate(source, picture, relative=False)
    assert_truncated(absolute, reenactor.render(source, motion))


def assert_truncated(shown: np.ndarray, images: torch.Tensor) -> None:
    """To its level exactly, where that does not hang on the last bits."""
    exact = 255 * images[0].permute(1, 2, 0).numpy().astype(np.float64)
    sure = np.abs(exact - np.rint(exact)) > 1e-3
    assert sure.mean() > 0.9
    assert (shown[sure] == np.floor(exact[sure])).all()
    assert np.abs(shown - exact).max() < 1.01


def test_all_that_is_shown_is_truncated(reenactor):
    """As the release does it: half of all levels are one lower than rounded ones."""
    source, frames = reenactor.encode(pictures(1)[0]), pictures(2, seed=1)
    motion = reenactor.extract(frames)
    images = reenactor.render(source, motion, motion[:1])
    made = list(reenactor.animate(source, frames))
    for shown, image in zip(made, images.split(1), strict=True):
        assert_truncated(shown, image)
    assert 0.3 < (made[1] != to_uint8(images[1:])[0].numpy()).mean() < 0.7
    ahead = replace(source.motion, rotation=torch.eye(3)[None])
    assert_truncated(reenactor.frontalize(source), reenactor.render(source, ahead))
    with Stream(reenactor, source, steady=None, anchor=motion[:1]) as stream:
        stream.push(frames[1])
        assert_truncated(stream.get().image, images[1:])


def test_others_round():
    reenactor = lively(Reenactor(TINY_VOX, weights="random"))
    source, frame = reenactor.encode(pictures(1)[0]), pictures(1, seed=1)[0]
    image = reenactor.render(source, reenactor.extract(frame))
    assert np.abs(reenactor.imitate(source, frame) - 255.0 * image[0].permute(1, 2, 0).numpy()).max() < 0.51
    levels = torch.tensor([0.0, 0.49, 0.51, 254.49, 254.51, 255.0]).expand(1, 3, 1, 6) / 255
    assert to_uint8(levels)[0, 0, :, 0].tolist() == [0, 0, 1, 254, 255, 255]
    assert to_uint8(levels, truncate=True)[0, 0, :, 0].tolist() == [0, 0, 0, 254, 254, 255]
