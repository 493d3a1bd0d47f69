# SPDX-License-Identifier: Apache-2.0
"""Frames through fixed places and two slots are the frames that the networks make one by one.

Without a GPU a function stands in for the graph: it reads and writes where a graph would.
"""

import gc
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from graphs import captures, on_the_path
from tiny import (
    SEEING,
    TINIES,
    TINY,
    TINY_DETAIL,
    TINY_LIVEPORTRAIT,
    TINY_VOX,
    assert_frames_close,
    driving,
    encoded,
    pictures,
    uncaptured,
)

from fv2v import Edit, Reenactor, View
from fv2v.engine.cuda_graph import capture
from fv2v.engine.graph_cache import MAX_GRAPHS
from fv2v.engine.stages import ExtractGraph, Pending, RenderGraph
from fv2v.geometry import POSED
from fv2v.io.tensors import as_batch, to_images, to_uint8
from fv2v.motion.coefficients import driving_windows
from fv2v.motion.smoothing import SteadyMotion
from fv2v_kernels import use_backend

VIEWS = [View(yaw=25), View(yaw=25), View(yaw=-5, mode="replace"), None]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request) -> str:
    return request.param


@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
@pytest.mark.parametrize("config", [*TINIES, TINY_DETAIL], ids=lambda config: config.name)
def test_animate(config, relative, device):
    reenactor = on_the_path(config, device)
    plain, source = uncaptured(reenactor), encoded(reenactor)
    driven = driving(config, 5, seed=1)
    adapt = relative and config.geometry.transfer == "keypoint"
    for options in ({}, {"view": VIEWS[0]}, {"batch_size": 2, "adapt_scale": adapt}, {"stitch": False}):
        frames, expected = (
            list(each.animate(source, driven, relative=relative, **options)) for each in (reenactor, plain)
        )
        assert_frames_close(frames, expected)
        assert "view" in options or not np.array_equal(frames[3], frames[4]), "no motion would be seen"
    assert captures(reenactor) == 4  # two stages, of one frame and of two, whatever the options


@pytest.mark.parametrize("config", [TINIES[1], TINIES[-1]], ids=lambda config: config.name)
def test_animate_by_motion(config, device):
    """Motion that is there already takes the second stage alone, whatever the options."""
    reenactor = on_the_path(config, device)
    plain, source = uncaptured(reenactor), encoded(reenactor)
    driven = driving(config, 5, seed=1)
    motion = plain.extract(driven)
    scales = config.geometry.transfer == "keypoint"
    options = {"relative": True, "adapt_scale": scales, "view": VIEWS[0]}
    frames, expected = (list(each.animate(source, motion, **options)) for each in (reenactor, plain))
    assert_frames_close(frames, expected)
    assert not np.array_equal(frames[3], frames[4]), "no motion would be seen"
    assert captures(reenactor) == 1


def test_sources_that_take_turns(device):
    reenactor = on_the_path(TINY, device)
    plain, frame = uncaptured(reenactor), pictures(1, seed=1)[0]
    sources = [reenactor.encode(picture) for picture in pictures(2)]
    expected = [next(plain.animate(source, [frame], relative=False)) for source in sources]
    assert not np.array_equal(*expected)
    for i in (0, 1, 0, 0, 1, 1, 0):
        assert_frames_close([next(reenactor.animate(sources[i], [frame], relative=False))], [expected[i]])
    assert captures(reenactor) == 2


def test_views_and_anchors_that_change(device):
    reenactor = on_the_path(TINY, device)
    plain, source, frame = uncaptured(reenactor), encoded(reenactor), pictures(1, seed=1)[0]
    anchors = [reenactor.extract(picture) for picture in pictures(2, seed=2)]
    for view in VIEWS * 2:
        for anchor in anchors:
            options = {"anchor": anchor, "view": view, "relative": True}
            ours, expected = (list(each.animate(source, [frame], **options)) for each in (reenactor, plain))
            assert_frames_close(ours, expected)
    assert captures(reenactor) == 2


@pytest.mark.parametrize("config", SEEING, ids=lambda config: config.name)
def test_render(config, device):
    reenactor = on_the_path(config, device)
    plain, source = uncaptured(reenactor), encoded(reenactor)
    motion = reenactor.extract(pictures(4, seed=1))
    for options in ({}, {"anchor": motion[:1]}, {"anchor": motion[:1], "view": VIEWS[0]}):
        images = [reenactor.render(source, motion[i : i + 1], **options) for i in range(4)]
        expected = [plain.render(source, motion[i : i + 1], **options) for i in range(4)]
        torch.testing.assert_close(images, expected, rtol=0, atol=1e-5)
    assert captures(reenactor) == 1


