# SPDX-License-Identifier: Apache-2.0
"""Heads on disk: what was drawn comes back, whole shards or none, and interrupted runs go on."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from refusals import assert_refused
from safetensors.torch import load_file

from fv2v.data import open_data
from fv2v.data.pairs import Draw, Pairs
from fv2v.data.shards import FRAMES_SEED, HeadShards, write_clips, write_shards
from fv2v.data.synthetic import SyntheticHeads, render, truth
from fv2v.data.synthetic.dataset import to_bytes
from fv2v.geometry import POSED
from fv2v.io.video import read_video

HEADS = SyntheticHeads(16, 9, seed=2, first=1)  # a whole shard, and one with the rest
FRAMES = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "heads"
    write_shards(folder, HEADS, FRAMES)
    return folder


def shards_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("heads-*.safetensors"))


@pytest.mark.parametrize("index", [0, 8])
def test_what_was_drawn_comes_back(folder, index):
    shards = HeadShards(folder)
    assert len(shards) == 9
    expression, pose = HEADS.frames(index, FRAMES, FRAMES_SEED)
    identity = HEADS.identity(index).repeat(FRAMES)
    pictures = to_bytes(render(identity, expression, pose, 16))
    canonical, motion = truth(identity, expression, pose)
    seen = set()
    for seed in range(12):
        pair = shards[Draw(index, seed)]
        assert pair.truth is not None
        source, driving = (
            next(i for i in range(FRAMES) if torch.equal(picture[0], pictures[i]))
            for picture in (pair.source, pair.driving)
        )
        assert source != driving
        seen.add((source, driving))
        torch.testing.assert_close(pair.truth.canonical, canonical[:1])
        for known, frame in ((pair.truth.source, source), (pair.truth.driving, driving)):
            for name in POSED:
                torch.testing.assert_close(getattr(known, name), getattr(motion, name)[frame : frame + 1])
    assert len(seen) >= 5, "of 6 pairs of 3 frames"


def test_draws_are_pairs_of_a_batch(folder):
    shards = HeadShards(folder)
    assert torch.equal(shards[Draw(4, 7)].source, shards[Draw(4, 7)].source)
    batch = Pairs.cat([shards[Draw(index, index)] for index in range(9)])
    assert batch.source.shape == (9, 3, 16, 16)
    assert batch.source.dtype == torch.uint8
    assert batch.truth is not None
    assert batch.truth.driving.expression.shape[0] == 9
    with pytest.raises(IndexError, match="from 0 to 8, got 9"):
        shards[Draw(9, 0)]


def test_training_reads_them_smaller_than_they_were_drawn(folder):
    small, large = (open_data(folder, size)[Draw(1, 2)] for size in (8, 16))
    means = large.source.double().unflatten(3, (8, 2)).unflatten(2, (8, 2)).mean((3, 5))
    assert (small.source - means).abs().max() <= 0.5 + 1e-4
    assert small.truth is not None
    assert torch.equal(small.truth.driving.rotation, large.truth.driving.rotation)
    with pytest.raises(ValueError, match="expected heads of 5 pixels or a multiple, got 16"):
        open_data(folder, 5)


def test_an_interrupted_run_goes_on_with_what_is_missing(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "heads")
    first, second = shards_in(copy)
    before = first.stat().st_mtime_ns
    second.unlink()
    with pytest.raises(ValueError, match=r"1 of 2 shards are missing \(heads-00001"):
        HeadShards(copy)
    told: list[tuple[int, int | None]] = []
    write_shards(copy, HEADS, FRAMES, progress=lambda done, total: told.append((done, total)))
    assert told == [(27, 27)]
    assert first.stat().st_mtime_ns == before
    assert second.read_bytes() == shards_in(folder)[1].read_bytes()


def test_a_kill_leaves_whole_shards_and_the_next_run_the_same_bytes(folder, tmp_path):
    copy = tmp_path / "heads"
    program = (
        "import sys, torch; from fv2v.data.synthetic import SyntheticHeads;"
        "from fv2v.data.shards import write_shards;"
        f"write_shards(sys.argv[1], SyntheticHeads(16, 9, seed=2, first=1), {FRAMES})"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(copy)])
    while not shards_in(copy) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in shards_in(copy):
        assert load_file(path)["pictures"].shape[1:] == (FRAMES, 3, 16, 16)
    write_shards(copy, HEADS, FRAMES)
    assert [path.read_bytes() for path in shards_in(copy)] == [p.read_bytes() for p in shards_in(folder)]


def test_processes_write_what_one_writes(fv2v, folder, tmp_path):
    heads = ("--identities", 9, "--frames", FRAMES, "--size", 16, "--seed", 2, "--first", 1)
    films = ("--clips", 1, "--clip-frames", 3)
    code, _, err = fv2v("synthesize", "-o", tmp_path / "heads", *heads, *films, "--workers", 2)
    assert (code, err) == (0, "")
    together = [path.read_bytes() for path in shards_in(tmp_path / "heads")]
    assert together == [path.read_bytes() for path in shards_in(folder)]
    write_clips(folder, 1, 3)
    assert (tmp_path / "heads/clip-00000.mp4").read_bytes() == (folder / "clip-00000.mp4").read_bytes()


def test_another_run_does_not_go_into_the_folder(folder, tmp_path):
    with pytest.raises(ValueError, match="begun with seed 2, not 3, frames 3, not 4"):
        write_shards(folder, SyntheticHeads(16, 9, seed=3, first=1), 4)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="new folder, or an empty one"):
        write_shards(tmp_path, HEADS, FRAMES)
    with pytest.raises(ValueError, match="2 frames of an identity or more, for pairs; got 1"):
        write_shards(tmp_path / "new", HEADS, 1)
    assert not (tmp_path / "new").exists()


def test_a_folder_of_something_else_is_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"heads\.json: no such file"):
        HeadShards(tmp_path)
    index = json.loads((folder / "heads.json").read_text())
    for text, told in (
        ("[1", "expected a description of drawn heads"),
        ('{"size": 3}', "expected a description of drawn heads"),
        (json.dumps(index | {"version": 0}), "got version 0; draw them again"),
        (json.dumps(index | {"landmarks": ["nose"]}), "current landmarks"),
    ):
        (tmp_path / "heads.json").write_text(text)
        with pytest.raises(ValueError, match=told):
            HeadShards(tmp_path)


def test_the_command(fv2v, tmp_path):
    arguments = ("synthesize", "-o", tmp_path / "heads", "--identities", 1, "--frames", 2, "--size", 16)
    code, out, _ = fv2v(*arguments, "--seed", 4, "--first", 2, "--clips", 1, "--clip-frames", 7)
    assert code == 0
    assert "1 identities, 2 frames each, 16 x 16, 1 clips" in out
    assert len(HeadShards(tmp_path / "heads")) == 1
    assert len(list(read_video(tmp_path / "heads" / "clip-00000.mp4"))) == 7
    assert_refused(fv2v(*arguments, "--workers", 0), "--workers: expected 1 or more, got 0")
    code, _, err = fv2v(*arguments, "--clips", 2)
    assert (code, err.strip()) == (
        2,
        "fv2v: expected from 0 to 1 clips, one an identity, of 1 frame or more; got 2 of 100",
    )
