# SPDX-License-Identifier: Apache-2.0
"""How fast heads are drawn, on one thread: `fv2v synthesize` runs a process of one thread on each core.

`frames_per_s` is what matters; `processor_s` a frame says more on a machine that others use too.
"""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from measuring import DEVICE, TINY, wall

from fv2v.data.synthetic import Expression, Identity, Pose, render

SIZES = (16,) if TINY else (64, 128, 256)
FRAMES = 2 if TINY else 64 if DEVICE == "cuda" else 12


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("size", SIZES)
def test_render(benchmark, capsys, size):
    rng = np.random.default_rng(0)
    what = Identity.sample(rng, FRAMES), Expression.sample(rng, FRAMES), Pose.sample(rng, FRAMES)
    heads = [each.to(DEVICE) for each in what]
    spent: list[float] = []

    def drawn() -> None:
        wall()
        started = time.process_time()
        render(*heads, size)
        wall()
        spent.append((time.process_time() - started) / FRAMES)

    benchmark.group = f"heads, {FRAMES} of them"
    benchmark.pedantic(drawn, rounds=3, warmup_rounds=1)
    benchmark.extra_info["processor_s"] = round(min(spent), 4)
    if benchmark.stats is not None:  # --benchmark-disable
        rate = FRAMES / benchmark.stats.stats.median
        benchmark.extra_info["frames_per_s"] = round(rate, 2)
        with capsys.disabled():
            print(
                f"\n{size} x {size}: {rate:.1f} frames a second, {min(spent):.3f} processor seconds a frame"
            )


@pytest.mark.parametrize("size", [16 if TINY else 128])
def test_synthesize(benchmark, capsys, tmp_path, size):
    """`fv2v synthesize` as it runs: a process a core. Their start is in it."""
    identities, frames = (2, 2) if TINY else (64, 8)
    cores = len(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "fv2v", "synthesize", "-o", str(tmp_path / "heads")]
    for name, value in (("identities", identities), ("frames", frames), ("size", size), ("workers", cores)):
        command += [f"--{name}", str(value)]
    benchmark.group = f"heads, {identities * frames} of them on {cores} cores"
    benchmark.pedantic(subprocess.run, (command,), {"check": True, "capture_output": True}, rounds=1)
    if benchmark.stats is not None:  # --benchmark-disable
        rate = identities * frames / benchmark.stats.stats.median
        benchmark.extra_info["frames_per_s"] = round(rate, 2)
        with capsys.disabled():
            print(f"\n{size} x {size}, {cores} processes: {rate:.1f} frames a second")
