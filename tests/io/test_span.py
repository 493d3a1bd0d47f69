# SPDX-License-Identifier: Apache-2.0
"""A part of a film: the frames that lie in it, as in the whole film, and the sound that belongs to them."""

from fractions import Fraction

import clips
import numpy as np
import pytest
from output_files import packets

from fv2v.io.timing import Span, Timing
from fv2v.io.video import read_video, write_video

FRAMES = 90
GOP = {"g": "30", "bf": "3"}  # frames from one keyframe to the next, shown in another order than decoded


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return clips.moving_picture(clips.portrait(), FRAMES, size=64)


@pytest.fixture(scope="module", params=["in.mp4", "in.mkv", "in.ts", "late.mp4", "late.ts"])
def film(request, images, tmp_path_factory):
    first = 7 if request.param.startswith("late") else 0
    ticks = [90_000 * first + each for each in clips.uneven_pts(FRAMES)]
    path = tmp_path_factory.mktemp("film") / request.param
    return clips.write_clip(path, images, pts=ticks, audio="aac", audio_start=first, options=GOP)


@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [
        (None, 1.3, None),
        (0.01, None, None),
        (1.7, 2.9, None),
        (2.5, None, 4),
        (3.3, None, None),
        (0, 9, None),
    ],
)
def test_its_frames_are_those_of_the_whole(film, start, end, frames):
    whole = read_video(film)
    pictures = list(whole)
    times = np.array(whole.pts) * whole.time_base
    inside = (times - times[0] >= Fraction(str(start or 0))) & (times - times[0] < Fraction(str(end or 99)))
    expected = np.flatnonzero(inside)[:frames]
    reader = read_video(film, start=start, end=end, frames=frames)
    for _ in range(2):
        made = list(reader)
        assert reader.pts == [whole.pts[i] for i in expected]
        assert len(made) == len(expected) > 0
        assert all(np.array_equal(a, pictures[i]) for a, i in zip(made, expected, strict=True))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_picture_and_sound_stay_together(film, tmp_path, suffix):
    """Each packet of sound comes as long after the first picture as in the source, or is not there."""
    reader = read_video(film, start=1.2, end=2.4)
    output = tmp_path / f"out{suffix}"
    count = write_video(output, reader, like=reader)
    made = read_video(output)
    assert sum(1 for _ in made) == count == len(reader.pts)
    np.testing.assert_allclose(np.array(made.times), np.array(reader.times) - reader.times[0], atol=0.001)
    begin, end = reader.times[0], reader.end
    expected = [(t - begin, data) for t, data in packets(film) if begin <= t < end]
    written = packets(output)
    assert [data[-50:] for _, data in written] == [data[-50:] for _, data in expected]  # ADTS has headers
    np.testing.assert_allclose([t for t, _ in written], [t for t, _ in expected], atol=0.0015)


def test_motion_of_a_part_takes_its_sound(film, images, tmp_path):
    """As `extract --start` and then `render --sound` do."""
    reader = read_video(film, start=1.2)
    pictures = list(reader)
    write_video(tmp_path / "out.mp4", pictures, like=reader.timing, sound=film)
    write_video(tmp_path / "same.mp4", reader, like=reader)
    same = packets(tmp_path / "same.mp4")
    assert packets(tmp_path / "out.mp4")[: len(same) - 2] == same[:-2]


def test_a_part_that_cannot_be_is_refused(film):
    for wrong, message in (
        ({"start": -1}, "start: expected seconds from 0"),
        ({"end": float("nan")}, "end: expected seconds from 0"),
        ({"start": 2, "end": 2}, "expected an end after the start"),
        ({"end": 0}, "expected an end after the start"),
        ({"frames": 0}, "expected at least 1 frame"),
        ({"start": 60}, "expected frames from 60 s to the end, the video has none there"),
    ):
        with pytest.raises(ValueError, match=message):
            read_video(film, **wrong)


def test_the_length_foreseen_is_about_right():
    rate = Fraction(25)
    assert Span().length(100, rate) == 100
    assert Span(start=1).length(100, rate) == 75
    assert Span(1, 2).length(100, rate) == 25
    assert Span(1, 2, 7).length(None, rate) == 7
    assert Span(1).length(None, rate) is None


def test_frames_of_a_timing():
    timing = Timing(tuple(range(50, 60)), Fraction(1, 10), Fraction(10))
    assert Span(0.2, 0.6).of(timing) == slice(2, 6)
    assert Span(0.2, None, 3).of(timing) == slice(2, 5)
    assert timing.part(slice(2, 5)).pts == (52, 53, 54)
    with pytest.raises(ValueError, match="expected frames from 1 s to the end, there are none"):
        Span(1).of(timing)
