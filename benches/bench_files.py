# SPDX-License-Identifier: Apache-2.0
"""A whole file with `vox-256`, decode to encode, beside its networks alone; and what batches are worth.

The ratio of the file's row is the networks' time alone, on the same frames, cropped before, to the whole
file's: 1 is a file that costs what its networks cost. `stages` are the seconds that each part took; parts run
at the same time. Of batches the ratio is to frames one by one. `processor_s`, seconds of all cores together,
says more on a machine that others use too. Weights are random: they cost what trained ones cost.
FV2V_MEDIA=folder takes a real clip from there; without it the tests' portrait is moved about.
"""

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median

import clips
import numpy as np
import pytest
from frames import config_of
from measuring import DEVICE, Run
from pytest_benchmark.fixture import BenchmarkFixture

from fv2v.face.find import find_first_face
from fv2v.face.steady_crop import SteadyCrop
from fv2v.io.video import read_video
from fv2v.pipelines.reenact import reenact
from fv2v.reenactor import Reenactor

FRAMES = 300 if DEVICE == "cuda" else 12
BATCHED = 64 if DEVICE == "cuda" else 4
BATCHES = (1, 2, 4, 8, 16) if DEVICE == "cuda" else (1, 2, 4)
FILE_BATCHES = (1, 8) if DEVICE == "cuda" else (1,)
ROUNDS = 3 if DEVICE == "cuda" else 1


@pytest.fixture(scope="module")
def driving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if "FV2V_MEDIA" in os.environ:
        return clips.real("talk_480_30fps.mp4")
    images = clips.moving_picture(clips.portrait(), FRAMES, size=480)
    return clips.write_clip(tmp_path_factory.mktemp("clip") / "driving.mp4", images, audio="aac")


@pytest.fixture(scope="module")
def reenactor() -> Reenactor:
    dtype = "float16" if DEVICE == "cuda" else "float32"
    return Reenactor(config_of("vox-256"), weights="random", device=DEVICE, dtype=dtype)


@pytest.fixture(scope="module")
def crops(driving: Path, reenactor: Reenactor) -> list[np.ndarray]:
    """The file's frames as the networks get them."""
    reader = read_video(driving, frames=FRAMES)
    return list(SteadyCrop(reader, find_first_face(reader), reenactor.config.image_size))


@pytest.fixture
def in_pairs(benchmark: BenchmarkFixture) -> Callable[[Run, Run], None]:
    """in_pairs(run, baseline): each round times the baseline and then `run`; the ratio is of the medians."""

    def _in_pairs(run: Run, baseline: Run) -> None:
        beside: list[float] = []
        spent: list[float] = []

        def before() -> None:
            started = time.perf_counter()
            baseline()
            beside.append(time.perf_counter() - started)

        def counted() -> None:
            started = time.process_time()
            run()
            spent.append(time.process_time() - started)

        benchmark.pedantic(counted, setup=before, rounds=ROUNDS)
        benchmark.extra_info["processor_s"] = round(median(spent), 3)
        if benchmark.stats is not None:  # --benchmark-disable
            benchmark.extra_info["ratio"] = round(median(beside) / benchmark.stats.stats.median, 3)

    return _in_pairs


@pytest.mark.parametrize("batch_size", FILE_BATCHES)
def test_whole_file(benchmark, in_pairs, reenactor, driving, crops, tmp_path, capsys, batch_size):
    reports = []

    def whole() -> None:
        how = {"reenactor": reenactor, "frames": FRAMES, "batch_size": batch_size}
        reports.append(reenact(clips.PORTRAIT, driving, tmp_path / "out.mp4", **how))

    def networks() -> None:
        list(reenactor.animate(reenactor.encode(portrait), crops, batch_size=batch_size))

    portrait = clips.crop_face(clips.portrait(), reenactor.config.image_size)
    list(reenactor.animate(reenactor.encode(portrait), crops[:batch_size], batch_size=batch_size))  # warm
    benchmark.group = f"vox-256, a file of {len(crops)} frames"
    in_pairs(whole, networks)
    benchmark.extra_info["stages"] = {name: round(s, 3) for name, s in asdict(reports[-1].stages).items()}
    ratio = benchmark.extra_info.get("ratio")
    with capsys.disabled():
        print(f"\n{reports[-1]}" + (f"; {1 / ratio:.3f} x its networks alone" if ratio else ""))


@pytest.mark.parametrize("batch_size", BATCHES)
def test_batches(benchmark, in_pairs, reenactor, crops, batch_size):
    source = reenactor.encode(clips.portrait())
    frames = crops[:BATCHED]
    list(reenactor.animate(source, frames[:batch_size], batch_size=batch_size))  # warm
    benchmark.group = f"vox-256, {len(frames)} frames in batches"
    in_pairs(
        lambda: list(reenactor.animate(source, frames, batch_size=batch_size)),
        lambda: list(reenactor.animate(source, frames)),
    )
