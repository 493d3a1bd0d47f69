# SPDX-License-Identifier: Apache-2.0
"""Training pairs that one worker reads, and what the way that videos are kept is worth.

A round is a batch of pairs of 256 x 256 pixels, read in this process on one thread, as a worker does it;
`frames/s` is what a worker delivers, two frames a pair. A frame of a video is decoded from the keyframe
before it, so the fewer frames lie between keyframes the better; pictures need none of that, and more space
(`MB`). The baseline decodes the original clips from their first frame to their 200th, on as many threads as
FFmpeg likes, for each pair. FV2V_MEDIA=folder takes the clips there; without it the tests' portrait is moved
about.
"""

import os
import shutil
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from statistics import median

import clips
import cv2
import numpy as np
import pytest
import torch
from measuring import TINY
from pytest_benchmark.fixture import BenchmarkFixture

from fv2v.data.augment import AugmentConfig
from fv2v.data.loader import pair_loader
from fv2v.data.videos import VideoFolder
from fv2v.face.crop import cut, middle_square
from fv2v.io.image import write_image
from fv2v.io.video import read_video

SIZE, FRAMES, BATCH, ROUNDS = (32, 10, 2, 1) if TINY else (256, 200, 8, 5)
KEPT = ("as they are", "a keyframe every 250", "a keyframe every 12", "jpg", "png")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    if "FV2V_MEDIA" in os.environ:
        return sorted(Path(os.environ["FV2V_MEDIA"]).glob("*.mp4"))
    images = clips.moving_picture(clips.portrait(), FRAMES, size=2 * SIZE)
    return [clips.write_clip(tmp_path_factory.mktemp("clips") / "portrait.mp4", images)]


@pytest.fixture(scope="module", params=KEPT)
def folder(request: pytest.FixtureRequest, originals: list[Path], tmp_path_factory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("videos")
    for original in originals:
        if request.param == "as they are":
            shutil.copy(original, folder)
            continue
        crops = [cut(frame, middle_square(frame), SIZE) for frame in islice(read_video(original), FRAMES)]
        keep(crops, folder / original.stem, request.param)
    yield folder
    shutil.rmtree(folder)


def keep(crops: list[np.ndarray], path: Path, how: str) -> None:
    if how in ("jpg", "png"):
        path.mkdir()
        for number, crop in enumerate(crops):
            write_image(path / f"{number:07d}.{how}", crop)
    else:
        clips.write_clip(path.with_suffix(".mp4"), np.stack(crops), options={"g": how.split()[-1]})


def in_order(original: Path) -> None:
    """A pair, without any seeking."""
    frames = list(islice(read_video(original), FRAMES))
    for frame in (frames[0], frames[-1]):
        cut(frame, middle_square(frame), SIZE)


@pytest.mark.parametrize("augmented", [False, True], ids=["plain", "augmented"])
def test_pairs(benchmark: BenchmarkFixture, folder: Path, originals: list[Path], augmented: bool) -> None:
    data, steps = VideoFolder(folder, SIZE), count()
    augment = AugmentConfig() if augmented else None
    beside: list[float] = []

    def batch() -> None:
        next(pair_loader(data, batch=BATCH, seed=0, steps=1, first_step=next(steps), augment=augment))

    def before() -> None:
        started = time.perf_counter()
        in_order(originals[len(beside) % len(originals)])
        beside.append(BATCH * (time.perf_counter() - started))

    batch()  # loads
    benchmark.group = f"{BATCH} training pairs of {SIZE}"
    benchmark.pedantic(batch, setup=before, rounds=ROUNDS)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    benchmark.extra_info["MB"] = round(size / 1e6, 3)
    if benchmark.stats is not None:  # --benchmark-disable
        took = benchmark.stats.stats.median
        benchmark.extra_info["frames/s"] = round(2 * BATCH / took, 1)
        benchmark.extra_info["ratio"] = round(median(beside) / took, 3)
