# SPDX-License-Identifier: Apache-2.0
"""`fv2v batch --ray`: the same clips from a cluster, whichever of its processes is killed."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import batches
import deadly
import pytest
import torch
from killed_batches import kill_until_done
from processes import make_once
from refusals import assert_refused

from fv2v.cli.rows import call_of
from fv2v.io.hidden import NAME
from fv2v.jobs.cluster import CORES, Share, carry_out_on_ray, share_of
from fv2v.jobs.plan import Job
from fv2v.jobs.pool import TRIES
from fv2v.jobs.worker import Worker

GPUS = [{"CPU": 64.0, "GPU": 4.0}, {"CPU": 16.0}, {"CPU": 20.0, "GPU": 2.0}]
CPUS = [{"CPU": 64.0}, {"CPU": 20.0}, {"memory": 1e9}]
SUPPORT = Path(deadly.__file__).parent
SHARES = {
    "an accelerator each, and its part of the cores": (GPUS, None, Share(6, 10, 1)),
    "fewer": (GPUS, 2, Share(2, 10, 1)),
    "some cores each": (CPUS, None, Share(10, CORES, 0)),
    "all of a small machine": ([{"CPU": 64.0}, {"CPU": 2.0}], None, Share(33, 2, 0)),
    "as many as are wanted": (CPUS, 3, Share(3, 21, 0)),
    "of all cores": (CPUS, 1, Share(1, 64, 0)),
    "more than there is place for": ([{"CPU": 2.0}], 5, Share(5, 1, 0)),
}


@pytest.mark.parametrize("name", SHARES)
def test_what_each_worker_has(name):
    machines, workers, share = SHARES[name]
    assert share_of(machines, workers) == share


def test_without_ray_a_line_says_which_extra(fv2v, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr("fv2v.extras.installed", lambda package: package != "ray")
    jobs = batches.write_rows(tmp_path / "jobs.jsonl", [{"id": "a"}])
    result = fv2v("batch", jobs, "-o", tmp_path / "out", "-w", "random", "--ray", "local")
    assert_refused(result, "--ray needs ray: pip install '.[ray]'")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    return make_once(tmp_path_factory, "batch", batches.write_inputs)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of two machines with a core each, as far as Ray can tell."""
    from ray.cluster_utils import Cluster

    machine = {"num_cpus": 1, "object_store_memory": 100_000_000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # or they would wait for all else that runs here
        patch.setenv("PYTHONPATH", str(SUPPORT))  # its workers import deadly
        made = Cluster(initialize_head=True, head_node_args=machine | {"include_dashboard": False})
        try:
            made.add_node(**machine)
            yield made.address
        finally:
            made.shutdown()


def expected_of(inputs: Path, folder: Path, rows: list[dict]) -> dict[str, bytes]:
    worker = Worker(call_of)
    for job in batches.jobs_of(inputs, folder, rows):
        worker.run(job.words)
    return batches.made(folder)


@pytest.mark.slow
def test_the_same_clips_and_nothing_twice(fv2v, inputs, tmp_path, cluster, monkeypatch):
    """Of relative paths, too; a row that fails is a line; a second run needs no cluster."""
    rows = batches.plain_rows(inputs, 6)
    expected = expected_of(inputs, tmp_path / "whole", rows)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "near.png").symlink_to(rows[0]["portrait"])
    rows[0]["portrait"] = "near.png"
    blank = rows[5] | {"id": "blank", "crop": True, "portrait": str(batches.blank(tmp_path / "blank.png"))}
    jobs = batches.write_rows(tmp_path / "jobs.jsonl", [*rows, blank])
    command = ["batch", jobs, "-o", "out", "-w", inputs / "tiny.safetensors", "--ray"]
    code, out, err = fv2v(*command, cluster)
    assert (code, err.count("\n")) == (1, 1)
    assert "no face" in err
    assert out.startswith("out: 6 made, 0 kept, 1 failed of 7; ")
    assert batches.made(tmp_path / "out") == expected
    batches.write_rows(jobs, rows)
    code, out, err = fv2v(*command, "127.0.0.1:1")
    assert (code, err) == (0, "")
    assert out.startswith("out: 0 made, 6 kept, 0 failed of 6; ")


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_clip_a_second_try(inputs, tmp_path, cluster):
    rows = batches.plain_rows(inputs, 10)
    expected = expected_of(inputs, tmp_path / "whole", rows)
    jobs = batches.jobs_of(inputs, tmp_path / "out", rows)
    done = dict(carry_out_on_ray(jobs, cluster, deadly.dies_now_and_then))
    assert len(list((tmp_path / "out").glob("*.tried"))) == 4, "each of which killed its worker"
    assert done.keys() == set(jobs)
    assert {outcome.error for outcome in done.values()} == {""}
    assert batches.made(tmp_path / "out") == expected


