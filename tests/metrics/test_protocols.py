# SPDX-License-Identifier: Apache-2.0
"""Protocols and scores: against a model that makes no mistakes, and in closed form."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from perfect import TINY_HEADS, Perfect
from tiny import TINY, TINY_SADTALKER, lively
from torch.nn.functional import avg_pool2d, max_pool2d

from fv2v.data.synthetic import REGIONS, SyntheticHeads
from fv2v.geometry import Motion, Source, keypoints_of, rotation_from_euler
from fv2v.metrics.evaluation import Evaluation, evaluate
from fv2v.metrics.held_out import HELD_OUT, HeldOut
from fv2v.metrics.pictures import gradient_energy
from fv2v.metrics.protocols import YAWS, Outputs, ProtocolRunner, Reading, Scene
from fv2v.metrics.scores import (
    Likeness,
    MetricNetworks,
    MotionErrors,
    Protocols,
    Scores,
    yaw_check,
    yaw_hits,
)
from fv2v.reenactor import Reenactor

HEADS = HeldOut(size=32, identities=2, frames=4, pairs=1, driven=2)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return list(HEADS)


@pytest.fixture(scope="module")
def perfect(scenes) -> Evaluation:
    return evaluate(Perfect(HEADS, scenes), scenes, examples=1)


def likenesses(protocols: Protocols) -> dict[str, Likeness]:
    found = {name: getattr(protocols, name) for name in asdict(protocols)}
    return {name: likeness for name, likeness in found.items() if isinstance(likeness, Likeness)}


def test_a_perfect_model_is_without_error(perfect):
    """Also across identities, relatively, where poses are composed of three."""
    results = perfect.results
    counts = {
        "same_identity": 6,
        "free_view": 4,
        "frontalization": 2,
        "cross_absolute": 2,
        "cross_relative": 2,
        "unmoved": 2,
    }
    for protocols in (results.model, results.true_keypoints):
        found = likenesses(protocols)
        assert {name: likeness.pictures for name, likeness in found.items()} == counts
        for name, likeness in found.items():
            # products of rotations round, so a ray at an edge may pass it on the other side
            assert likeness.l1 < 0.05, name
            assert likeness.l1_ratio < 0.01, name
            assert likeness.psnr > 60, name
            assert likeness.ms_ssim > 0.999, name
        assert protocols.yaw_check.hits == protocols.yaw_check.hits_without_0 == 1
        assert all(abs(share - 1) < 0.02 for share in asdict(protocols.sharpness).values())
    motion = results.motion
    assert max(motion.yaw, motion.pitch, motion.roll) < 1e-3
    assert max(motion.keypoints, motion.expression) < 1e-6
    assert 0 < results.seconds_per_frame < 60


def test_the_source_unchanged_is_measured_beside_it(perfect, scenes):
    still = perfect.results.unchanged
    differences = torch.cat([scene.frames[1:] - scene.frames[:1] for scene in scenes]).double().numpy()
    assert still.same_identity.l1 == pytest.approx(255 * np.abs(differences).mean(), rel=1e-4)
    squares = (differences**2).mean((1, 2, 3))
    assert still.same_identity.psnr == pytest.approx((-10 * np.log10(squares)).mean(), rel=1e-4)
    for likeness in likenesses(still).values():
        assert (likeness.l1_ratio, likeness.psnr_gain) == (1, 0)
        assert likeness.psnr < 40, "the test would see no motion"
    assert still.yaw_check.hits == pytest.approx(1 / 7)
    assert still.yaw_check.hits_without_0 == 0
    model = perfect.results.model.free_view
    assert model.psnr_gain == pytest.approx(model.psnr - still.free_view.psnr)


def test_views_that_are_10_degrees_off(scenes):
    results = evaluate(Perfect(HEADS, scenes, yaw_error=10), scenes[:1]).results
    assert results.model.yaw_check.hits == 0
    assert results.model.free_view.psnr < 40
    assert results.model.same_identity.l1 < 0.05
    assert results.motion.yaw < 1e-3, "what is read is right"


def test_yaw_check_by_hand(scenes):
    true = scenes[0].true.views
    assert true.shape == (9, 3, 32, 32)
    assert yaw_hits(true[1:-1], true).tolist() == [True] * 7
    assert not yaw_hits(true[:-2], true).any()
    assert not yaw_hits(true[2:], true).any()
    still = yaw_hits(scenes[0].frames[:1].expand(7, -1, -1, -1), true)
    assert still.tolist() == [yaw == 0 for yaw in YAWS]
    check = yaw_check(torch.stack([still, torch.ones(7, dtype=torch.bool)]))
    assert check.hits == pytest.approx(4 / 7)
    assert check.hits_without_0 == 0.5
    assert check.by_yaw == (0.5, 0.5, 0.5, 1, 0.5, 0.5, 0.5)


def test_sharpness_by_region(scenes):
    """Blur in one region alone is seen there, and in none that it does not touch."""
    scene = scenes[0]
    true, regions = scene.true.driven, scene.true.regions
    assert regions.shape == (3, 32, 32)
    edge_of_hair = max_pool2d((regions == REGIONS.index("hair")).float()[:, None], 3, 1, 1)
    driven = torch.where(edge_of_hair > 0, avg_pool2d(true, 5, 1, 2), true)
    scores = Scores(MetricNetworks())
    empty = torch.zeros(7, 3, 32, 32)
    scores.add(Outputs(driven, empty, empty[:1], None, None), replace(scene.true, cross=None), scene.frames)
    found = scores.sharpness()
    energies = gradient_energy(driven)[regions == REGIONS.index("hair")].sum()
    expected = energies / gradient_energy(true)[regions == REGIONS.index("hair")].sum()
    assert found.hair == pytest.approx(float(expected), rel=1e-4)
    assert found.hair < 0.5
    assert found.mouth == pytest.approx(1)
    assert found.hair < found.whole < 1


def test_gradient_energy_by_hand():
    image = torch.zeros(1, 3, 3, 3)
    image[0, 0, 1, 1] = 0.5
    assert gradient_energy(image)[0].tolist() == [[0, 0.25, 0], [0.25, 0.5, 0], [0, 0, 0]]


def motion(generator: torch.Generator, degrees: torch.Tensor) -> Motion:
    """degrees (B, 3): pitch, yaw, roll."""
    B = len(degrees)
    return Motion(
        rotation=rotation_from_euler(*degrees.unbind(1)),
        translation=0.1 * torch.randn(B, 3, generator=generator),
        expression=0.1 * torch.randn(B, 5, 3, generator=generator),
        scale=torch.ones(B, 1),
    )


def test_motion_errors_in_closed_form():
    generator = torch.Generator().manual_seed(0)
    degrees = 60 * torch.rand(4, 3, generator=generator) - 30
    known = motion(generator, degrees)
    off = torch.tensor([1.0, -2.0, 3.0])
    found = replace(
        known, rotation=rotation_from_euler(*(degrees + off).unbind(1)), expression=1.25 * known.expression
    )
    canonical = torch.rand(1, 5, 3, generator=generator) - 0.5

    def reading(motion: Motion) -> Reading:
        keypoints = keypoints_of(canonical, motion[:1])
        empty = torch.empty(1, 1, 1, 1, 1)
        return Reading(Source(empty, empty, canonical, None, motion[:1], keypoints), motion[1:], None)

    errors = MotionErrors(voxels=16)
    errors.add(reading(found), reading(known))
    mean = errors.mean()
    assert (mean.pitch, mean.yaw, mean.roll) == pytest.approx((1, 2, 3), abs=1e-3)
    assert mean.expression == pytest.approx(0.25)
    points = [keypoints_of(canonical, m).double().numpy()[..., :2] for m in (found, known)]
    expected = 15 / 16 * np.linalg.norm(points[0] - points[1], axis=-1).mean()
    assert mean.keypoints == pytest.approx(expected, rel=1e-5)


def test_held_out_heads_are_no_heads_of_training(scenes):
    again = HeldOut(size=32, identities=5, frames=4, pairs=1, driven=2)[1]
    assert torch.equal(again.frames, scenes[1].frames), "however many there are"
    other = HeldOut(size=32, identities=2, frames=4, seed=1, pairs=0)[1]
    assert not torch.equal(other.frames[0], scenes[1].frames[0])
    assert other.driver is None
    trained = SyntheticHeads(32, 4, seed=0).identity(2)
    assert not torch.equal(trained.skin, HEADS.recipe(1).identity.skin)
    assert HELD_OUT > 2**16, "seeds that people choose are smaller"
    scene = scenes[0]
    assert torch.equal(scene.true.views[4], scene.frames[0]), "at yaw 0 it is the source"
    own, anchor = (truth.source for truth in (scene.truth, scene.driver_truth))
    assert torch.equal(own.rotation, anchor.rotation)
    assert torch.equal(own.translation, anchor.translation)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_show_the_same(scenes, batch_size):
    """What a runner shows is what its reenactor renders."""
    reenactor = lively(Reenactor(TINY_HEADS, weights="random"))
    runner = ProtocolRunner(reenactor, batch_size)
    reading = runner.read(scenes[0])
    outputs = runner.run(reading)
    source = reenactor.encode(scenes[0].frames[:1])
    driver = reenactor.extract([scenes[0].driver])
    expected = reenactor.render(source, driver[1:], driver[:1])
    torch.testing.assert_close(outputs.relative, expected, rtol=0, atol=1e-5)
    assert not torch.equal(outputs.relative, outputs.absolute), "the test would see no anchor"
    assert len(reading.source.motion) + len(reading.driving) == len(scenes[0].frames)


def test_keypoints_of_another_kind_have_no_errors(scenes):
    """Five keypoints are not the renderer's 22 landmarks."""
    results = evaluate(Reenactor(TINY, weights="random"), scenes[:1]).results
    assert results.motion is None
    assert results.true_keypoints is None
    assert results.model.yaw_check is not None


def test_models_and_scenes_that_do_not_fit(scenes):
    with pytest.raises(ValueError, match="expected a model that is driven by pictures, got 'tiny-sadtalker'"):
        evaluate(Reenactor(TINY_SADTALKER, weights="random"), scenes)
    reenactor = Reenactor(TINY, weights="random")
    with pytest.raises(ValueError, match="expected scenes to evaluate, got none"):
        evaluate(reenactor, [])
    large = replace(scenes[0], frames=torch.zeros(2, 3, 64, 64))
    with pytest.raises(ValueError, match=r"expected frames \(T, 3, 32, 32\), as large as the model"):
        evaluate(reenactor, [large])
    diverged = Reenactor(TINY, weights="random", optimize=False)
    diverged.model.generator.decoder.final.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="tiny: the pictures hold NaN"):
        evaluate(diverged, scenes)