def test_edited_frames(device):
    """Of pictures, of motion, and made steady: edits work between the stages."""
    reenactor = on_the_path(TINY, device)
    plain, source, frames = uncaptured(reenactor), encoded(reenactor), pictures(4, seed=1)
    motion, edit = reenactor.extract(frames), Edit(strength=3.0)
    for driver in (frames, motion):
        for steady in (False, True):
            ours, expected, unedited = (
                list(each.animate(source, driver, edit=wish, steady=SteadyMotion() if steady else None))
                for each, wish in ((reenactor, edit), (plain, edit), (plain, None))
            )
            assert_frames_close(ours, expected)
            assert not np.array_equal(ours, unedited)
    images = [reenactor.render(source, motion[i : i + 1], edit=edit) for i in range(4)]
    expected = [plain.render(source, motion[i : i + 1], edit=edit) for i in range(4)]
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-5)
    assert captures(reenactor) == 2


@pytest.mark.parametrize("config", [TINY, TINY_VOX, TINY_LIVEPORTRAIT], ids=lambda config: config.name)
def test_frames_of_any_size_and_kind(config, device):
    """Resized on the device by the preset's kernel, uint8 as it comes: the same pictures as without a graph.

    And as of floats, but where OpenCV rounds between resizing and the networks.
    """
    reenactor = on_the_path(config, device)
    plain, source = uncaptured(reenactor), encoded(reenactor)
    for height, width in ((32, 32), (47, 31), (200, 300), (5, 9)):
        frames = list(np.random.default_rng(3).integers(0, 256, (4, height, width, 3), dtype=np.uint8))
        tensors = [torch.from_numpy(frame).permute(2, 0, 1).to(device) / 255 for frame in frames]
        expected = list(plain.animate(source, frames))
        assert_frames_close(list(reenactor.animate(source, frames)), expected)
        if config.resize == "area":
            expected = list(plain.animate(source, tensors))
        assert_frames_close(list(reenactor.animate(source, tensors)), expected)


@pytest.mark.parametrize("size", [(32, 32), (48, 40), (500, 300), (7, 7)])
def test_pictures_together_are_as_each_alone(size, device):
    """And on a GPU as on the CPU."""
    frames = list(np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8))
    together = to_images(as_batch(frames, 32, torch.device(device)).to(device), 32).cpu()
    for image, frame in zip(together, frames, strict=True):
        alone = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
        if size != (32, 32):
            alone = torch.nn.functional.interpolate(alone, (32, 32), mode="bilinear", antialias=True).clamp(
                0, 1
            )
        torch.testing.assert_close(image, alone[0], rtol=0, atol=1e-5)
    mixed = [frames[0], torch.from_numpy(frames[1]).permute(2, 0, 1) / 255]
    images = to_images(as_batch(mixed, 32, torch.device(device)), 32).cpu()
    torch.testing.assert_close(images, together[:2], rtol=0, atol=1e-5)


def begins(reenactor: Reenactor) -> tuple[Callable[[np.ndarray], Pending], RenderGraph]:
    """Begins frames of uint8 pictures by graphs of their own, absolute; and the second of them."""
    runner, source = reenactor.runner, encoded(reenactor)
    networks, device, by = runner.networks, runner.device, runner.graphs.capture
    first = ExtractGraph(networks, runner.batch(pictures(1)), device, runner.dtype, by)
    second = RenderGraph(networks, source, networks.place(source, source.motion), by)

    def begin(picture: np.ndarray) -> Pending:
        return second.begin(source, networks.place(source, first.run(torch.from_numpy(picture)[None])))

    return begin, second


@torch.inference_mode()
def test_frames_under_way(device):
    """However late they are asked for, and in whatever order."""
    reenactor = on_the_path(TINY, device)
    frames = pictures(6, seed=1)
    expected = list(uncaptured(reenactor).animate(encoded(reenactor), frames, relative=False))
    begin, _ = begins(reenactor)
    pending = [begin(frame) for frame in frames]
    for i in (3, 5, 0, 1, 4, 2, 3):
        assert_frames_close(pending[i].result(), expected[i][None])
    assert not np.array_equal(expected[4], expected[5])


