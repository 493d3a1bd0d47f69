# SPDX-License-Identifier: Apache-2.0
"""PerformRecast's own ways: the expression alone goes over and turns with the head; F sees more pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY_PERFORMRECAST, lively, pictures

from fv2v import Motion, MotionSequence, Reenactor, Timing, View, read_motion, write_motion
from fv2v.codec import gfv
from fv2v.codec.quantize import Quantizer
from fv2v.geometry import Source, euler_degrees, keypoints_of, place, rotation_from_euler
from fv2v.io.resize import axis_weights, resized
from fv2v.motion.sequence import check_fits
from fv2v.pipelines.anchor import nearest
from fv2v.presets import PERFORMRECAST, preset

GEOMETRY, K = PERFORMRECAST.geometry, PERFORMRECAST.keypoints


def make_motion(seed: int, frames: int = 1) -> Motion:
    generator = torch.Generator().manual_seed(seed)
    pitch, yaw, roll = 80 * torch.rand(3, frames, generator=generator) - 40
    translation = 0.2 * torch.randn(frames, 3, generator=generator)
    translation[:, 2] = 0
    return Motion(
        rotation=rotation_from_euler(pitch, yaw, roll),
        translation=translation,
        expression=0.1 * torch.randn(frames, K, 3, generator=generator),
        scale=0.8 + 0.4 * torch.rand(frames, 3, generator=generator),
    )


def make_source(frames: int = 1) -> Source:
    canonical = torch.rand(frames, K, 3, generator=torch.Generator().manual_seed(9)) - 0.5
    motion, nothing = make_motion(8, frames), torch.empty(frames, 1, 1, 1, 1)
    return Source(nothing, nothing, canonical, None, motion, keypoints_of(canonical, motion, GEOMETRY))


def posed(canonical: np.ndarray, own: Motion, expression: np.ndarray) -> np.ndarray:
    """s ⊙ (R (x_c + δ)) + t, point by point, of one frame."""
    R, t, s = (each[0].double().numpy() for each in (own.rotation, own.translation, own.scale))
    return np.stack([s * (R @ point) + t for point in canonical + expression])


@pytest.mark.parametrize("relative", [True, False], ids=["enhancement", "replacement"])
def test_transfer_by_hand(relative):
    source, driving, reference = make_source(), make_motion(1), make_motion(2)
    own, given, rest = (each.expression[0].double().numpy() for each in (source.motion, driving, reference))
    if relative:
        expected = own + given - rest
    else:
        expected = given.copy()
        for k in (31, 32, 33, 36, 37, 38, 44, 45, 46):
            expected[k, 2] = own[k, 2]
        for k in (44, 45, 46):
            expected[k, 0], expected[k, 1] = own[k, 0], 0.2 * own[k, 1] + 0.8 * given[k, 1]
        for k in (31, 32, 33, 36, 37, 38):
            expected[k, :2] = 0.3 * own[k, :2] + 0.7 * given[k, :2]
    found = place(source, driving, reference if relative else None, geometry=GEOMETRY)
    assert found.affine is None
    by_hand = posed(source.canonical[0].double().numpy(), source.motion, expected)
    assert np.abs(found.kp_driving[0].double().numpy() - by_hand).max() < 1e-6
    turned = replace(make_motion(3), expression=driving.expression)  # another pose: nothing of it counts
    same = place(source, turned, reference if relative else None, geometry=GEOMETRY)
    assert torch.equal(same.kp_driving, found.kp_driving)


def test_a_source_or_a_batch_of_them():
    """One for all frames, or each frame its own, as a film's are."""
    source, driving = make_source(), make_motion(1, 3)
    together = place(source, driving, geometry=GEOMETRY).kp_driving
    film = make_source(3)
    apart = place(film, driving, driving[:1], geometry=GEOMETRY).kp_driving
    for i in range(3):
        frame = driving[i : i + 1]
        assert torch.allclose(together[i : i + 1], place(source, frame, geometry=GEOMETRY).kp_driving)
        alone = place(film[i : i + 1], frame, driving[:1], geometry=GEOMETRY).kp_driving
        assert torch.allclose(apart[i : i + 1], alone)


