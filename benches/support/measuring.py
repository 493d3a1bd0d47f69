# SPDX-License-Identifier: Apache-2.0
"""One row of a bench: time beside its baseline's, its share of the machine's copy bandwidth, and its memory.

On a shared machine the same code runs at half speed a second later, so times taken a minute apart say little
about each other. Every round here is a pair, the baseline and then the row; the ratio is between the two
medians, and whatever slowed a round slowed both.

On a GPU an operator's row and its baseline are each captured in a CUDA graph and timed as replays, with the
L2 cache full of something else: kernels and memory are compared, not Python.
"""

import os
import time
from collections.abc import Callable
from functools import cache
from statistics import median
from typing import Any

import torch
from memory import process_peak_bytes, torch_peak_bytes
from pytest_benchmark.fixture import BenchmarkFixture

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TINY = "FV2V_TINY" in os.environ  # sizes that take no time, to see that every row runs
MOST_ROUNDS, SLOW_ROUNDS = 50, 3
SHORT = 0.25  # seconds a pair: shorter ones are timed warm, each at its second call in a row
ENDLESS = 2.0  # seconds: a row this slow gets one round; all it can show is that it is slow
LARGE = 2**30 if DEVICE == "cuda" else 2**22 if TINY else 2**28  # bytes: many times any cache

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
def large() -> torch.Tensor:
    return torch.ones(LARGE // 4, device=DEVICE)


def flush() -> None:
    """On a GPU: fill the L2 cache with other data, and give the host time to queue a round behind this one.

    By reading: lines that were written would have to be written back in the round's own time.
    """
    if DEVICE == "cuda":
        large().sum()


def wall() -> float:
    """Of the host, once the GPU has done its work: for what the host has a share in."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(run: Run, clock: Callable[[], Any] = clock) -> float:
    flush()
    start = clock()
    run()
    return clock() - start


@cache
def copy_bandwidth() -> float:
    """GB/s, read plus written, of a copy many times larger than the caches, on all threads; best of ten."""
    source = large()
    target = torch.zeros_like(source)
    return 2 * LARGE / min(seconds(lambda: target.copy_(source)) for _ in range(10)) / 1e9


def replay(run: Run) -> Run | None:
    """`run` as one launch of a CUDA graph; None where that can't be: on a CPU, or if it waits for the GPU."""
    if DEVICE != "cuda":
        return None
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # the side stream's own first call stays out of the graph
        run()
    torch.cuda.current_stream().wait_stream(stream)
    try:
        with torch.cuda.graph(graph):
            run()
    except RuntimeError:
        torch.cuda.synchronize()
        return None
    return graph.replay


def time_beside(
    benchmark: BenchmarkFixture,
    run: Run,
    baseline: Run,
    moved: int | None,
    *,
    max_time: float,
    min_rounds: int,
    replayed: bool = False,
) -> None:
    """Time `run` in pairs with `baseline`, and record what `fv2v bench` prints.

    Args:
        benchmark: its rounds are those of `run`; `run is baseline` is the baseline's own row.
        moved: bytes that no implementation can avoid moving: each input and each result once. None where
            that says nothing, and is not recorded.
        max_time, min_rounds: --benchmark-max-time, seconds of pairs a row, and --benchmark-min-rounds. A pair
            longer than max_time gets three rounds at most.
        replayed: on a GPU, time both as replays of CUDA graphs, or neither where one can't be captured.
    """
    alone = run is baseline
    run()  # compiles, packs, loads
    peak = torch_peak_bytes(run, DEVICE)
    process_peak = process_peak_bytes(run) if DEVICE == "cpu" else None
    if replayed:
        graphs = [replay(each) for each in ([run] if alone else [run, baseline])]
        replayed = None not in graphs
        if replayed:
            run, baseline = graphs[0], graphs[-1]
    own = seconds(run)
    other = 0.0 if alone else seconds(baseline)
    pair = own + other
    rounds = max(min_rounds, min(MOST_ROUNDS, int(max_time / pair)))
    if pair > max_time:
        rounds = 1 if own > ENDLESS else min(min_rounds, SLOW_ROUNDS)
    beside: list[float] = []

    def before() -> None:
        if not alone:
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
    if moved is not None:
        bandwidth = moved / took / 1e9
        benchmark.extra_info |= {
            "moved_bytes": moved,
            "GB/s": round(bandwidth, 2),
            "share": round(bandwidth / copy_bandwidth(), 4),
        }
    benchmark.extra_info |= {
        "ratio": round(median(beside) / took, 3) if beside else 1.0,
        "peak_bytes": peak,
        "process_peak_bytes": process_peak,
        "replayed": replayed,
    }