@pytest.mark.slow
def test_a_job_that_kills_its_worker_fails_alone(inputs, tmp_path, cluster):
    """The worker of the others, which is the same one, goes on."""
    good = batches.jobs_of(inputs, tmp_path / "out", batches.plain_rows(inputs, 2))
    killer = Job("killer", 9, ("dies",), tmp_path / "killer.mp4", "")
    done = dict(carry_out_on_ray([good[0], killer, good[1]], cluster, deadly.dies_of_some, workers=1))
    assert {job.identity: outcome.error[:23] for job, outcome in done.items()} == {
        "clip-00": "",
        "killer": f"the worker died {TRIES} times",
        "clip-01": "",
    }


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_from_its_lines(inputs, tmp_path, cluster):
    rows = batches.plain_rows(inputs, 10)
    expected = expected_of(inputs, tmp_path / "whole", rows)
    jobs = batches.write_rows(tmp_path / "jobs.jsonl", rows)
    command = [
        jobs,
        "-o",
        tmp_path / "out",
        "-w",
        inputs / "tiny.safetensors",
        "--ray",
        cluster,
        "--workers",
        1,
    ]
    kill_until_done(command, tmp_path / "out", expected, kills=3, seed=3)
    assert not [path for path in (tmp_path / "out").iterdir() if NAME.fullmatch(path.name)]


@pytest.mark.slow
def test_heads_and_scores_are_those_of_one_process(fv2v, inputs, tmp_path, cluster):
    heads = ["--identities", 9, "--frames", 2, "--size", 16]
    scores = ["-w", inputs / "tiny.safetensors", "--identities", 2, "--frames", 3]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as each worker of that cluster has
    for name, options in (("one", []), ("ray", ["--ray", cluster])):
        assert fv2v("synthesize", "-o", tmp_path / name, *heads, *options)[::2] == (0, "")
        assert fv2v("evaluate", *scores, "-o", tmp_path / f"{name}.json", *options)[::2] == (0, "")
    torch.set_num_threads(threads)
    one, ray = ({path.name: path.read_bytes() for path in (tmp_path / n).iterdir()} for n in ("one", "ray"))
    assert len(one) == 3, "two shards, and what describes them"
    assert one == ray
    found = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "ray")]
    assert all(each["results"].pop("seconds_per_frame") > 0 for each in found)
    one_scores, ray_scores = (dict(leaves([each["results"], each["people"]])) for each in found)
    # in another process PyTorch may add in another order
    assert one_scores == pytest.approx(ray_scores, rel=1e-5, abs=1e-7)


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in what JSON holds, by their places."""
    if isinstance(tree, int | float):
        yield name, float(tree)
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inside:
        yield from leaves(value, f"{name}/{key}")


@pytest.mark.slow
def test_a_machine_without_the_folder_and_a_cluster_that_is_not_there(inputs, tmp_path, cluster, monkeypatch):
    (job,) = batches.jobs_of(inputs, tmp_path / "out", batches.plain_rows(inputs, 1))
    with pytest.raises(ValueError, match=r"--ray: no cluster at '127\.0\.0\.1:1'"):
        list(carry_out_on_ray([job], "127.0.0.1:1", call_of))
    monkeypatch.setattr("fv2v.jobs.cluster.os.getcwd", lambda: "/nowhere")
    with pytest.raises(ValueError, match=r"--ray: no worker can start there: .*/nowhere"):
        list(carry_out_on_ray([job], cluster, call_of))
