"""One row of a bench: time beside its baseline's, and the memory it takes.

On a shared machine the same code runs at half speed a second later, so times taken a minute apart say little
about each other. Every round here is a pair, the baseline and then the row; the ratio is between the two
medians, and whatever slowed a round slowed both.
"""

import json
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.profiler import ProfilerActivity, profile

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MOST_ROUNDS, SLOW_ROUNDS = 50, 3
SHORT = 0.25  # seconds a pair: shorter ones are timed warm, each at its second call in a row
ENDLESS = 2.0  # seconds: a row this slow gets one round; all it can show is that it is slow

Run = Callable[[], Any]


class Stamp:
    """A moment on the GPU's own clock. `end - start` waits for `end` and gives seconds."""

    def __init__(self) -> None:
        self.event = torch.cuda.Event(enable_timing=True)
        self.event.record()

    def __sub__(self, start: "Stamp") -> float:
        self.event.synchronize()
        return start.event.elapsed_time(self.event) * 1e-3


clock: Callable[[], Any] = Stamp if DEVICE == "cuda" else time.perf_counter


@cache
def scratch() -> torch.Tensor:
    return torch.empty(2**30, dtype=torch.uint8, device=DEVICE)


def flush() -> None:
    """On a GPU: empty the L2 cache, and give the host time to queue a round's launches behind this one."""
    if DEVICE == "cuda":
        scratch().zero_()


def seconds(run: Run) -> float:
    flush()
    start = clock()
    run()
    return clock() - start


def time_beside(
    benchmark: BenchmarkFixture, run: Run, baseline: Run, moved: int, *, max_time: float, min_rounds: int
) -> None:
    """Time `run` in pairs with `baseline`, and record what `fv2v bench` prints.

    Args:
        benchmark: its rounds are those of `run`; `run is baseline` is the baseline's own row.
        moved: bytes that no implementation can avoid moving: each input and each result once.
        max_time, min_rounds: --benchmark-max-time, seconds of pairs a row, and --benchmark-min-rounds. A pair
            longer than max_time gets three rounds at most.
    """
    run()  # compiles, packs, loads
    peak, own = peak_bytes(run)
    other = 0.0 if run is baseline else seconds(baseline)
    pair = own + other
    rounds = max(min_rounds, min(MOST_ROUNDS, int(max_time / pair)))
    if pair > max_time:
        rounds = 1 if own > ENDLESS else min(min_rounds, SLOW_ROUNDS)
    beside: list[float] = []

    def before() -> None:
        if run is not baseline:
            if pair < SHORT:
                baseline()
            beside.append(seconds(baseline))
        if pair < SHORT:
            run()
        flush()

    benchmark.pedantic(run, setup=before, rounds=rounds)
    if benchmark.stats is None:  # --benchmark-disable
        return
    took = benchmark.stats.stats.median
    benchmark.extra_info |= {
        "moved_bytes": moved,
        "GB/s": round(moved / took / 1e9, 2),
        "ratio": round(median(beside) / took, 3) if beside else 1.0,
        "peak_bytes": peak,
    }


def peak_bytes(run: Run) -> tuple[int, float]:
    """The most memory one call holds at a time beyond what was held before it, and the seconds it took.

    It counts what is allocated through torch (results, intermediates, gradients); on a CPU not the scratch
    that oneDNN or a C++ kernel takes from malloc.
    """
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        took = seconds(run)
        return torch.cuda.max_memory_allocated() - held, took
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        took = seconds(run)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    allocations = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]")
    held = peak = 0
    for _, size in allocations:  # negative where memory is freed
        held += size
        peak = max(peak, held)
    return peak, took
