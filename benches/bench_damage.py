# SPDX-License-Identifier: Apache-2.0
"""Damage in films: how much of it is told, whether it is told of sound ones, and what the looking costs.

Bits are flipped in the H.264 data of a clip, one to sixteen in each of 100 copies. A copy is wrong where a
frame differs from the whole clip's by more than `VISIBLE` levels anywhere; it is told where reading it ends
in an error or marks a frame as damaged. `told` is the share of the wrong ones. `false alarms` counts the
sound `files` by an encoder, of which anything is told. `cost` is what decoding by `read_video` takes, in
seconds of all cores, to what PyAV alone takes without a look at damage: the mean of `ROUNDS` pairs, and its
standard error. The tests' portrait is moved about.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import clips
import cv2
import numpy as np
import odd_files
import pytest
from measuring import TINY
from pytest_benchmark.fixture import BenchmarkFixture

from fv2v.io.display import Display
from fv2v.io.video import read_video

SIZES = (64,) if TINY else (256, 512)
FRAMES, COPIES, SOUND, ROUNDS = (6, 3, 1, 2) if TINY else (48, 100, 13, 60)
DECODED = 5 * FRAMES  # enough that opening the file does not count
VISIBLE = 8  # levels


@pytest.fixture(scope="module", params=SIZES)
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moving(tmp_path_factory.mktemp("clip") / f"{request.param}.mp4", FRAMES, request.param)


def moving(path: Path, frames: int, size: int) -> Path:
    images = clips.moving_picture(clips.portrait(), frames, size=size)
    return clips.write_clip(path, images, options={"g": "24"})


def test_flipped_bits(benchmark: BenchmarkFixture, clip: Path, tmp_path: Path) -> None:
    whole = list(read_video(clip))
    rng = np.random.default_rng(0)
    copies = [tmp_path / f"{number}.mp4" for number in range(COPIES)]
    for number, copy in enumerate(copies):
        copy.write_bytes(odd_files.flip_bits(clip, 1 << number % 5, rng))
    found: list[tuple[bool, bool]] = []

    def look() -> None:
        found[:] = [wrong_and_told(copy, whole) for copy in copies]

    benchmark.group = f"{COPIES} copies with flipped bits, {clip.stem} pixels"
    benchmark.pedantic(look, rounds=1)
    told = [is_told for is_wrong, is_told in found if is_wrong]
    benchmark.extra_info["wrong"] = len(told)
    benchmark.extra_info["told"] = round(sum(told) / max(1, len(told)), 3)


def wrong_and_told(path: Path, whole: list[np.ndarray]) -> tuple[bool, bool]:
    try:
        reader = read_video(path)
        frames = list(reader)
    except ValueError:
        return True, True
    most = max(int(cv2.absdiff(frame, right).max()) for frame, right in zip(frames, whole, strict=False))
    return most > VISIBLE or len(frames) < len(whole), bool(reader.damaged)


@pytest.mark.parametrize("encoder", odd_files.ENCODERS)
def test_sound_files(benchmark: BenchmarkFixture, tmp_path: Path, encoder: str) -> None:
    sizes = [64 + 16 * number for number in range(SOUND)]
    images = [clips.moving_picture(clips.portrait(), FRAMES // 2, size=size) for size in sizes]
    files = [odd_files.encoded(tmp_path / f"{len(each[0])}", each, encoder) for each in images]
    alarms: list[Path] = []

    def look() -> None:
        readers = [read_video(path) for path in files]
        alarms[:] = [r.path for r in readers if sum(1 for _ in r) != FRAMES // 2 or r.damaged]

    benchmark.group = "sound files"
    benchmark.pedantic(look, rounds=1)
    benchmark.extra_info["files"] = len(files)
    benchmark.extra_info["false alarms"] = len(alarms)


@pytest.mark.parametrize("size", SIZES)
def test_decoding(benchmark: BenchmarkFixture, size: int, tmp_path: Path) -> None:
    clip = moving(tmp_path / "clip.mp4", DECODED, size)
    reader = read_video(clip)
    plain: list[float] = []
    looking: list[float] = []

    def before() -> None:
        plain.append(processor_seconds(plainly(clip)))

    def read() -> None:
        looking.append(processor_seconds(reader))

    benchmark.group = f"decoding {DECODED} frames of {size} pixels"
    benchmark.pedantic(read, setup=before, rounds=ROUNDS)
    costs = np.log(np.array(looking) / plain)
    benchmark.extra_info["cost"] = round(float(np.exp(costs.mean())), 3)
    benchmark.extra_info["standard_error"] = round(float(costs.std(ddof=1) / len(costs) ** 0.5), 3)


def processor_seconds(frames: Iterable[np.ndarray]) -> float:
    started = time.process_time()
    for _ in frames:
        pass
    return time.process_time() - started


def plainly(path: Path) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        display = Display(stream)
        for frame in container.decode(stream):
            yield display(frame)
