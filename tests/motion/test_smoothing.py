# SPDX-License-Identifier: Apache-2.0
"""The filter on motion: tremor halved, turns hardly late, rotations that stay rotations."""

import math
from dataclasses import replace

import clips
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from steady import delay, jitter, keypoints, least_and_most, still, turning
from tiny import TINY_LIVEPORTRAIT, TINY_SADTALKER, TINY_VOX, driving, encoded, lively, pictures

from fv2v.geometry import Motion
from fv2v.geometry.rotation import rotation_from_vector, rotation_vector
from fv2v.io.tensors import to_uint8
from fv2v.motion.npz import read_motion
from fv2v.motion.smoothing import Cutoff, Steadiness, SteadyMotion
from fv2v.reenactor import Reenactor

FPS = (25.0, 30.0, 60.0)


@pytest.mark.parametrize("fps", FPS)
@pytest.mark.parametrize("loud", [1.0, 3.0, 10.0])
def test_a_still_face_trembles_half_as_much_at_most(fps, loud, capsys):
    motion = still(300, loud)
    steady = SteadyMotion(fps=fps).run(motion)
    before, after = jitter(keypoints(motion)), jitter(keypoints(steady))
    with capsys.disabled():
        print(f"\njitter of a still face, {fps:.0f} fps: {before:.5f} -> {after:.5f} ({after / before:.2f})")
    assert after < before / 2
    for name in ("translation", "expression", "scale"):
        assert jitter(getattr(steady, name)) < jitter(getattr(motion, name)) / 2
    assert jitter(rotation_vector(steady.rotation)) < jitter(rotation_vector(motion.rotation)) / 2
    assert (keypoints(steady) - keypoints(motion)).mean().abs() < 0.1 * before  # nor does it move


@pytest.mark.parametrize("fps", FPS)
@pytest.mark.parametrize(("degrees", "seconds"), [(30, 0.3), (60, 0.5), (90, 0.3)])
def test_a_fast_turn_comes_two_frames_late_at_most(fps, degrees, seconds, capsys):
    motion = turning(degrees, seconds, fps)
    late = delay(keypoints(motion), keypoints(SteadyMotion(fps=fps).run(motion)))
    with capsys.disabled():
        print(f"\ndelay of {degrees} degrees in {seconds} s, {fps:.0f} fps: {late:.2f} frames")
    assert late <= 2


@pytest.mark.parametrize("name", ["talking.pkl", "shake_face.pkl", "d5.pkl"])
def test_real_faces_tremble_half_as_much_and_turn_in_time(name, capsys):
    """A real face is never quite still: what its steps change by is what trembles."""
    sequence = read_motion(clips.real(name))
    fps = float(sequence.timing.rate)
    before, after = keypoints(sequence.motion), keypoints(SteadyMotion(fps=fps).run(sequence.motion))
    stillest, fastest = least_and_most(before, round(fps))
    trembled, trembles = (jitter(values[stillest].diff(dim=0)) for values in (before, after))
    late = delay(before[fastest], after[fastest])
    with capsys.disabled():
        print(f"\n{name}: jitter {trembled:.5f} -> {trembles:.5f}; {late:.2f} frames late")
    assert trembles < trembled / 2
    assert late <= 2


def test_rotations_stay_rotations_and_what_stands_still_stays():
    motion = turning(170, 0.4, 25.0)
    steady = SteadyMotion().run(motion).rotation
    straight = torch.eye(3, dtype=steady.dtype).expand_as(steady)
    torch.testing.assert_close(steady @ steady.mT, straight)
    torch.testing.assert_close(torch.linalg.det(steady), torch.ones_like(steady[:, 0, 0]))
    first = motion[:1]
    again = SteadyMotion().run(Motion.cat([first] * 5))
    for name in ("rotation", "translation", "expression", "scale"):
        value = getattr(again, name)
        torch.testing.assert_close(value, getattr(first, name).expand_as(value))


def test_a_turn_about_any_axis_is_followed_alike():
    """Matrix entries, or angles, would be followed differently from one axis to the next."""
    motion = turning(80, 0.5, 25.0)
    generator = torch.Generator().manual_seed(0)
    frame = rotation_from_vector(torch.randn(3, generator=generator, dtype=torch.float64))
    steady = SteadyMotion().run(motion).rotation
    turned = SteadyMotion().run(replace(motion, rotation=frame @ motion.rotation @ frame.mT)).rotation
    torch.testing.assert_close(turned, frame @ steady @ frame.mT)