@torch.inference_mode()
def test_a_graph_is_let_go_once_its_frames_are_there(device):
    begin, graph = begins(on_the_path(TINY, device))
    known, pending = weakref.ref(graph), begin(pictures(1)[0])
    del begin, graph
    gc.collect()
    assert known() is not None
    pending.result()
    gc.collect()
    assert known() is None


def test_threads_share_graphs(device):
    reenactor = on_the_path(TINY, device)
    sources = [reenactor.encode(picture) for picture in pictures(2)]
    frames = pictures(12, seed=1)
    expected = [list(uncaptured(reenactor).animate(source, frames)) for source in sources]
    found = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: list(reenactor.animate(sources[i], frames))}))
        for i in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(2):
        assert_frames_close(found[i], expected[i])


def test_a_picture_alone_pays_for_no_capture(device):
    for show in (
        lambda reenactor, source: reenactor.imitate(source, pictures(1)[0]),
        lambda reenactor, source: reenactor.frontalize(source),
        lambda reenactor, source: next(reenactor.animate(source, pictures(1))),
        lambda reenactor, source: reenactor.render(source, source.motion),
    ):
        reenactor = on_the_path(TINY, device)
        show(reenactor, encoded(reenactor))
        assert captures(reenactor) == 0
    reenactor.render(encoded(reenactor), encoded(reenactor).motion)
    assert captures(reenactor) == 1


def test_a_backend_asked_for_is_not_passed_by(device):
    reenactor = on_the_path(TINY, device)
    source, frames = encoded(reenactor), pictures(3, seed=1)
    expected = list(reenactor.animate(source, frames, relative=False))
    with use_backend("reference"):
        assert_frames_close(list(reenactor.animate(source, frames, relative=False)), expected)
    assert captures(reenactor) == 4


def test_more_kinds_than_memory_is_kept_for(device):
    reenactor = on_the_path(TINY, device)
    source = encoded(reenactor)
    plain = uncaptured(reenactor)
    for size in range(20, 23 + MAX_GRAPHS):
        frames = pictures(2, seed=1, size=size)
        ours, expected = (list(each.animate(source, frames, relative=False)) for each in (reenactor, plain))
        assert_frames_close(ours, expected)
    assert captures(reenactor) == MAX_GRAPHS


def test_who_takes_the_path():
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        for optimize in (True, False):
            reenactor = Reenactor(TINY, weights="random", device=device, optimize=optimize)
            assert (reenactor.runner.graphs is not None) == (optimize and device == "cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("config", TINIES, ids=lambda config: config.name)
@torch.inference_mode()
def test_a_graph_is_its_function_bit_for_bit(config, dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)  # as in the capture: the same kernels
    reenactor = on_the_path(config, "cuda", dtype=dtype)
    source, driven = encoded(reenactor), driving(config, 3, seed=1)
    runner, networks = reenactor.runner, reenactor.networks
    seen = runner.batch(driving_windows(driven, config.head) if config.head.window else driven)
    first = ExtractGraph(networks, seen, runner.device, runner.dtype, capture)
    second = None
    for batch in (seen, seen.flip(0)):
        motion = runner.extract(batch)
        ours = first.run(batch)
        for name in POSED:
            assert torch.equal(getattr(ours, name), getattr(motion, name))
        placement = networks.place(source, motion, source.motion, VIEWS[0])
        second = second or RenderGraph(networks, source, placement, capture)
        image = networks.render(source, placement)
        assert torch.equal(second.image(source, placement), image)
        assert np.array_equal(second.begin(source, placement).result(), runner.levels(image).cpu().numpy())


@pytest.mark.gpu
def test_300_frames_on_a_gpu():
    """Again and again the frames of the first round, and finite."""
    reenactor = on_the_path(TINIES[3], "cuda", dtype="float16")
    source, frames = encoded(reenactor), pictures(3, seed=1)
    motion = reenactor.extract(frames)
    rounds = [list(reenactor.animate(source, frames, relative=False)) for _ in range(100)]
    for each in rounds[2:]:
        assert np.array_equal(each, rounds[1])
    for _ in range(100):
        assert reenactor.render(source, motion).isfinite().all()
    assert_frames_close(rounds[-1], to_uint8(reenactor.render(source, motion)).cpu().numpy())
