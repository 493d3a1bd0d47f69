# SPDX-License-Identifier: Apache-2.0
"""Runs whose checkpoints are damaged: they go on from the newest whole one and say so, or refuse to start."""

import shutil
from collections.abc import Callable
from pathlib import Path

import hostile_folders
import pytest
import runs
import torch
from runs import CPU, config, trained

from fv2v.io.hidden import lock_file
from fv2v.training import state as run_state
from fv2v.training.trainer import LOCK, MODEL, Trainer

STEPS = 6  # of the whole run; the one that is damaged has 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """With clips, a run of four steps and its last three checkpoints, and the run of six."""
    torch.use_deterministic_algorithms(True, warn_only=True)  # for a fixture of a module, too
    folder = tmp_path_factory.mktemp("training")
    runs.clips(folder / "clips", count=2, frames=3)
    trained(folder, output=folder / "four", save_every=1, keep=3)
    trained(folder, output=folder / "whole", steps=STEPS, save_every=STEPS)
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path, at: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    # torch pads between tensors with bytes that mean nothing
    data[next(i for i in range(int(at * len(data)), len(data)) if data[i] not in b"FBZ\0")] ^= 16
    path.write_bytes(data)


def flip_directory(path: Path) -> None:
    flip(path, 0.999)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def blank(path: Path) -> None:
    """As a disk leaves a file that was not synced before a power cut."""
    path.write_bytes(bytes(path.stat().st_size))


def replace_by_text(path: Path) -> None:
    path.write_text("not a checkpoint\n")


def replace_by_older(path: Path) -> None:
    if path.name != "step-00000002.pt":
        shutil.copy(path.with_name("step-00000002.pt"), path)


ONE = [cut, flip, flip_directory, empty, blank, replace_by_text, replace_by_older]
ALL = [cut, flip, empty]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != LOCK}


@pytest.fixture
def run(folder, tmp_path) -> Path:
    return shutil.copytree(folder / "four", tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("damage", ONE, ids=lambda each: each.__name__)
def test_the_newest_whole_checkpoint_is_taken(folder, run, damage: Callable[[Path], None]):
    damage(run / "step-00000004.pt")
    trainer = Trainer(config(folder, output=run, steps=STEPS, save_every=1, keep=1), CPU)
    assert trainer.step == 3
    assert trainer.notes[0].startswith("left out: step-00000004.pt ")
    assert len([note for note in trainer.notes if note.startswith("left out")]) == 1
    trainer.run()
    assert [path.name for path in run_state.found(run)] == ["step-00000006.pt"]
    found, whole = (run_state.latest(each).state for each in (run, folder / "whole"))
    assert all(torch.equal(each, whole.learner.model[name]) for name, each in found.learner.model.items())
    assert all(torch.equal(each, whole.learner.average[name]) for name, each in found.learner.average.items())


@pytest.mark.slow
@pytest.mark.parametrize("damage", ALL, ids=lambda each: each.__name__)
def test_nothing_starts_over_what_is_damaged(folder, run, damage: Callable[[Path], None]):
    for path in run_state.found(run):
        damage(path)
    before = contents(run)
    with pytest.raises(
        ValueError, match=r"holds no checkpoint that can be read \(left out: step-00000004.pt is"
    ):
        Trainer(config(folder, output=run, steps=STEPS), CPU)
    assert contents(run) == before
    trainer = Trainer(config(folder, output=run, steps=2, save_every=1, keep=2), CPU, fresh=True)
    assert (trainer.step, trainer.notes[0]) == (
        0,
        f"{run}: started over; what was there is in {run / 'before-1'}",
    )
    trainer.run()
    assert [path.name for path in run_state.found(run)] == ["step-00000001.pt", "step-00000002.pt"]
    aside = contents(run / "before-1")
    assert aside == {name: data for name, data in before.items() if name.startswith(("step", "model"))}


def test_only_whole_checkpoints_count(folder, run):
    """Damaged ones, older and newer than what is written, neither count nor go."""
    state = run_state.read(run / "step-00000003.pt")
    for path in run_state.found(run):
        if path.name != "step-00000003.pt":
            cut(path)
    run_state.write(state, run, keep=1)
    assert [path.name for path in run_state.found(run)] == [f"step-0000000{i}.pt" for i in (2, 3, 4)]


def test_a_model_without_checkpoints_is_not_overwritten(folder, run):
    for path in run_state.found(run):
        path.unlink()
    before = contents(run)
    with pytest.raises(ValueError, match=rf"no checkpoint that can be read \(only {MODEL}\)"):
        Trainer(config(folder, output=run), CPU)
    assert contents(run) == before


def test_what_can_go_on_is_not_started_over(folder, run):
    with pytest.raises(
        ValueError, match="can go on after step 4; leave out --fresh, or choose another folder"
    ):
        Trainer(config(folder, output=run), CPU, fresh=True)


def test_two_runs_of_a_folder(folder, run):
    """Of two processes; the lock is free again when the first has ended."""
    child = runs.start_child("holds_the_folder", run)
    assert child.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=r"another process trains in .*run; let it end, or choose another"):
        Trainer(config(folder, output=run), CPU)
    child.kill()
    child.wait()
    child.stdout.close()
    assert Trainer(config(folder, output=run), CPU).step == 4
    lock_file(run / LOCK).close()


@pytest.mark.parametrize("case", sorted(hostile_folders.STATES.keys() - {"inflates"}))  # which takes seconds
def test_what_is_no_checkpoint_is_left_out(tmp_path, case):
    """Also a pipe, a step that is no number, a dict that holds others without end."""
    hostile_folders.unpacked(hostile_folders.STATES[case](), tmp_path)
    found = run_state.latest(tmp_path)
    assert found.state is None
    assert len(found.left_out) == 1
