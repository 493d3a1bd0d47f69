# SPDX-License-Identifier: Apache-2.0
"""The benches, run as people run them: all rows at next to no size, one at its own.

The JSON has what `fv2v bench` reads, and names no host. All rows run among the slow tests.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from places import ROOT

from fv2v.diagnostics import bench_markdown, bench_results

ROW = "benches/bench_keypoint_flow.py::test_keypoint_flow[16x16x64x64-forward-reference]"
ONCE = ("--benchmark-max-time=0", "--benchmark-min-rounds=1", "--full")


def results_of(path: Path, what: str, *options: str, **environment: str) -> dict:
    command = [sys.executable, "-m", "pytest", what, "--benchmark-only", f"--benchmark-json={path}", *options]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return bench_results.load(path) | {"printed": done.stdout}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return results_of(tmp_path_factory.mktemp("benches") / "row.json", ROW)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Every row of every file but the compiled ones: some forty seconds on two cores."""
    return results_of(tmp_path_factory.mktemp("benches") / "all.json", "benches", *ONCE, FV2V_TINY="1")


@pytest.mark.slow
def test_every_bench_runs(tiny):
    ran = Counter(bench["fullname"].partition("::")[0] for bench in tiny["benchmarks"])
    assert set(ran) == {f"benches/{path.name}" for path in (ROOT / "benches").glob("bench_*.py")}
    assert any(bench["params"].get("backend") == "torch.compile" for bench in tiny["benchmarks"])


@pytest.mark.slow
def test_frames_say_what_they_cost(tiny):
    rows = [bench for bench in tiny["benchmarks"] if "form" in bench["extra_info"]]
    found = Counter((row["extra_info"]["preset"], row["extra_info"]["batch"]) for row in rows)
    presets = ("vox-256", "fomm-256", "vox-256-spade", "liveportrait")
    assert found.keys() == {(preset, batch) for preset in presets for batch in (1, 8)}
    for row in rows:
        info = row["extra_info"]
        has_layers = info["stage"] != "compose and warp"
        assert (info["gflop"] is not None and info["floor"] is not None) == has_layers, row["name"]
        if has_layers:
            assert info["floor_share"] == pytest.approx(info["floor"] / row["stats"]["median"], rel=0.01)
            assert info["gflop"] / info["floor"] == pytest.approx(info["GFLOP/s alone"], rel=0.1, abs=0.1)
            assert info["gflop"] <= 1.001 * info["gflop_before"]  # joined heads say their scale of 1, too


@pytest.mark.slow
def test_a_rewrite_has_a_number(tiny):
    labels = [b["extra_info"]["label"] for b in tiny["benchmarks"] if "rewrite" in b["extra_info"]]
    assert labels[:3] == ["stock PyTorch", "operators", "fold_norms"]
    assert len(labels) % 3 == 0  # presets


@pytest.mark.slow
def test_what_is_printed_and_shown(tiny):
    text = bench_markdown.markdown(tiny)
    assert "| `liveportrait`, 8 frames | whole frame |" in text
    assert "| `vox-256-spade` | fold_norms |" in text
    assert "share of" not in tiny["printed"]
    assert "% of floor" in tiny["printed"]


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
    copied = saved["machine_info"]["copy_GB/s"]
    roundings = 0.01 / copied + 1e-4  # of a busy machine's few GB/s, and of the share
    assert info["share"] == pytest.approx(info["GB/s"] / copied, rel=0.02, abs=roundings)
    assert row["stats"]["rounds"] >= 3


def test_machine_is_described_and_not_named(saved):
    machine = saved["machine_info"]
    assert machine["threads"] >= 1
    assert machine["copy_GB/s"] > 0
    assert "reference" in machine["backends"]["warp3d"]
    assert "node" not in machine
