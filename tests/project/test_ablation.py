# SPDX-License-Identifier: Apache-2.0
"""The paper's ablation in small: benches/train_ablation.py, whole among the slow tests, and its report."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ablation_report import MEASURES, PAPER, found, markdown, order
from places import ROOT

COMMAND = [sys.executable, str(ROOT / "benches" / "train_ablation.py"), "--quick"]


def started(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [*COMMAND, "-o", str(folder / "runs"), "--results", str(folder / "results"), *options]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def row(model: str, seed: int, l1: float) -> dict:
    """A run's numbers, of which tests look at L1."""
    same = {"l1": l1, "psnr": 20.0, "ssim": 0.5, "ms_ssim": 0.5}
    view = {"l1": None if model in ("direct", "fomm") else 9.0, "psnr_gain": 1.0}
    others = {
        "cross_relative": {"l1": 8.0},
        "cross_absolute": None,
        "free_view": view,
        "unmoved": {"l1": 5.0},
    }
    return {
        "model": model,
        "seed": seed,
        "steps": [400, 600],
        "minutes": 7.25,
        "parameters": 1000,
        "akd": 2.0,
        "results": {
            "model": {"same_identity": same, "yaw_check": None, **others},
            "unchanged": {"same_identity": same},
        },
        "references": {"akd_true": 0.5, "akd_unchanged": 3.0},
        "setting": {"date": "2026-11-30T00:00", "device": "a CPU", "torch": "2", "ms_ssim_scales": 3},
    }


ROWS = [
    row(model, seed, l1)
    for model, *pair in (("ours", 10.0, 10.2), ("k10", 10.1, 10.5), ("direct", 11.0, 11.4))
    for seed, l1 in enumerate(pair)
]


def test_the_mean_and_the_spread_of_seeds():
    assert found(ROWS, "ours", MEASURES["l1"]) == pytest.approx((10.1, 10.0, 10.2))
    assert found(ROWS, "direct", MEASURES["l1"]).text(2) == "11.20 ± 0.20"
    assert found(ROWS, "k15", MEASURES["l1"]) is None


def test_order_beside_the_papers():
    """The paper has ours before direct before k10; here k10 comes before direct, and overlaps with ours."""
    assert order(ROWS, "l1") == {
        "here": ["ours", "k10", "direct"],
        "paper": ["ours", "direct", "k10"],
        "pairs": 3,
        "apart": 2,
        "as_paper": 2,
        "apart_as_paper": 1,
    }
    larger = [row("ours", 0, 2.0), row("fomm", 0, 1.0)]
    assert order(larger, "l1")["as_paper"] == 0
    assert order(larger, "psnr")["here"] == ["ours", "fomm"], "larger is better, and equals stay"


def test_a_line_a_model():
    setting = {"size": 64, "batch": [32, 8], "identities": 9, "frames": 8, "parallel": 2, "threads": 1}
    setting |= {"precision": "float32", "held_out": {"identities": 4, "frames": 8}}
    text = markdown(ROWS, setting, {"l1": order(ROWS, "l1")})
    line = (
        "| 20 keypoints, the whole model | 1,000 | 0 and 1 | 400 + 600 | 7.2 and 7.2 | 10.10 ± 0.10 | 10.67 |"
    )
    assert line in text.splitlines()
    assert text.count("| direct prediction |") == 2
    assert f"{PAPER['direct']['l1']:g}" in text
    assert (
        "Of 3 pairs that the paper tells apart 2 stand as there; of the 2 that all seeds tell apart 1."
        in text
    )


@pytest.mark.slow
def test_runs_of_two_steps(tmp_path):
    """With a pose and without; ended while they train, and started again: they go on where they were."""
    some = ("--models", "ours", "fomm", "--seeds", "3", "--parallel", "1")
    first = started(tmp_path, *some)
    runs = tmp_path / "runs"
    while not list(runs.glob("*/step-00000002.pt")) and first.poll() is None:
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 143, first.stdout.read()
    done = {path: path.stat().st_mtime_ns for path in runs.glob("*/step-00000002.pt")}
    again = started(tmp_path, *some)
    printed, _ = again.communicate(timeout=600)
    assert again.returncode == 0, printed
    for path, when in done.items():
        assert path.stat().st_mtime_ns == when, "it was made already"
        assert f"{path.parent.name}: 2 steps" not in printed
    results = json.loads((tmp_path / "results" / "ablation.json").read_text())
    for run, model in zip(results["runs"], ("ours", "fomm"), strict=True):
        assert (run["model"], run["seed"], run["steps"]) == (model, 3, [2, 2])
        assert run["minutes"] > 0
        scores = run["results"]["model"]
        posed = model == "ours"
        assert (scores["free_view"]["l1"] is not None) == (scores["yaw_check"] is not None) == posed
        assert 0 < run["akd"] < 64
        assert scores["cross_relative"]["l1"] > 0
        assert 0 < run["references"]["akd_true"] < run["references"]["akd_unchanged"]
    assert (tmp_path / "results" / "ablation.md").read_text().count("| 3 | 2 + 2 |") == 2
    assert (tmp_path / "results" / "ablation.png").read_bytes().startswith(b"\x89PNG")
