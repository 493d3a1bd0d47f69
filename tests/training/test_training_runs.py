# SPDX-License-Identifier: Apache-2.0
"""Whole runs: what they leave in their folder, how they start from weights, and the command."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import CPU, LOSSES, clips, config, pairs, trained
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import TINY, TINY_DETAIL, TINY_PERFORMRECAST, TINY_SADTALKER

from fv2v import checkpoints
from fv2v.data.augment import AugmentConfig
from fv2v.data.synthetic import LANDMARKS, SyntheticHeads
from fv2v.io.image import read_image
from fv2v.losses import LossConfig, Vgg19Features
from fv2v.networks import FaceVid2Vid
from fv2v.reenactor import Reenactor
from fv2v.training import state as run_state
from fv2v.training.build import starting_model
from fv2v.training.config import OptimiserConfig, read_config
from fv2v.training.learner import NotFinite
from fv2v.training.tensorboard import sheet
from fv2v.training.toml import as_toml, plain
from fv2v.training.trainer import MODEL, Trainer
from fv2v.viz.sheet import CAPTION, GAP


@pytest.fixture
def folder(tmp_path):
    clips(tmp_path / "clips")
    return tmp_path


def toml(values: object, name: str = "") -> str:
    """A config as TOML, a value a line."""
    if isinstance(values, dict):
        return "".join(toml(each, f"{name}.{key}" if name else key) for key, each in values.items())
    return "" if values is None else f"{name} = {json.dumps(values)}\n"


def test_what_a_run_leaves(folder):
    run = folder / "run"
    trainer = trained(folder, log_every=1, sheet_every=3)
    assert trainer.step == trainer.steps == 4
    board = EventAccumulator(str(run), size_guidance={"images": 0})
    board.Reload()
    losses = {"gan", "feature_matching", "equivariance", "equivariance_jacobians", "keypoint_prior"}
    losses |= {"deformation_prior", "reconstruction", "loss", "discriminator"}
    logged = {f"loss/{name}" for name in losses | {"gradient", "discriminator_gradient"}} | {"rate"}
    assert set(board.Tags()["scalars"]) == logged
    lines = (run / "log.txt").read_text().splitlines()
    assert [line.split(" ", 1)[1].split(":")[0] for line in lines] == [
        "after step 0",
        *(f"step {step}" for step in range(1, 5)),
    ]
    [shown] = re.findall(r"loss/loss (\S+),", lines[3])
    assert float(shown) == pytest.approx(board.Scalars("loss/loss")[2].value, rel=1e-5)
    assert read_config(run / "config.toml") == trainer.config
    assert [event.step for event in board.Scalars("loss/loss")] == [1, 2, 3, 4]
    assert board.Scalars("rate")[0].value == pytest.approx(1e-3)
    pictures = board.Images("pairs")
    assert [event.step for event in pictures] == [3, 4]
    assert (pictures[0].width, pictures[0].height) == (6 * 192, 4 * (2 * (CAPTION + 192) + GAP) - GAP)
    reenactor = Reenactor(weights=run / MODEL)
    assert reenactor.config == TINY


def test_people_held_out_are_scored_on_the_way(folder):
    """As written out here: each drives itself, and the source unchanged is what counts as nothing."""
    run, people = folder / "run", clips(folder / "people", count=2, frames=3)
    trainer = trained(folder, held_out=people, scores_every=3)
    board = EventAccumulator(str(run))
    board.Reload()
    found = {name: board.Scalars(f"held_out/{name}") for name in ("l1", "psnr", "l1_ratio")}
    assert all([event.step for event in events] == [3, 4] for events in found.values())
    l1, still, psnr = [], [], []
    for each in ("clip0", "clip1"):
        levels = np.stack([read_image(people / each / f"{number}.png") for number in range(3)])
        source, *driving = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
        for frame in driving:
            with torch.no_grad():
                output = trainer.model(source[None], frame[None])[0]
            l1.append(float(255 * (output - frame).abs().mean()))
            still.append(float(255 * (source - frame).abs().mean()))
            psnr.append(-10 * np.log10(float((output - frame).square().mean())))
    wanted = {"l1": np.mean(l1), "psnr": np.mean(psnr), "l1_ratio": np.sum(l1) / np.sum(still)}
    for name, value in wanted.items():
        assert found[name][1].value == pytest.approx(value, rel=1e-4), name
    assert "step 4: held_out/l1 " in (run / "log.txt").read_text()
    with pytest.raises((ValueError, FileNotFoundError), match="nowhere"):
        Trainer(config(folder, output=folder / "b", held_out=folder / "nowhere"), CPU)


def test_a_config_that_a_run_leaves_is_the_runs(tmp_path):
    given = config(
        Path("a folder"),
        model=None,
        weights=Path('w "é".safetensors'),
        optimiser=OptimiserConfig(rates={"generator": 1e-7, "generator.decoder": 0.5}, clip=None),
        augment=AugmentConfig(),
        vgg=None,
        focus=(1.0, 0.5),
        held_out=Path("clips"),
    )
    for each in (given, replace(given, model=TINY_DETAIL, augment=None)):
        (tmp_path / "config.toml").write_text(as_toml(plain(each)), encoding="utf-8")
        assert read_config(tmp_path / "config.toml") == each


def test_a_sheet(folder):
    model = trained(folder, steps=1).model
    batch = pairs(2).scaled(CPU.device)
    levels = sheet(model, batch, 32)
    assert levels.dtype == np.uint8
    band = 2 * (CAPTION + 192) + GAP
    assert levels.shape == (2 * band - GAP, 6 * 192, 3)
    wanted = model(batch.source, batch.driving).repeat_interleave(6, 2).repeat_interleave(6, 3)
    for pair, output in enumerate(wanted.permute(0, 2, 3, 1)):
        top = pair * band + CAPTION
        shown = torch.from_numpy(levels[top : top + 192, 2 * 192 : 3 * 192]) / 255
        assert float((shown - output).abs().max()) < 0.5 / 255 + 1e-4


def test_a_run_that_meets_nan_keeps_its_checkpoint(folder):
    trainer = Trainer(config(folder, steps=6), CPU)

    def spoil(done, *rest):
        if done == 3:
            torch.nn.init.constant_(trainer.learner.model.generator.mix.bias, torch.nan)

    with pytest.raises(
        NotFinite, match=r"^step 4: .*reconstruction.*; .*step-00000002\.pt is from before it$"
    ):
        trainer.run(spoil)
    kept = run_state.latest(folder / "run").state
    assert kept.step == 2
    assert all(bool(torch.isfinite(each).all()) for each in kept.learner.model.values())


def test_fine_tuning_starts_from_the_weights(folder):
    weights = folder / "older.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(5)
        checkpoints.save(checkpoints.random(TINY), weights)
    trainer = Trainer(config(folder, model=None, weights=weights, steps=1), CPU)
    start = checkpoints.load(weights).state_dict()
    assert all(torch.equal(each, start[name]) for name, each in trainer.learner.model.state_dict().items())
    trainer.run()
    given = checkpoints.load(folder / "run" / MODEL)
    assert given.config == TINY
    assert not torch.equal(given.generator.mix.weight, start["generator.mix.weight"])


def test_a_larger_model_starts_from_a_smaller_one(folder):
    weights = folder / "small.safetensors"
    checkpoints.save(checkpoints.random(TINY), weights)
    large = replace(TINY, generator=replace(TINY.generator, widths=(16, 8, 4)))
    fresh = ("generator.decoder.up.1", "generator.decoder.final")
    trainer = trained(folder, model=large, weights=weights, fresh=fresh, steps=1)
    assert trainer.examples.driving.shape[-1] == 64  # what it paints
    with pytest.raises(
        ValueError, match=r"the weights of 'tiny' do not fit 'tiny' in \d+ tensors that are not `fr"
    ):
        Trainer(config(folder, model=large, weights=weights, fresh=fresh[:1], output=folder / "b"), CPU)


def test_detail_joins_trained_networks_with_their_norms_fixed(folder):
    """And what is seen by H of other weights is compared; a run that was stopped goes on."""
    weights = folder / "plain.safetensors"
    plain = replace(TINY_DETAIL, generator=replace(TINY_DETAIL.generator, detail_channels=0))
    checkpoints.save(checkpoints.random(plain), weights)
    fresh = ("appearance.detail", "generator.decoder.detail")
    values = {
        "model": TINY_DETAIL,
        "weights": weights,
        "fresh": fresh,
        "features": weights,
        "fixed_norms": True,
        "losses": replace(LOSSES, perceptual=1.0, gan=1.0, feature_matching=1.0, reconstruction=1.0),
    }
    start = starting_model(config(folder, **values)).state_dict()
    kept = checkpoints.load(weights).state_dict()
    assert all(torch.equal(each, start[name]) for name, each in kept.items())
    whole = trained(folder, output=folder / "whole", **values)
    trained(folder, steps=2, **values)
    again = trained(folder, **values)
    assert any("resumed after step 2" in note for note in again.notes)
    found, expected = (each.learner.model.state_dict() for each in (again, whole))
    assert all(torch.equal(found[name], each) for name, each in expected.items())
    for name in ("appearance.detail.0.weight", "generator.decoder.detail.joins.1.conv1.weight"):
        assert not torch.equal(found[name], start[name]), name
    with pytest.raises(ValueError, match="fixed_norms: expected no batch norm among `fresh`, which appear"):
        starting_model(config(folder, **values | {"fresh": (*fresh, "appearance.down")}))


def test_a_head_comes_from_elsewhere(folder):
    """H and Δ of one file, all else of another; and no head that reads other keypoints."""
    torch.manual_seed(3)
    checkpoints.save(FaceVid2Vid(TINY), folder / "head.safetensors")
    checkpoints.save(checkpoints.random(TINY), folder / "rest.safetensors")
    taken = checkpoints.load(folder / "head.safetensors").state_dict()
    rest = checkpoints.load(folder / "rest.safetensors").state_dict()
    model = starting_model(
        config(folder, weights=folder / "rest.safetensors", head=folder / "head.safetensors")
    )
    for name, each in model.state_dict().items():
        assert torch.equal(each, (taken if name.startswith("head.") else rest)[name]), name
    assert not torch.equal(taken["head.yaw.bins.weight"], rest["head.yaw.bins.weight"])
    checkpoints.save(FaceVid2Vid(replace(TINY, name="six", keypoints=6)), folder / "other.safetensors")
    with pytest.raises(ValueError, match=r"head: 'six' in .*other\.safetensors has another H than 'tiny'"):
        starting_model(config(folder, head=folder / "other.safetensors"))


def test_networks_learn_from_pictures_of_another_size(folder):
    trainer = trained(folder, size=64, steps=1)
    assert trainer.examples.driving.shape[-1] == 64
    assert trainer.model.config.image_size == 32


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"losses": LossConfig()}, "losses.perceptual takes a VGG-19: --set vgg=FILE, vgg=torchvision or"),
        (
            {"losses": replace(LossConfig(perceptual=0), true_rotation=1)},
            "losses.true_rotation: expected 0, as",
        ),
        ({"focus": (1.0, 2.0)}, "focus: expected 0 numbers, one a true keypoint of the data; got 2"),
        ({"teacher": (1.0, 0.0)}, "teacher: expected 0, as the data has no true motion"),
        ({"size": 44}, "size: 'tiny' takes multiples of "),
        ({"model": TINY_SADTALKER}, "'tiny-sadtalker' is driven by 3DMM coefficients: expected"),
        ({"model": TINY_PERFORMRECAST}, "sees portraits at 64 px and drivers at 32: expected a model"),
        (
            {"fresh": ("decoder",), "weights": "w.safetensors"},
            "fresh: expected the first part of a parameter's na",
        ),
        ({"output": "clips/clip0/0.png"}, "0.png is a file, expected a folder"),
        ({"data": "nowhere"}, "nowhere: no such folder"),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_step(folder, values, said):
    checkpoints.save(checkpoints.random(TINY), folder / "w.safetensors")
    here = {name: folder / each if isinstance(each, str) else each for name, each in values.items()}
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        Trainer(config(folder, vgg=None, **here), CPU)
    assert said in str(raised.value)


def test_where_nobody_knows_the_pose_it_is_said(folder):
    losses = LossConfig(perceptual=0, reconstruction=1)
    assert Trainer(config(folder, losses=losses), CPU).notes == [
        "no head_pose term: the data has no true poses, and `pose` names no weights"
    ]
    weights = folder / "pose.safetensors"
    checkpoints.save(checkpoints.random(TINY), weights)
    values = []
    trainer = Trainer(config(folder, losses=losses, pose=weights, steps=1), CPU)
    assert not trainer.notes
    trainer.run(lambda *shown: values.append(shown[-1]))
    assert values[0]["head_pose"] > 0


def test_the_perceptual_loss_takes_a_network(folder):
    path = folder / "vgg.pth"
    torch.save(Vgg19Features().features.state_dict(prefix="features."), path)
    values = []
    run = config(folder, size=64, steps=1, batch=1, vgg=str(path), losses=replace(LOSSES, perceptual=10))
    Trainer(run, CPU).run(lambda *shown: values.append(shown[-1]))
    assert values[0]["perceptual"] > 0


@pytest.mark.slow
def test_drawn_heads_teach_what_they_know(folder):
    heads = SyntheticHeads(32, identities=3, seed=0)
    losses = replace(
        LOSSES, head_pose=0.1, true_canonical=5, true_rotation=1, true_translation=1, true_expression=5
    )
    values = []
    run = config(
        folder,
        model=replace(TINY, keypoints=len(LANDMARKS)),
        losses=losses,
        teacher=(1.0, 0.0),
        data=Path("none"),
        steps=1,
        batch=1,
    )
    Trainer(run, CPU, heads).run(lambda *shown: values.append(shown[-1]))
    known = {"head_pose", "true_canonical", "true_rotation", "true_translation", "true_expression"}
    assert all(values[-1][name] > 0 for name in known)
    with pytest.raises(
        ValueError, match=rf"teacher: the data has {len(LANDMARKS)} true keypoints, the model has 5"
    ):
        Trainer(config(folder, teacher=(1.0, 0.0)), CPU, heads)
    chosen = {"landmarks": (0, 3, 5, 21, 2), "output": folder / "some"}
    some = config(folder, teacher=(1.0, 0.0), steps=1, batch=1, **chosen)
    Trainer(some, CPU, heads).run(lambda *shown: values.append(shown[-1]))
    with pytest.raises(ValueError, match=r"landmarks: the data has 22, numbered from 0; got \[22, 1\]"):
        Trainer(config(folder, landmarks=(22, 1)), CPU, heads)


def test_epochs(folder):
    assert Trainer(config(folder, steps=None, epochs=5), CPU).steps == 8  # of 3 clips, 2 a step
    assert Trainer(config(folder, steps=None, epochs=5, accumulate=2), CPU).steps == 4


def test_the_command(folder, fv2v):
    file = folder / "run.toml"
    file.write_text(toml(plain(config(folder, log_every=2))))
    code, out, err = fv2v("train", file, "--device", "cpu")
    assert (code, out.strip()) == (0, f"{folder / 'run' / MODEL}: 4 of 4 steps")
    lines = err.strip().splitlines()
    assert [line[:11] for line in lines] == ["step 2 of 4", "step 4 of 4"]
    assert "samples/s, 0:00:00 left: loss " in lines[1]
    assert ", reconstruction 0." in lines[1]
    code, out, err = fv2v("train", file, "--set", "steps=5", "--device", "cpu")
    assert (code, out.strip()) == (0, f"{folder / 'run' / MODEL}: 5 of 5 steps")
    assert err.splitlines()[:2] == [
        f"{folder / 'run'}: resumed after step 4",
        "changed since then: steps 4, now 5",
    ]
    code, _, err = fv2v("train", file, "--set", "stps=5")
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith(f"fv2v: {file} with stps=5: unknown name stps: expected one of data, output")
