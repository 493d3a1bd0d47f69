# SPDX-License-Identifier: Apache-2.0
"""Live use: what is dropped, in which order pictures come and how late; several sources in a batch."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from streaming import Held, shown
from tiny import SEEING, TINY_SADTALKER, assert_frames_close, encoded, lively, pictures
from waiting import no_thread_left

from fv2v import Reenactor, Source, Stream, View
from fv2v.io.tensors import to_uint8
from fv2v.motion.smoothing import SteadyMotion


@pytest.fixture(autouse=True)
def watched_threads() -> Iterator[None]:
    with no_thread_left():
        yield


@pytest.fixture(scope="module")
def reenactors() -> dict[str, Reenactor]:
    return {config.name: lively(Reenactor(config, weights="random")) for config in SEEING}


@pytest.fixture(scope="module")
def tiny(reenactors) -> Reenactor:
    return reenactors["tiny"]


@pytest.fixture(params=[config.name for config in SEEING])
def reenactor(request, reenactors) -> Reenactor:
    return reenactors[request.param]


@pytest.mark.parametrize("relative", [True, False])
def test_a_slow_source_loses_nothing_and_gets_what_animate_makes(reenactor, relative):
    source, frames = encoded(reenactor), pictures(5, seed=1)
    expected = list(reenactor.animate(source, frames, relative=relative, view=View(yaw=20)))
    with Stream(reenactor, source, relative=relative, view=View(yaw=20), steady=None) as stream:
        got = [shown(stream, frame) for frame in frames]
    assert_frames_close([picture.image for picture in got], expected)
    assert [picture.number for picture in got] == list(range(5))
    report = stream.report()
    assert (report.pushed, report.shown, report.dropped, report.unseen) == (5, 5, 0, 0)
    assert 0 < report.p50 <= report.p95 <= report.p99 <= report.longest
    assert report.longest == max(picture.latency for picture in got)


def test_too_fast_a_source_loses_the_oldest_frames(tiny):
    held, frames = Held(pictures(1)[0]), pictures(5, seed=1)
    with Stream(tiny, encoded(tiny), queue=2, steady=None) as stream:
        stream.push(held, time=0.5)
        assert held.taken.wait(timeout=60)
        for number, frame in enumerate(frames, start=1):
            assert stream.push(frame, time=number + 0.5) == number
        assert stream.get(timeout=0) is None
        held.let_go.set()
        got = [stream.get() for _ in range(3)]
        assert [(picture.number, picture.time) for picture in got] == [(0, 0.5), (4, 4.5), (5, 5.5)]
        assert stream.get(timeout=0.01) is None
    expected = list(tiny.animate(encoded(tiny), [held.picture, *frames[3:]]))
    assert_frames_close([picture.image for picture in got], expected)
    assert str(stream).startswith("6 frames pushed, 3 shown, 3 dropped; latency ")


def test_latency_stays_bounded_however_fast_frames_come(tiny):
    """Counted in pictures: no more than queue + 1 come out between a frame's push and its own picture."""
    queue, got = 2, []
    stream = Stream(tiny, encoded(tiny), queue=queue)
    reader = threading.Thread(target=lambda: got.extend(stream))
    reader.start()
    frames = pictures(4, seed=1)
    for number in range(500):
        stream.push(frames[number % 4])
        time.sleep(0.001)
    stream.close()
    reader.join()
    report = stream.report()
    assert report.pushed == 500
    assert report.dropped > 250, "the source was no faster than the networks"
    assert report.shown == len(got) > 3
    assert report.pushed == report.shown + report.dropped + report.unseen
    numbers = [picture.number for picture in got]
    assert numbers == sorted(set(numbers))
    ready = [picture.time + picture.latency for picture in got]
    for picture, done in zip(got, ready, strict=True):
        assert sum(picture.time < other <= done for other in ready) <= queue + 1
    print(stream)


def test_pictures_nobody_gets_make_room_for_newer_ones(tiny):
    with Stream(tiny, encoded(tiny), queue=2) as stream:
        for picture in pictures(5, seed=1):
            frame = Held(picture)
            frame.let_go.set()
            stream.push(frame)
            assert frame.taken.wait(timeout=60)
    assert [picture.number for picture in stream] == [3, 4]
    assert stream.report().unseen == 3
    assert "2 shown, 0 dropped, 3 rendered and not asked for" in str(stream)


def test_the_view_changes_while_live(tiny):
    source, frames = encoded(tiny), pictures(4, seed=1)
    views = [None, View(yaw=30), View(yaw=30, mode="replace"), View()]
    images = []
    with Stream(tiny, source, steady=None) as stream:
        for view, frame in zip(views, frames, strict=True):
            stream.view = view
            images.append(shown(stream, frame).image)
        assert stream.view == View()
    expected = list(tiny.animate(source, frames, view=[view or View() for view in views]))
    assert_frames_close(images, expected)
    assert not np.array_equal(images[1], next(tiny.animate(source, frames[1:2])))


