# SPDX-License-Identifier: Apache-2.0
"""One row of a frame's benches: timed beside another form, with its arithmetic, its floor and its memory."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import Any

import pytest
import torch
from floor import Floor
from frames import AROUND, WHOLE, Scene, Stage, config_of, reenactor_of
from measuring import DEVICE, SHORT, TINY, Run, flush, seconds, wall
from memory import held_at_most, process_peak_bytes, torch_peak_bytes
from pytest_benchmark.fixture import BenchmarkFixture

FEWER = 3  # rounds
FILM = 200  # frames
SLOW = 5.0  # seconds: a pair that takes longer gets fewer rounds


measured: list[dict[str, Any]] = []  # the rows of this run, as results have them, for the summary


def frame_row(benchmark: BenchmarkFixture, rounds: int, stage: Stage, beside: Stage, /, **about: Any) -> None:
    """Time `stage` in rounds with `beside` (`stage is beside` in its own row) and with its floor.

    `rounds` is --benchmark-min-rounds, at the most. `about` is recorded as it is; its `label` is what tables
    call the row.
    """
    stage.run()  # compiles, packs, loads
    peak = torch_peak_bytes(stage.run, DEVICE)
    alone = stage is beside
    floor = Floor(stage.calls)
    times: list[float] = []
    pair = seconds(stage.run, wall) + (0 if alone else seconds(beside.run, wall))

    def before() -> None:
        floor()
        if not alone:
            times.append(seconds(beside.run, wall))
        if pair < SHORT:  # warm, as a frame is after a frame
            stage.run()
        flush()

    fewer = min(FEWER, rounds) if alone or pair > SLOW else rounds
    benchmark.pedantic(stage.run, setup=before, rounds=fewer)
    if benchmark.stats is None:  # --benchmark-disable
        return
    took, least = benchmark.stats.stats.median, floor.seconds
    gflop = sum(call.gflop for call in stage.calls)
    benchmark.extra_info |= about | {
        "ratio": round(median(times) / took, 3) if times else 1.0,
        "gflop_before": _rounded(sum(call.gflop for call in beside.calls)),
        "gflop": _rounded(gflop),
        "GFLOP/s": _rounded(gflop / took),
        "floor": _rounded(least) if least else None,
        "GFLOP/s alone": _rounded(gflop / least) if least else None,
        "floor_share": _rounded(least / took) if least else None,
        "peak_bytes": peak,
    }
    if DEVICE == "cuda" and about.get("stage") == WHOLE:
        benchmark.extra_info["streamed"] = _streamed(stage.run)
    measured.append(
        {
            "group": benchmark.group,
            "name": benchmark.name,
            "fullname": benchmark.fullname,
            "stats": {"median": took},
            "extra_info": benchmark.extra_info,
        }
    )


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")


def _streamed(run: Run) -> float:
    """Seconds a call in a film, where the GPU need not wait for the host, nor the host for each frame."""
    return seconds(lambda: [run() for _ in range(FILM)], wall) / FILM


def frame_memory(preset: str, form: str) -> dict[str, int | None]:
    """What a process without a GPU holds at most, from its start to its second frame, and what they add.

    In a process of its own: loading counts, scratch that stays for the next call counts, and nothing else. It
    runs with glibc as it comes. One process holds a tenth more than the next all the same: the middle of
    three.
    """
    context = multiprocessing.get_context("spawn")
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MALLOC_")]:
            patch.delenv(name)
        for _ in range(1 if TINY else 3):
            with ProcessPoolExecutor(1, mp_context=context) as process:
                found.append(process.submit(_two_frames, preset, form).result())
    return sorted(found, key=lambda each: each["process_bytes"] or 0)[len(found) // 2]


def _two_frames(preset: str, form: str) -> dict[str, int | None]:
    with torch.inference_mode():
        reenactor = reenactor_of(config_of(preset), form)
        frame = AROUND[form](Scene(reenactor, 1).film())
        loading = held_at_most()
        grown = process_peak_bytes(lambda: [frame() for _ in range(2)])
        rendering = held_at_most()
    known = loading is not None and rendering is not None
    return {"process_peak_bytes": grown, "process_bytes": max(loading, rendering) if known else None}
