# SPDX-License-Identifier: Apache-2.0
"""Live, edited, replayed or rendered: after its first frame the same two graphs run, and nothing else does.

And frames overlap: a stage starts on a frame before the one before is done, and waits for all that it must.
"""

import threading
from collections.abc import Iterator
from itertools import islice
from time import sleep

import numpy as np
import pytest
import torch
from graphs import STAGES, on_the_path
from streaming import Held
from streams import Race, Watched
from tiny import TINY, TINY_LIVEPORTRAIT, assert_frames_close, encoded, pictures, uncaptured

from fv2v import Edit, Openness, Reenactor, Stream, View, read_motion, write_motion
from fv2v.engine import stages
from fv2v.engine.cuda_graph import capture
from fv2v.io.timing import Timing
from fv2v.motion.sequence import MotionSequence
from fv2v.motion.smoothing import SteadyMotion
from fv2v.reenactor.animation import Animation
from fv2v.reenactor.options import AnimationOptions

FRAMES = 6
OPEN = Openness(0.3, 0.3, 0.2)


def edits(config) -> Iterator[Edit]:
    """Another one each frame."""
    for i in range(FRAMES):
        opened = {"eyes": 0.1 + 0.05 * i, "portrait": OPEN} if config.retargeting and i % 2 else {}
        yield Edit(strength={(0, 1): 1 + i}, multiplier=1 + 0.1 * i, **opened)


def live(reenactor: Reenactor) -> list[np.ndarray]:
    """With the default steadiness, at 25 frames a second."""
    return streamed(Stream(reenactor, encoded(reenactor)))


def live_edited(reenactor: Reenactor) -> list[np.ndarray]:
    return streamed(Stream(reenactor, encoded(reenactor)), list(edits(reenactor.config)))


def streamed(stream: Stream, wanted: list[Edit] | None = None) -> list[np.ndarray]:
    found = []
    with stream:
        for i, frame in enumerate(pictures(FRAMES, seed=1)):
            stream.edit = wanted and wanted[i]
            stream.push(frame, time=i / 25)
            found.append(stream.get().image)
    return found


def edited(reenactor: Reenactor) -> list[np.ndarray]:
    frames, wanted = pictures(FRAMES, seed=1), edits(reenactor.config)
    return list(reenactor.animate(encoded(reenactor), frames, edit=wanted, steady=SteadyMotion()))


def replayed(reenactor: Reenactor, path) -> list[np.ndarray]:
    """From a file, from another side each frame."""
    views = (View(yaw=5 * i, mode=mode) for i, mode in enumerate(["compose", "replace"] * 3))
    return list(reenactor.animate(encoded(reenactor), read_motion(path).motion, view=views))


def rendered(reenactor: Reenactor) -> list[np.ndarray]:
    source, frames = encoded(reenactor), pictures(FRAMES, seed=1)
    motion = [reenactor.extract(frame) for frame in frames]
    images = [
        reenactor.render(source, each, edit=e)
        for each, e in zip(motion, edits(reenactor.config), strict=True)
    ]
    return [reenactor.runner.levels(image)[0].cpu().numpy() for image in images]


@pytest.mark.parametrize("way", [live, live_edited, edited, replayed, rendered])
@pytest.mark.parametrize("config", [TINY, TINY_LIVEPORTRAIT], ids=lambda config: config.name)
def test_graphs_alone_run_frames(config, way, tmp_path):
    reenactor = on_the_path(config, "cpu")
    plain, counted = uncaptured(reenactor), reenactor.runner.graphs.capture
    more = ()
    if way is replayed:
        motion = plain.extract(pictures(FRAMES, seed=1))
        more = (tmp_path / "motion.npz",)
        write_motion(*more, MotionSequence(motion, Timing.even(FRAMES, 25.0), config.name))
    expected = way(plain, *more)
    counted.watch(reenactor)
    found = way(reenactor, *more)
    assert_frames_close(found, expected)
    assert not np.array_equal(found[-2], found[-1]), "no motion would be seen"
    used = STAGES[1:] if way is replayed else STAGES
    assert {stage: len(counted.replays[stage]) for stage in STAGES} == {
        stage: FRAMES - 1 if stage in used else 0 for stage in STAGES
    }
    assert counted.outside["render"] == 1
    assert counted.outside["extract"] == (way is not replayed) + 1  # and of the portrait
    assert counted.count == len(used)


def test_a_frame_is_begun_before_the_one_before_is_handed_out():
    reenactor = on_the_path(TINY, "cpu")
    source, frames = encoded(reenactor), pictures(FRAMES, seed=1)
    list(reenactor.animate(source, frames[:2]))  # captures
    replays = reenactor.runner.graphs.capture.replays
    for stage in STAGES:
        replays[stage].clear()
    shown = reenactor.animate(source, frames)
    for i in range(FRAMES):
        next(shown)
        begun = min(i + 2, FRAMES)
        assert [len(replays[stage]) for stage in STAGES] == [begun, begun]