def test_options_are_those_of_animate(reenactors):
    reenactor = reenactors["tiny-vox"]
    source, frames = encoded(reenactor), pictures(3, seed=1)
    for options in ({"anchor": reenactor.extract(frames[2])}, {"adapt_scale": True}):
        with Stream(reenactor, source, relative=True, steady=None, **options) as stream:
            images = [shown(stream, frame).image for frame in frames]
        assert_frames_close(images, list(reenactor.animate(source, frames, relative=True, **options)))
    stitched = reenactors["tiny-liveportrait"]
    source = encoded(stitched)
    with Stream(stitched, source, stitch=False, steady=None) as stream:
        images = [shown(stream, frame).image for frame in frames]
    assert_frames_close(images, list(stitched.animate(source, frames, stitch=False)))
    assert not np.array_equal(images, list(stitched.animate(source, frames)))


@pytest.mark.parametrize("drivers", [1, 2])
@pytest.mark.parametrize("name", ["tiny-spade", "tiny-liveportrait"])
def test_motion_is_made_steady_by_the_frames_times_unless_told_otherwise(reenactors, name, drivers):
    """Each driver's own; a time that stands still counts as a frame of 25 a second."""
    reenactor = reenactors[name]
    rows = [pictures(4, seed=driver) for driver in range(drivers)]
    times = [5.0, 5.5, 5.5, 5.6]
    sources = sources_of(reenactor, drivers)
    with Stream(reenactor, sources) as stream:
        images = []
        for frame, time_taken in zip(zip(*rows, strict=True), times, strict=True):
            stream.push(list(frame), time_taken)
            images.append(stream.get().images)
    for driver, frames in enumerate(rows):
        steady = SteadyMotion()
        motions = [
            steady.step(reenactor.extract(frame), seconds)
            for frame, seconds in zip(frames, [None, 0.5, None, 0.1], strict=True)
        ]
        relative = reenactor.config.geometry.relative
        expected = [
            to_uint8(reenactor.render(sources[driver], motion, motions[0] if relative else None))
            .cpu()
            .numpy()[0]
            for motion in motions
        ]
        assert_frames_close([each[driver] for each in images], expected)
        shaken = streamed(reenactor, sources[driver], frames)[:, 0]
        assert np.abs(shaken.astype(int) - expected).max() > 1, "the test would see no filter"


def sources_of(reenactor: Reenactor, count: int) -> list[Source]:
    return [reenactor.encode(picture) for picture in pictures(count)]


def streamed(reenactor: Reenactor, source: Any, frames: Sequence[Any], **options: Any) -> np.ndarray:
    with Stream(reenactor, source, steady=None, **options) as stream:
        return np.stack([shown(stream, frame).images for frame in frames])


@pytest.mark.parametrize(("drivers", "relative"), [("one", False), ("each", True)])
def test_several_sources_in_a_batch_equal_separate_runs(reenactor, relative, drivers):
    sources = sources_of(reenactor, 2)
    mine, yours = pictures(3, seed=1), pictures(3, seed=2 if drivers == "each" else 1)
    frames = list(zip(mine, yours, strict=True)) if drivers == "each" else mine
    together = streamed(reenactor, sources, frames, relative=relative, view=View(yaw=20))
    for i, driven in enumerate((mine, yours)):
        alone = list(reenactor.animate(sources[i], driven, relative=relative, view=View(yaw=20)))
        assert_frames_close(list(together[:, i]), alone)
    assert not np.array_equal(together[:, 0], together[:, 1])


def test_each_source_has_its_view_anchor_and_scale(reenactors):
    reenactor = reenactors["tiny-vox"]
    sources, frames = sources_of(reenactor, 2), pictures(2, seed=1)
    views = [View(yaw=20), View(pitch=-20)]
    anchors = reenactor.extract(pictures(2, seed=2))
    options = {"relative": True, "adapt_scale": True}
    together = streamed(reenactor, sources, frames, view=views, anchor=anchors, **options)
    for i, source in enumerate(sources):
        alone = reenactor.animate(source, frames, view=views[i], anchor=anchors[i : i + 1], **options)
        assert_frames_close(list(together[:, i]), list(alone))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"queue": 0}, "queue >= 1, got 0"),
        ({"view": 20}, "a View, or an iterable of them, got 20"),
        ({"view": [View(), View()]}, "for each of 1 sources"),
        ({"source": []}, "at least one source"),
        ({"adapt_scale": True}, "`keypoint` transfer"),
    ],
)
def test_what_does_not_fit_is_told_at_once(tiny, options, told):
    given = {"source": encoded(tiny)} | options
    with pytest.raises(ValueError, match=told):
        Stream(tiny, **given)


def test_frames_and_anchors_are_for_all_sources_or_one_each(tiny):
    sources = sources_of(tiny, 3)
    with pytest.raises(ValueError, match="one frame, or one for each of 3 sources, got 2"):
        Stream(tiny, sources, relative=True, anchor=tiny.extract(pictures(2)))
    with pytest.raises(ValueError, match="a driving frame for all sources, or 3, one for each; got 2"):
        streamed(tiny, sources, [pictures(2)])
    with pytest.raises(ValueError, match="one frame at a time, got 2"):
        streamed(tiny, sources[0], [pictures(2)])


def test_coefficients_cannot_stream():
    reenactor = Reenactor(TINY_SADTALKER, weights="random")
    with pytest.raises(ValueError, match="'tiny-sadtalker' is driven by 3DMM coefficients, and reads"):
        Stream(reenactor, encoded(reenactor))