def test_a_view_turns_the_head_and_its_expression():
    source, driving = make_source(), make_motion(1)
    found = place(source, driving, view=View(yaw=20), geometry=GEOMETRY).kp_driving
    turn = rotation_from_euler(*torch.tensor([[0.0], [20.0], [0.0]]), pi=GEOMETRY.pi)
    own = replace(source.motion, rotation=turn @ source.motion.rotation)
    expected = place(replace(source, motion=own), driving, geometry=GEOMETRY).kp_driving
    assert torch.allclose(found, expected, atol=1e-6)


def test_f_sees_the_portrait_twice_as_large_as_h():
    reenactor = lively(Reenactor(TINY_PERFORMRECAST, weights="random"))
    portrait = pictures(1, size=64)[0]
    image = torch.from_numpy(portrait).permute(2, 0, 1)[None].float()
    # OpenCV's mean over 2×2 pixels, as levels
    weights = axis_weights("area", (64, 64), 32, torch.device("cpu"))
    small = (resized(image, 32, weights) + 0.5).floor() / 255
    found, expected = reenactor.encode(portrait), reenactor.networks.encode(image / 255, small)
    torch.testing.assert_close(found.features, expected.features)
    torch.testing.assert_close(found.canonical, expected.canonical)
    reduced = reenactor.networks.look(image / 255)[0]
    torch.testing.assert_close(reduced.scale, found.motion.scale, atol=1e-3, rtol=0)
    assert found.motion.scale.shape == (1, 3)
    assert (reenactor.encode(small[0]).features - found.features).abs().max() > 1e-3


def test_a_film_keeps_its_own_pose():
    reenactor = lively(Reenactor(TINY_PERFORMRECAST, weights="random"))
    sources = [reenactor.encode(picture) for picture in pictures(3)]
    drivers = [reenactor.extract(picture) for picture in pictures(3, seed=1)]
    for relative in (True, False):
        made = list(reenactor.animate_film(zip(sources, drivers, strict=True), relative=relative))
        for source, driver, found in zip(sources, drivers, made, strict=True):
            expression = driver.expression
            moved = replace(source.motion, expression=expression)  # its pose with the driver's face
            anchor = drivers[0] if relative else None
            alone = next(reenactor.animate(source, [moved], relative=relative, anchor=anchor))
            assert np.array_equal(found, alone)


def test_three_scales_in_files_and_packets(tmp_path):
    motion = make_motion(4)
    sequence = MotionSequence(motion, Timing.even(1, 25), "performrecast")
    write_motion(tmp_path / "motion.npz", sequence)
    back = read_motion(tmp_path / "motion.npz")
    assert torch.equal(back.motion.scale, motion.scale)
    check_fits(back, PERFORMRECAST)
    with pytest.raises(ValueError, match="cannot move 'liveportrait'"):
        check_fits(back, preset("liveportrait"))
    quantizer = Quantizer(PERFORMRECAST, 1 / 1024)
    found = quantizer.motion(np.rint(quantizer.measure(motion)).astype(np.int64))
    for name, most in (("scale", 1), ("expression", 0.5), ("translation", 0.5)):
        assert (getattr(found, name) - getattr(motion, name)).abs().max() <= most / 1024 + 1e-6
    angles = (torch.stack(euler_degrees(each.rotation)) for each in (found, motion))
    assert (next(angles) - next(angles)).abs().max() < 75 / 1024
    heard = gfv.motion_of(gfv.gfv_of(motion, 0))
    torch.testing.assert_close(heard.scale, motion.scale, atol=1e-3, rtol=0)


def test_the_nearest_frame_counts_the_turned_expression():
    source = make_source()
    frames = Motion.cat([make_motion(5), source.motion, make_motion(6)])
    assert nearest(frames, source, GEOMETRY) == 1