def test_a_stream_keeps_a_frame_in_flight_where_another_waits():
    """By the clock: a frame's motion is read before the picture of the one before is there."""
    reenactor = on_the_path(TINY, "cpu")
    source = encoded(reenactor)
    list(reenactor.animate(source, pictures(2)))
    started = reenactor.runner.graphs.capture.replays["extract"]
    started.clear()
    held = Held(pictures(1)[0])
    with Stream(reenactor, source, queue=FRAMES) as stream:
        stream.push(held)
        assert held.taken.wait(60)
        for frame in pictures(FRAMES - 1, seed=1):
            stream.push(frame)
        held.let_go.set()
        shown = [stream.get(timeout=60) for _ in range(FRAMES)]
        ready = [each.latency + each.time for each in shown]
        assert all(later < there for later, there in zip(started[1:], ready[:-1], strict=True))
        stream.push(pictures(1)[0])  # with none behind it
        assert stream.get(timeout=60) is not None


@pytest.mark.parametrize("broken", [4, 5])
def test_pictures_before_an_error_come_first(broken):
    reenactor = on_the_path(TINY, "cpu")
    source, frames = encoded(reenactor), pictures(FRAMES, seed=1)
    expected = list(reenactor.animate(source, frames))
    frames[broken] = frames[broken][..., :2]
    shown = reenactor.animate(source, frames)
    assert_frames_close(list(islice(shown, broken)), expected[:broken])
    with pytest.raises(ValueError, match=r"expected an \(H, W, 3\)"):
        next(shown)
    stream = Stream(reenactor, source, steady=None, queue=FRAMES)
    for frame in frames[: broken + 1]:
        stream.push(frame)
    assert_frames_close([stream.get().image for _ in range(broken)], expected[:broken])
    with pytest.raises(ValueError, match=r"expected an \(H, W, 3\)"):
        stream.get()
    stream.close()


def test_edits_of_several_sources_each():
    reenactor = on_the_path(TINY, "cpu")
    sources = [reenactor.encode(picture) for picture in pictures(2)]
    wanted, frames = [Edit(strength=3.0), Edit(multiplier=0.5)], pictures(3, seed=1)
    with Stream(reenactor, sources, steady=None, edit=wanted) as stream:
        found = []
        for frame in frames:
            stream.push(frame)
            found.append(stream.get().images)
        for refused in ([Edit()] * 3, 0.5):
            with pytest.raises(
                (ValueError, TypeError), match=r"expected one edit, or one for each|not iterable"
            ):
                stream.edit = refused
    for i, source in enumerate(sources):
        expected = list(reenactor.animate(source, frames, edit=wanted[i]))
        assert_frames_close([images[i] for images in found], expected)


def scenario(watched: Watched, monkeypatch) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frames under way, others rendered or looked at beside them, on streams that `watched` stands for."""
    watched.install(monkeypatch)
    reenactor = on_the_path(TINY, "cpu")
    source, frames = encoded(reenactor), pictures(FRAMES, seed=1)
    expected = list(reenactor.animate(source, frames, steady=SteadyMotion()))  # captures
    with watched:
        animation = Animation(reenactor.runner, source, AnimationOptions(steady=SteadyMotion()))
        batches = [watched.handed_over(reenactor.runner.batch([frame])) for frame in frames]
        pending = []
        for i, batch in enumerate(batches):
            pending.append(animation.begin(batch, None))
            reenactor.render(source, source.motion)
            if i:
                pending[i - 1].result()
        for batch in batches:
            reenactor.runner.extract(batch)
        found = [picture for each in pending for picture in each.result()]
    return found, expected


def test_streams_wait_for_each_other(monkeypatch):
    """And for no more than they must: without any one of the waits there is a race."""
    watched = Watched()
    with monkeypatch.context() as patched:
        found, expected = scenario(watched, patched)
    assert_frames_close(found, expected)
    assert len(watched.waits) == 7
    for wait in sorted(watched.waits):
        with monkeypatch.context() as patched, pytest.raises(Race):
            scenario(Watched(wait), patched)


def test_a_frame_is_read_while_the_one_before_is_rendered(monkeypatch):
    """The stream that reads motion does not wait for the one that renders."""
    watched = Watched()
    watched.install(monkeypatch)
    reenactor = on_the_path(TINY, "cpu")
    source, frames = encoded(reenactor), pictures(2, seed=1)
    list(reenactor.animate(source, frames))  # captures
    first, second = (watched.handed_over(reenactor.runner.batch([frame])) for frame in frames)
    renders = stages.lanes_of(reenactor.device).renders
    with watched:
        pending = Animation(reenactor.runner, source, AnimationOptions()).begin(first, None)
        reenactor.runner.extract(second)
        assert watched.current.clock.get(renders.name, 0) < renders.clock[renders.name]
        pending.result()
        reenactor.runner.extract(second)
        assert watched.current.clock[renders.name] == renders.clock[renders.name]


def test_threads_that_capture_leave_the_flag_as_it_was(monkeypatch):
    """cuDNN's, of the whole process: it is set while a thread captures, and another one waits meanwhile."""

    class Nothing:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            pass

        def __exit__(self, *_):
            pass

        def wait_stream(self, _):
            pass

        replay = None

    for name in ("Stream", "stream", "CUDAGraph", "graph", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, Nothing)
    seen, inside, threads_inside = [], set(), []

    def function():
        inside.add(threading.get_ident())
        sleep(0.005)  # the other one would come in
        seen.append(torch.backends.cudnn.benchmark)
        threads_inside.append(len(inside))

    def captured():
        for _ in range(3):
            capture(lambda: (function(), inside.clear()))

    for before in (False, True):
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", before)
        threads = [threading.Thread(target=captured) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.backends.cudnn.benchmark == before
    assert all(seen)
    assert set(threads_inside) == {1}
