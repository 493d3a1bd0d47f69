"""One row of the benches, run as people run them: the JSON has what `fv2v bench` reads, and names no host."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
ROW = "benches/bench_keypoint_flow.py::test_keypoint_flow[16x16x64x64-forward-reference]"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("benches") / "row.json"
    command = [sys.executable, "-m", "pytest", ROW, "--benchmark-only", f"--benchmark-json={path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(path.read_text())


def test_row_has_what_the_table_reads(saved):
    [row] = saved["benchmarks"]
    assert row["group"] == "keypoint_flow, 16x16x64x64, forward"
    assert row["params"] == {"volume": "16x16x64x64", "mode": "forward", "backend": "reference"}
    info = row["extra_info"]
    names = {"moved_bytes", "GB/s", "share", "ratio", "peak_bytes", "process_peak_bytes", "replayed"}
    assert set(info) == names

    flow = 16 * 16 * 64 * 64 * 3 * 4  # (K+1, D, H, W, 3) in float32
    keypoints = 2 * 15 * 3 * 4
    assert info["moved_bytes"] == flow + keypoints
    assert flow <= info["peak_bytes"] < 3 * flow
    if not torch.cuda.is_available():
        assert not info["replayed"]
        # the process holds what torch allocated, give or take pages
        assert info["process_peak_bytes"] == pytest.approx(info["peak_bytes"], abs=2**21)
    assert info["ratio"] > 0
    assert info["share"] == pytest.approx(info["GB/s"] / saved["machine_info"]["copy_GB/s"], rel=0.02)
    assert row["stats"]["rounds"] >= 3


def test_machine_is_described_and_not_named(saved):
    machine = saved["machine_info"]
    assert machine["threads"] >= 1
    assert machine["copy_GB/s"] > 0
    assert "reference" in machine["backends"]["warp3d"]
    assert "node" not in machine
