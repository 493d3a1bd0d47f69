# SPDX-License-Identifier: Apache-2.0
"""`fv2v batch`: each row is made once, as the single commands make it; a fault of one costs no other."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import batches
import clips
import deadly
import numpy as np
import pytest
from killed_batches import kill_until_done, start, wait_for_lines
from processes import make_once
from refusals import assert_refused
from tiny import TINY_SADTALKER, coefficients, lively

from fv2v.cli.rows import call_of
from fv2v.io.hidden import NAME
from fv2v.io.image import read_image, write_image
from fv2v.jobs.plan import Job
from fv2v.jobs.pool import TRIES, carry_out
from fv2v.jobs.worker import Worker
from fv2v.reenactor import Reenactor


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    return make_once(tmp_path_factory, "batch", batches.write_inputs)


@pytest.fixture
def mixed(inputs, tmp_path) -> Path:
    """24 rows: 20 clips to make, and one of each fault."""
    rows = batches.plain_rows(inputs, 20)
    rows[3] |= {"crop": True, "paste-back": True}
    rows[4] |= {"relative": True, "strength": ["3=0.5", "1=1.5"], "lost": "source"}
    rows[5] |= {"frames": 2, "steady": True}
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(clips.PORTRAIT.read_bytes()[:20_000])
    good = {"portrait": str(inputs / "p0.png"), "driving": str(inputs / "d0.mp4")}
    rows[7:7] = [
        good | {"id": "missing", "driving": str(tmp_path / "gone.mp4")},
        good | {"id": "faceless", "portrait": str(batches.blank(tmp_path / "blank.png"))},
        good | {"id": "truncated", "portrait": str(cut)},
        good | {"id": "clip-01"},
    ]
    return batches.write_rows(tmp_path / "jobs.jsonl", rows)


FAULTS = {
    "missing": "gone.mp4: no such file",
    "faceless": "no face",
    "truncated": "cut.jpg",
    "clip-01": "the id is that of row 2",
}


def test_every_row_is_made_once_as_the_single_command_makes_it(fv2v, inputs, mixed, tmp_path):
    """Run three times: all; nothing again, without a process for it; the clip whose portrait changed."""
    output, own = tmp_path / "out", tmp_path / "own.png"
    rows = [json.loads(line) for line in mixed.read_text().splitlines()]
    write_image(own, read_image(inputs / "p1.png"))
    rows[-1]["portrait"] = str(own)
    batches.write_rows(mixed, rows)
    command = ["batch", mixed, "-o", output, "-w", inputs / "tiny.safetensors"]

    code, out, err = fv2v(*command)
    assert code == 1
    assert out.startswith(f"{output}: 20 made, 0 kept, 4 failed of 24; ")
    found = {line["id"]: line for line in batches.lines(output) if line["status"] == "failed"}
    assert found.keys() == FAULTS.keys()
    assert len(err.splitlines()) == 4
    for name, words in FAULTS.items():
        assert words in found[name]["error"]
        assert f"fv2v: row {found[name]['row']} ({name}): {found[name]['error']}" in err.splitlines()
    done = [line for line in batches.lines(output) if line["status"] == "done"]
    assert len({line["id"] for line in done}) == len(done) == 20
    assert {line["frames"] for line in done} == {2, 3, 4}
    assert all(line["stages"].keys() == {"decode", "crop", "network", "encode"} for line in done)
    assert all({"fv2v", "torch"} <= line["versions"].keys() and line["seconds"] > 0 for line in done)
    first = batches.made(output)
    assert first.keys() == {line["output"] for line in done}
    for i, options in ((0, ["--no-crop"]), (3, ["--paste-back"]), (6, ["--no-crop"])):
        row = rows[i]
        more = ["-w", inputs / "tiny.safetensors", "--yaw", row["yaw"]]
        fv2v(
            "reenact",
            row["portrait"],
            row["driving"],
            "-o",
            tmp_path / "one.mp4",
            "--overwrite",
            *options,
            *more,
        )
        assert (tmp_path / "one.mp4").read_bytes() == first[f"clip-{i:02}.mp4"]

    times = {path: path.stat().st_mtime_ns for path in output.glob("*.mp4")}
    good = batches.write_rows(tmp_path / "good.jsonl", [row for row in rows if row["id"] not in FAULTS])
    code, out, err = fv2v("batch", good, *command[2:])
    assert (code, err) == (0, "")
    assert out.startswith(f"{output}: 0 made, 19 kept, 0 failed of 19; 0 frames in ")
    assert {path: path.stat().st_mtime_ns for path in output.glob("*.mp4")} == times

    write_image(own, read_image(inputs / "p0.png"))
    code, out, _ = fv2v(*command)
    assert out.startswith(f"{output}: 1 made, 19 kept, 4 failed of 24; ")
    changed = {path.name for path, at in times.items() if path.stat().st_mtime_ns != at}
    assert changed == {"clip-19.mp4"}
    assert batches.made(output)["clip-19.mp4"] != first["clip-19.mp4"]


def test_motion_and_coefficients_drive_as_their_commands_have_it(fv2v, inputs, tmp_path):
    weights, talking = inputs / "tiny.safetensors", tmp_path / "talking.safetensors"
    fv2v("extract", inputs / "d0.mp4", "-o", tmp_path / "m.npz", "--no-crop", "-w", weights)
    lively(Reenactor(TINY_SADTALKER, weights="random")).save(talking)
    np.save(tmp_path / "c.npy", coefficients(3))
    portrait, file = {"portrait": str(inputs / "p0.png"), "crop": "false"}, str(tmp_path / "c.npy")
    talk = portrait | {"coefficients": file, "source-coefficients": file, "yaw": "-10,10"}
    rows = [
        portrait | {"id": "render", "motion": str(tmp_path / "m.npz"), "relative": True},
        talk | {"id": "talk", "weights": str(talking)},
        talk | {"id": "weightless", "weights": None},
    ]
    *jobs, weightless = batches.jobs_of(inputs, tmp_path / "out", rows)
    worker = Worker(call_of)
    for job in jobs:
        assert worker.run(job.words).output == job.output
    with pytest.raises(ValueError, match="weights"):
        worker.run(weightless.words)
    one = tmp_path / "one.mp4"
    command = [inputs / "p0.png", "--no-crop", "--overwrite", "-o", one, "-w"]
    fv2v("render", *command, weights, tmp_path / "m.npz", "--relative")
    assert one.read_bytes() == (tmp_path / "out" / "render.mp4").read_bytes()
    fv2v("talk", *command, talking, file, "--source-coefficients", file, "--yaw", "-10,10")
    assert one.read_bytes() == (tmp_path / "out" / "talk.mp4").read_bytes()


def test_portraits_are_encoded_once(inputs, tmp_path, monkeypatch):
    """Of two portraits in six clips two are encoded; another picture of the same size is another portrait."""
    encoded = []
    encode = Reenactor.encode
    monkeypatch.setattr(Reenactor, "encode", lambda *given: encoded.append(1) or encode(*given))
    worker = Worker(call_of)
    for job in batches.jobs_of(inputs, tmp_path / "out", batches.plain_rows(inputs, 6)):
        worker.run(job.words)
    assert len(encoded) == 2
    assert len(set(batches.made(tmp_path / "out").values())) == 6


def test_a_worker_that_dies_costs_its_clip_a_second_try(inputs, tmp_path):
    jobs = batches.jobs_of(inputs, tmp_path / "out", batches.plain_rows(inputs, 3))
    outcomes = carry_out(jobs, 1, call_of)
    done = dict([next(outcomes)])
    victim = multiprocessing.active_children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    done |= dict(outcomes)
    assert done.keys() == set(jobs)
    assert {outcome.error for outcome in done.values()} == {""}
    assert len(batches.made(tmp_path / "out")) == 3
    assert not multiprocessing.active_children()


def test_a_job_that_kills_its_process_fails_alone(tmp_path):
    job = Job("killer", 1, ("reenact",), tmp_path / "killer.mp4", "")
    ((ended, outcome),) = carry_out([job], 1, deadly.dies)
    assert ended == job
    assert outcome.error == f"the process died {TRIES} times, last by SIGKILL"


def test_fail_fast_ends_at_the_first_fault_and_starts_nothing(fv2v, inputs, mixed, tmp_path):
    code, out, err = fv2v(
        "batch", mixed, "-o", tmp_path / "out", "-w", inputs / "tiny.safetensors", "--fail-fast"
    )
    assert (code, err.count("\n")) == (1, 1)
    assert "0 made, 0 kept, 1 failed of 24, 23 not begun" in out
    assert [line["id"] for line in batches.lines(tmp_path / "out")] == ["missing"]


@pytest.mark.parametrize(
    ("kills", "workers"),
    [(1, 1), pytest.param(10, 1, marks=pytest.mark.slow), pytest.param(4, 2, marks=pytest.mark.slow)],
)
def test_killed_at_random_moments_it_ends_with_the_same_folder(inputs, tmp_path, kills, workers):
    rows = batches.plain_rows(inputs, 4 + 2 * kills)
    jobs = batches.write_rows(tmp_path / "jobs.jsonl", rows)
    worker = Worker(call_of)  # in this process, which has imported what takes seconds
    for job in batches.jobs_of(inputs, tmp_path / "whole", rows):
        worker.run(job.words)
    expected = batches.made(tmp_path / "whole")
    command = [jobs, "-o", tmp_path / "out", "-w", inputs / "tiny.safetensors", "--workers", workers]
    kill_until_done(command, tmp_path / "out", expected, kills, seed=workers)


def test_ctrl_c_keeps_what_is_done_and_leaves_nothing_half_written(inputs, tmp_path):
    jobs = batches.write_rows(tmp_path / "jobs.jsonl", batches.plain_rows(inputs, 200))
    process = start(jobs, "-o", tmp_path / "out", "-w", inputs / "tiny.safetensors")
    wait_for_lines(tmp_path / "out", 2, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it, too
    _, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (130, "fv2v: interrupted; no file was left half written\n")
    done = [line["output"] for line in batches.lines(tmp_path / "out")]
    assert len(done) >= 2
    assert set(done) <= batches.made(tmp_path / "out").keys()
    assert not [path for path in (tmp_path / "out").iterdir() if NAME.fullmatch(path.name)]


def test_only_one_batch_works_in_a_folder(fv2v, inputs, tmp_path):
    jobs = batches.write_rows(tmp_path / "jobs.jsonl", batches.plain_rows(inputs, 1))
    held = "import sys, time; from fv2v.jobs.results import open_results\n"
    held += "with open_results(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", held, tmp_path / "out"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        result = fv2v("batch", jobs, "-o", tmp_path / "out", "-w", inputs / "tiny.safetensors")
        assert_refused(result, "another batch works there")
        other.communicate("")


@pytest.mark.slow
def test_the_memory_of_a_worker_stays_flat(inputs, tmp_path):
    """Over 200 clips of 40 portraits, of which it keeps 16."""
    rows = batches.plain_rows(inputs, 200)
    for i, row in enumerate(rows):
        row["portrait"] = str(tmp_path / f"p{i % 40}.png")
    for i in range(40):
        write_image(tmp_path / f"p{i}.png", np.roll(read_image(inputs / "p0.png"), i, axis=1))
    worker, used = Worker(call_of), []
    for job in batches.jobs_of(inputs, tmp_path / "out", rows):
        worker.run(job.words)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        used.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    assert used[-1] - used[60] < 20, "megabytes"
    print(f"after 60 clips {used[60]:.0f} MB, after 200 {used[-1]:.0f} MB")
