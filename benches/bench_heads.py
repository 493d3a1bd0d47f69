"""How fast heads are drawn, on one thread: `fv2v synthesize` runs a process of one thread on each core.

`frames_per_s` is what matters; `processor_s` a frame says more on a machine that others use too.
"""

import time

import numpy as np
import pytest
import torch
from measuring import DEVICE, TINY, wall

from fv2v.data.heads import Expression, Identity, Pose, render

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