def test_more_time_between_frames_follows_more():
    steps = {}
    for seconds in (0.01, 0.04, 0.5):
        steady = SteadyMotion(fps=25)
        steady.step(still(1))
        moved = replace(still(1), translation=torch.full((1, 3), 0.1, dtype=torch.float64))
        steps[seconds] = steady.step(moved, seconds).translation.mean().item()
    assert 0 < steps[0.01] < steps[0.04] < steps[0.5] < 0.1
    same = []
    for seconds in (None, 0.0, -3.0, 0.04):
        steady = SteadyMotion(fps=25)
        steady.step(still(1))
        same.append(steady.step(still(1, seed=1), seconds).translation)
    assert all(torch.equal(same[0], each) for each in same)


def test_drivers_side_by_side_are_filtered_apart():
    motions = [turning(60, 0.5, 25.0, seed=seed) for seed in range(2)]
    both = SteadyMotion()
    steps = [both.step(Motion.cat([m[i : i + 1] for m in motions])) for i in range(len(motions[0]))]
    for driver, motion in enumerate(motions):
        alone = SteadyMotion().run(motion)
        for name in ("rotation", "translation", "expression", "scale"):
            torch.testing.assert_close(
                torch.stack([getattr(s, name)[driver] for s in steps]), getattr(alone, name)
            )


def test_a_frame_of_nan_is_forgotten_at_the_next():
    motion = still(6)
    for name in ("rotation", "translation", "expression", "scale"):
        getattr(motion, name)[2] = math.nan
    steady = SteadyMotion().run(motion)
    for name in ("rotation", "translation", "expression", "scale"):
        values = getattr(steady, name)
        assert values[2].isnan().all()
        assert values[[0, 1, 3, 4, 5]].isfinite().all()
        torch.testing.assert_close(values[3], getattr(motion, name)[3])


def test_half_a_turn_at_once_is_another_face():
    about = rotation_from_vector(torch.tensor([[0.0, 0, 0], [0, math.pi, 0], [0, math.pi, 0]]).double())
    motion = replace(still(3, 0), rotation=about)
    torch.testing.assert_close(SteadyMotion().run(motion).rotation, about)


def test_another_driver_needs_another_filter():
    steady = SteadyMotion()
    steady.step(still(1))
    with pytest.raises(
        ValueError, match=r"rotation of the same drivers as before, \(1, 3, 3\); got \(2, 3, 3\)"
    ):
        steady.step(still(2))
    with pytest.raises(ValueError, match="fps above 0, got 0"):
        SteadyMotion(fps=0)
    for least, rise in ((0.0, 1.0), (1.0, -1.0), (math.inf, 0.0), (math.nan, 0.0)):
        with pytest.raises(ValueError, match="finite cutoff above 0 Hz"):
            Cutoff(least, rise)


@settings(deadline=None, max_examples=50)
@given(st.tuples(*[st.floats(-1.8, 1.8)] * 3))
def test_rotation_vectors_there_and_back(vector):
    given_vector = torch.tensor([vector], dtype=torch.float64)
    rotation = rotation_from_vector(given_vector)
    np.testing.assert_allclose(rotation.numpy(), Rotation.from_rotvec([vector]).as_matrix(), atol=1e-12)
    angle = given_vector.norm()
    if angle < 3.1:
        np.testing.assert_allclose(rotation_vector(rotation).numpy(), [vector], atol=1e-9)


@pytest.mark.parametrize("config", [TINY_LIVEPORTRAIT, TINY_SADTALKER], ids=lambda config: config.name)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_animate_renders_the_motion_made_steady(config, batch_size):
    reenactor = lively(Reenactor(config, weights="random"))
    source, frames = encoded(reenactor), driving(config, 5, seed=1)
    images = list(reenactor.animate(source, frames, steady=SteadyMotion(fps=30), batch_size=batch_size))
    motion = SteadyMotion(fps=30).run(reenactor.extract(frames))
    anchor = motion[:1] if config.geometry.relative else None
    expected = to_uint8(reenactor.render(source, motion, anchor)).cpu().numpy()
    assert np.abs(np.stack(images).astype(int) - expected).max() <= 1
    plain = list(reenactor.animate(source, frames))
    assert np.abs(np.stack(images).astype(int) - plain).max() > 1


def test_no_steadiness_to_speak_of_changes_nothing():
    loose = Cutoff(1e9, 0.0)
    steady = SteadyMotion(Steadiness(loose, loose, loose, loose))
    reenactor = lively(Reenactor(TINY_VOX, weights="random"))
    frames = pictures(3, seed=1)
    images = list(reenactor.animate(encoded(reenactor), frames, steady=steady))
    expected = list(reenactor.animate(encoded(reenactor), frames))
    assert np.abs(np.stack(images).astype(int) - expected).max() <= 1
