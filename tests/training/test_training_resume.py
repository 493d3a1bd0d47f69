# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed, stopped or damaged, and go on as if nothing had happened."""

import time
from dataclasses import replace

import pytest
import torch
from runs import CPU, clips, config, start_child, trained
from safetensors.torch import load_file
from tiny import TINY

from fv2v.io.hidden import MOMENT
from fv2v.training import state as run_state
from fv2v.training.trainer import LOCK, MODEL, Trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With clips, and the run of six steps that was not interrupted."""
    torch.use_deterministic_algorithms(True, warn_only=True)  # for a fixture of a module, too
    folder = tmp_path_factory.mktemp("training")
    clips(folder / "clips")
    trained(folder, steps=6, output=folder / "whole")
    return folder


def assert_same_run(one, other):
    """All that a checkpoint holds, bit for bit, but for the config and torch's generators."""
    states = [run_state.latest(each).state for each in (one, other)]
    assert states[0].step == states[1].step == 6
    tensors = [list(_tensors(each.learner._asdict())) for each in states]
    assert len(tensors[0]) > 300
    for (name, a), (other_name, b) in zip(*tensors, strict=True):
        assert name == other_name
        assert torch.equal(a, b), name


def _tensors(value, name=""):
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _tensors(each, f"{name}.{key}")
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from _tensors(each, f"{name}.{i}")


@pytest.mark.parametrize("how", ["killed_in_a_step", "killed_in_a_write"])
def test_who_is_killed_goes_on(folder, how, monkeypatch, tmp_path):
    (tmp_path / "clips").symlink_to(folder / "clips")
    child = start_child(how, tmp_path)
    out, _ = child.communicate(timeout=600)
    assert child.returncode == -9, out
    run = tmp_path / "run"
    if how == "killed_in_a_write":
        assert len(list(run.glob(".fv2v-*/step-00000004.pt"))) == 1
    time.sleep(MOMENT)  # before that what was left behind could be somebody's
    trainer = Trainer(config(tmp_path, steps=6), CPU)
    assert trainer.step in (2, 4)
    assert f"{run}: resumed after step {trainer.step}" in trainer.notes
    trainer.run()
    assert_same_run(run, folder / "whole")
    assert [path.name for path in run.glob(".*")] == [LOCK]


def test_sigterm_saves_and_ends(folder, tmp_path):
    """Also where processes read the pairs, and get the signal as well; they read the same."""
    (tmp_path / "clips").symlink_to(folder / "clips")
    child = start_child("interrupted", tmp_path)
    out, _ = child.communicate(timeout=600)
    assert child.returncode == 0, out
    # noted after step 3, seen in the next
    assert out.splitlines()[-1] == "stopped after 4"
    assert [path.name for path in run_state.found(tmp_path / "run")] == ["step-00000004.pt"]
    trained(tmp_path, steps=6, save_every=6)
    assert_same_run(tmp_path / "run", folder / "whole")


def test_a_damaged_checkpoint_is_left_out(folder, tmp_path):
    (tmp_path / "clips").symlink_to(folder / "clips")
    trained(tmp_path)
    newest = tmp_path / "run" / "step-00000004.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    trainer = Trainer(config(tmp_path), CPU)
    assert trainer.notes[0].startswith("left out: step-00000004.pt is damaged: cut short, or changed")
    assert trainer.step == 2


def test_as_many_checkpoints_as_asked_for_are_kept(folder, tmp_path):
    (tmp_path / "clips").symlink_to(folder / "clips")
    trained(tmp_path, steps=5, save_every=1, keep=2)
    names = [path.name for path in run_state.found(tmp_path / "run")]
    assert names == ["step-00000004.pt", "step-00000005.pt"]


def test_what_is_given_out_is_the_average(folder):
    state = run_state.latest(folder / "whole").state
    given = load_file(folder / "whole" / MODEL)
    assert given.keys() == state.learner.average.keys()
    for name, tensor in given.items():
        assert torch.equal(tensor, state.learner.average[name]), name
    assert any(not torch.equal(tensor, state.learner.model.get(name)) for name, tensor in given.items())


def test_changed_settings_are_told(folder):
    trainer = Trainer(config(folder, output=folder / "whole", steps=8, batch=1), CPU)
    assert trainer.step == 6
    assert trainer.notes[1:] == [
        "changed since then: steps 6, now 8",
        "changed since then: batch 2, now 1",
    ]


def test_a_run_of_another_model_is_refused(folder):
    with pytest.raises(ValueError, match="whole holds a run of another model; choose another folder"):
        Trainer(config(folder, output=folder / "whole", model=replace(TINY, keypoints=6)), CPU)


def test_a_run_of_an_earlier_version_goes_on(folder, tmp_path):
    """Its checkpoint knows nothing of fields that configs have now."""
    before = run_state.latest(folder / "whole").state
    model = {k: v for k, v in before.config["model"].items() if k not in ("resize", "truncates")}
    (tmp_path / "run").mkdir()
    earlier = replace(before, config={**before.config, "model": model})
    run_state.write(earlier, tmp_path / "run", keep=1)
    trainer = Trainer(config(folder, output=tmp_path / "run", steps=8), CPU)
    assert trainer.step == 6
    changed = [note for note in trainer.notes if note.startswith("changed")]
    assert "changed since then: steps 6, now 8" in changed
    assert not any("model" in note for note in changed)
