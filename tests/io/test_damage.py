# SPDX-License-Identifier: Apache-2.0
"""Damaged H.264: told, counted and timed where it is rendered, refused where it would teach."""

from pathlib import Path

import av
import clips
import numpy as np
import odd_files
import pytest

from fv2v.io.random_access import read_frames
from fv2v.io.video import read_video

FRAMES = 40


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return clips.moving_picture(clips.portrait(), FRAMES, size=128)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory) -> Path:
    return clips.write_clip(tmp_path_factory.mktemp("clip") / "whole.mp4", images, options={"g": "10"})


@pytest.mark.parametrize("places", [[10], [30], [10, 20, 30]], ids=str)
def test_damaged_frames_are_counted_and_timed(tmp_path, whole, places):
    path = whole
    for place in places:
        path = odd_files.damaged_at(path, tmp_path / f"{place}.mp4", place)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    reader = read_video(path)
    assert sum(1 for _ in reader) == FRAMES
    assert reader.damaged == [packets[place].pts for place in places]
    times = ", ".join(f"{float((tick - reader.pts[0]) * reader.time_base):.2f}" for tick in reader.damaged)
    frames = "1 damaged frame" if len(places) == 1 else f"{len(places)} damaged frames"
    assert f"{path.name}: {frames}, at {times} s; what is shown from there" in reader.note_on_damage
    assert len(list(read_video(path, frames=3))) == 3
    with pytest.raises(ValueError, match=r"expected no damaged frame \(strict\), got one at \d\.\d\d s"):
        list(read_video(path, strict=True))


def test_frames_that_are_damaged_are_not_given_one_by_one(tmp_path, whole):
    """Nor those that build on them; all others are, and are right."""
    path = odd_files.damaged_at(whole, tmp_path / "damaged.mp4", 20)  # the third keyframe
    right = list(read_video(whole))
    for number in (0, 7, 19):
        np.testing.assert_array_equal(read_frames(path, lambda count, n=number: [n])[0], right[number])
    for number in (20, 21, 25, 29):
        with pytest.raises(ValueError, match=r"damaged\.mp4: damaged"):
            read_frames(path, lambda count, n=number: [n])


def test_most_flipped_bits_are_told(tmp_path, images):
    """Of clips that look wrong; benches/bench_damage.py has the share of a hundred."""
    whole = clips.write_clip(tmp_path / "whole.mp4", images[:12], options={"g": "20"})
    right = {frame.pts: frame.to_ndarray(format="rgb24").astype(int) for frame in _frames(whole)}
    rng = np.random.default_rng(0)
    wrong = told = 0
    for _ in range(20):
        (tmp_path / "flipped.mp4").write_bytes(odd_files.flip_bits(whole, 4, rng))
        try:
            reader = read_video(tmp_path / "flipped.mp4")
            frames = list(reader)
        except ValueError:
            wrong, told = wrong + 1, told + 1
            continue
        if max(np.abs(right[tick] - frame).max() for tick, frame in zip(reader.pts, frames, strict=True)) > 8:
            wrong, told = wrong + 1, told + bool(reader.damaged)
    assert wrong > 15
    assert told >= 0.9 * wrong


@pytest.mark.parametrize("name", odd_files.ENCODERS)
def test_undamaged_files_raise_no_alarm(tmp_path, images, name):
    path = odd_files.encoded(tmp_path / "in", images[:25], name)
    reader = read_video(path, strict=True)
    assert sum(1 for _ in reader) == 25
    assert reader.note_on_damage is None
    if "refresh" not in name and path.suffix != ".asf":  # where single frames cannot be had
        assert len(read_frames(path, lambda count: [count // 2, count - 1])) == 2


def _frames(path: Path):
    with av.open(str(path)) as container:
        yield from container.decode(video=0)
