# SPDX-License-Identifier: Apache-2.0
"""The same trainer for models that read keypoints in each picture, and for flat ones."""

from dataclasses import replace

import pytest
import torch
from runs import LOSSES, PIXELS, clips, config, pairs, trained, truth
from tiny import TINY, TINY_2D, TINY_DIRECT, TINY_FOMM

from fv2v import checkpoints
from fv2v.geometry import keypoints_of
from fv2v.networks import FaceVid2Vid
from fv2v.training.build import loss_networks, starting_model
from fv2v.training.initialization import begin_with_prior
from fv2v.training.objective import LossNetworks, Objective
from fv2v.training.randomness import StepRandomness

FEWER = replace(TINY, name="tiny-k3", keypoints=3)
ALL = pytest.mark.parametrize("model", [TINY_FOMM, TINY_DIRECT, TINY_2D, FEWER], ids=lambda each: each.name)


@ALL
def test_a_run_ends_in_weights_that_load(model, tmp_path):
    clips(tmp_path / "clips")
    trainer = trained(tmp_path, model=model)
    found = checkpoints.load(tmp_path / "run" / "model.safetensors", model)
    fresh = checkpoints.random(model).state_dict()
    assert trainer.config.model == found.config == model
    assert all(each.isfinite().all() for each in found.parameters())
    assert any(not torch.equal(tensor, fresh[name]) for name, tensor in found.state_dict().items())


@ALL
def test_every_weight_is_reached(model, tmp_path):
    run = config(tmp_path, model=model)
    networks = starting_model(run)
    objective = Objective(
        networks, LOSSES, loss_networks(run, knows_truth=False, device=torch.device("cpu")), 32
    )
    randomness = StepRandomness.of_step(0, 0, 2, 0.0, torch.device("cpu"), torch.float32)
    terms = objective(pairs(2).scaled(torch.device("cpu"), torch.float32), randomness).terms
    present = dict(terms.present())
    assert {"reconstruction", "equivariance", "equivariance_jacobians", "keypoint_prior"} <= present.keys()
    assert ("deformation_prior" in present) == (not model.direct), "there is no δ that could be small"
    terms.total(LOSSES).backward()
    without = [
        name
        for name, weight in networks.named_parameters()
        if weight.requires_grad and (weight.grad is None or not weight.grad.any())
    ]
    assert not without


@pytest.mark.parametrize("model", [TINY_DIRECT, TINY_2D, TINY_FOMM], ids=lambda each: each.name)
def test_the_prior_shows_the_source_at_once(model):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = FaceVid2Vid(model)
    begin_with_prior(networks)
    batch = pairs(4, seed=3).source.float() / 255
    with torch.no_grad():
        source = networks.encode(batch)
        image = networks.render(source, networks.place(source, source.motion))
    both = torch.stack([image.flatten(), batch.flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.5


@pytest.mark.parametrize("model", [TINY_DIRECT, TINY_FOMM], ids=lambda each: each.name)
def test_a_teacher_has_keypoints_in_pictures(model, tmp_path):
    """A forced pair is rendered with the renderer's keypoints, and the Jacobians that L reads."""
    run = config(tmp_path, model=model, losses=PIXELS)
    networks = starting_model(run).eval()
    known = truth(2)
    batch = replace(pairs(2).scaled(torch.device("cpu"), torch.float32), truth=known)
    warp = StepRandomness.of_step(0, 0, 2, 0.0, torch.device("cpu"), torch.float32).warp
    objective = Objective(networks, PIXELS, LossNetworks(), 32)
    with torch.no_grad():
        plain, forced = (
            objective(batch, StepRandomness(warp, chosen)).output
            for chosen in (None, torch.tensor([True, False]))
        )
        there = known.on_lattice(16)
        source, motion = networks.encode(batch.source), networks.extract(batch.driving)
        x_s, x_d = (keypoints_of(there.canonical, each) for each in (there.source, there.driving))
        true = replace(source, keypoints=x_s, motion=replace(source.motion, expression=x_s))
        placement = networks.place(true, replace(motion, expression=x_d), stitch=False)
        torch.testing.assert_close(placement.kp_driving, x_d)
        expected = networks.render(true, placement)
    torch.testing.assert_close(forced[0], expected[0])
    torch.testing.assert_close(forced[1], plain[1])
    assert not torch.allclose(forced[0], plain[0], atol=1e-4)


def test_true_motion_takes_a_pose(tmp_path):
    losses = replace(LOSSES, true_rotation=1.0)
    with pytest.raises(
        ValueError, match=r"no pose of the head: it cannot show what true .* \(true_rotation\)"
    ):
        starting_model(config(tmp_path, model=TINY_DIRECT, losses=losses))
