# SPDX-License-Identifier: Apache-2.0
"""Encode once, animate many: what the networks are asked for; every way to a frame gives the same frame."""

import itertools
import multiprocessing
import re
import weakref
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import (
    SEEING,
    TINIES,
    TINY,
    TINY_VOX,
    assert_frames_close,
    driving,
    encoded,
    lively,
    pictures,
    uncaptured,
)

import fv2v
from fv2v import Motion, Reenactor, View
from fv2v.engine import arrange
from fv2v.geometry import euler_degrees
from fv2v.io.image import write_image
from fv2v.io.tensors import to_uint8

ALL_TINIES = pytest.mark.parametrize("config", TINIES, ids=lambda config: config.name)


@pytest.fixture(scope="module")
def reenactors() -> dict[str, Reenactor]:
    return {config.name: lively(Reenactor(config, weights="random")) for config in TINIES}


@pytest.fixture(params=[config.name for config in TINIES])
def reenactor(request, reenactors) -> Reenactor:
    return reenactors[request.param]


@pytest.fixture(params=[config.name for config in SEEING])
def seeing(request, reenactors) -> Reenactor:
    """One that pictures drive."""
    return reenactors[request.param]


def test_animating_never_calls_what_belongs_to_the_source(reenactor):
    calls: Counter[str] = Counter()
    reenactor = uncaptured(reenactor)
    model = reenactor.networks
    networks = {"F": model.appearance, "L": model.canonical, "H": model.head, "M": model.dense_motion}
    networks["compress"] = model.dense_motion.compressor
    if model.canonical is None:
        del networks["L"]
    handles = [
        network.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, network in networks.items()
    ]
    source = encoded(reenactor)
    assert calls == dict.fromkeys(networks.keys() - {"M"}, 1)
    calls.clear()
    frames = list(reenactor.animate(source, driving(reenactor.config, 7), relative=True))
    for handle in handles:
        handle.remove()
    assert len(frames) == 7
    assert calls == {"H": 7, "M": 7}


@pytest.mark.parametrize("relative", [True, False])
def test_animate_is_extract_and_render(reenactor, relative):
    source, frames = encoded(reenactor), driving(reenactor.config, 3, seed=1)
    view = View(yaw=20, pitch=-5)
    motion = reenactor.extract(frames)
    rendered = (
        to_uint8(reenactor.render(source, motion, motion[:1] if relative else None, view)).cpu().numpy()
    )
    animated = list(reenactor.animate(source, frames, relative=relative, view=view, batch_size=3))
    assert_frames_close(animated, rendered)
    assert not np.array_equal(animated[0], animated[1]), "the test would see no motion"


def test_batches_equal_single_frames(reenactor):
    source, frames = encoded(reenactor), driving(reenactor.config, 5, seed=1)
    views = [View(yaw=10 * i) for i in range(5)]
    single = list(reenactor.animate(source, frames, view=views))
    for batch_size in (2, 5, 8):
        batched = list(reenactor.animate(source, frames, view=views, batch_size=batch_size))
        assert_frames_close(batched, single)


def test_a_chosen_anchor_counts_as_no_change(reenactor):
    source, driven = encoded(reenactor), driving(reenactor.config, 3, seed=1)
    anchor = reenactor.extract(driven)[2:3]
    frames = list(reenactor.animate(source, driven, relative=True, anchor=anchor))
    still = to_uint8(reenactor.render(source, source.motion)).cpu().numpy()[0]
    assert_frames_close([frames[2]], [still])
    by_first = list(reenactor.animate(source, driven, relative=True))
    assert_frames_close([by_first[0]], [still])
    assert not np.array_equal(frames[1], by_first[1])


def test_the_preset_decides_what_is_left_open():
    absolute = replace(TINY, geometry=replace(TINY.geometry, relative=False))
    for config, relative in ((TINY, True), (absolute, False)):
        reenactor = lively(Reenactor(config, weights="random"))
        source, frames = encoded(reenactor), pictures(2, seed=1)
        left_open = list(reenactor.animate(source, frames))
        chosen = list(reenactor.animate(source, frames, relative=relative))
        other = list(reenactor.animate(source, frames, relative=not relative))
        assert_frames_close(left_open, chosen)
        assert not np.array_equal(left_open, other)


def test_views_one_for_all_or_one_a_frame(reenactor):
    source, frames = encoded(reenactor), driving(reenactor.config, 3, seed=1)
    views = [View(yaw=25), View(), View(yaw=25, mode="replace")]
    together = list(reenactor.animate(source, frames, view=iter(views)))
    for i, view in enumerate(views):
        alone = list(reenactor.animate(source, frames, view=view))
        assert_frames_close(alone[i : i + 1], together[i : i + 1])
    endless = list(reenactor.animate(source, frames, view=itertools.cycle([View(yaw=25)])))
    assert_frames_close(endless, list(reenactor.animate(source, frames, view=View(yaw=25))))
    assert not np.array_equal(endless[0], next(reenactor.animate(source, frames)))
    with pytest.raises(ValueError, match=r"a view for each frame, but the views ended after 2; give"):
        list(reenactor.animate(source, frames, view=views[:2]))


def test_animate_streams(seeing):
    """A frame comes out before the next is read, and nothing is read ahead of asking."""
    source = encoded(seeing)
    read = []

    def endless():
        for i, frame in enumerate(itertools.cycle(pictures(2))):
            read.append(i)
            yield frame

    frames = seeing.animate(source, endless())
    assert read == []
    for expected in (1, 2, 3):
        next(frames)
        assert len(read) == expected
        assert not torch.is_inference_mode_enabled(), "inference mode must not leak to the caller"


def test_driving_frames_are_let_go(reenactors):
    reenactor = reenactors["tiny"]
    source = reenactor.encode(pictures(1)[0])
    alive = []

    def frames():
        for picture in pictures(6):
            frame = torch.from_numpy(picture).permute(2, 0, 1) / 255
            alive.append(weakref.ref(frame))
            yield frame

    for count, _ in enumerate(reenactor.animate(source, frames()), start=1):
        assert sum(frame() is not None for frame in alive) <= 2, f"frames are kept after {count}"


def peak_memory(after: int, frames: int, done: Connection) -> None:
    """In a process of its own: peak resident kB after some frames, and after all."""
    reenactor = Reenactor(TINY, weights="random")
    peaks = []
    endless = itertools.cycle(pictures(2, size=256))
    source = reenactor.encode(next(endless))
    for count, _ in enumerate(reenactor.animate(source, itertools.islice(endless, frames)), start=1):
        if count in (after, frames):
            # getrusage's peak is the parent's where that was larger
            status = Path("/proc/self/status").read_text()
            peaks.append(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]))
    done.send(peaks)


def test_memory_does_not_grow_with_frames():
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=peak_memory, args=(50, 500, theirs))
    process.start()
    theirs.close()
    early, late = mine.recv()
    process.join()
    assert late <= 1.1 * early


def test_adapt_scale_scales_the_movement(reenactors):
    reenactor = reenactors["tiny-vox"]
    source, frames = encoded(reenactor), pictures(2, seed=1)
    plain = list(reenactor.animate(source, frames, relative=True))
    adapted = list(reenactor.animate(source, frames, relative=True, adapt_scale=True))
    assert_frames_close(adapted[:1], plain[:1])
    assert not np.array_equal(plain[1], adapted[1])


def test_frontalize_looks_ahead(reenactor):
    source = encoded(reenactor)
    own = source.motion
    ahead = Motion(torch.eye(3)[None], own.translation, own.expression, own.scale)
    frontal = reenactor.frontalize(source)
    posed = source, ahead
    if reenactor.config.geometry.transfer == "performrecast":  # where no driver turns the head
        posed = replace(source, motion=ahead), own
    assert_frames_close([frontal], to_uint8(reenactor.render(*posed)).cpu().numpy())
    pitch, yaw, roll = euler_degrees(own.rotation)
    assert max(abs(pitch), abs(yaw), abs(roll)) > 1, "the test would see no turn"
    assert not np.array_equal(frontal, to_uint8(reenactor.render(source, own)).cpu().numpy()[0])


def test_pictures_of_every_kind_and_size_are_one_picture(reenactors, tmp_path):
    reenactor = reenactors["tiny"]
    picture = pictures(1)[0]
    tensor = torch.from_numpy(picture).permute(2, 0, 1) / 255
    write_image(tmp_path / "face.png", picture)
    kinds = [tensor, tensor[None], tensor.double(), tmp_path / "face.png", str(tmp_path / "face.png")]
    expected = reenactor.encode(picture).features
    for kind in kinds:
        torch.testing.assert_close(reenactor.encode(kind).features, expected)
    batch = reenactor.extract([picture, tensor, tensor[None].repeat(2, 1, 1, 1)])
    assert len(batch) == 4
    for size in ((1, 1), (31, 45), (500, 400)):
        large = np.full((*size, 3), 128, np.uint8)
        flat = np.full((32, 32, 3), 128, np.uint8)
        torch.testing.assert_close(reenactor.encode(large).features, reenactor.encode(flat).features)


def test_pil_pictures(reenactors):
    image = pytest.importorskip("PIL.Image")
    reenactor, picture = reenactors["tiny"], pictures(1)[0]
    features = reenactor.encode(image.fromarray(picture)).features
    assert torch.equal(features, reenactor.encode(picture).features)


@ALL_TINIES
@pytest.mark.parametrize(
    "dtype", ["float64", pytest.param("float16", marks=pytest.mark.slow), "bfloat16"]
)  # CPUs without half arithmetic are slow at float16
def test_every_dtype(config, dtype):
    plain, other = (Reenactor(config, weights="random", dtype=name) for name in ("float32", dtype))
    source = encoded(other)
    motion = other.extract(driving(config, 2, seed=1))
    coordinates = torch.float64 if dtype == "float64" else torch.float32
    assert source.features.dtype == getattr(torch, dtype)
    for tensor in (
        source.canonical,
        source.keypoints,
        motion.rotation,
        motion.translation,
        motion.expression,
    ):
        assert tensor.dtype == coordinates
    image = other.render(source, motion)
    assert image.dtype == getattr(torch, dtype)
    expected = plain.render(encoded(plain), plain.extract(driving(config, 2, seed=1)))
    tolerance = {"float64": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}[dtype]
    torch.testing.assert_close(image.float(), expected, rtol=0, atol=tolerance)


def test_a_motion_that_came_in_half_is_taken(reenactors):
    """A sender transmits 66 halves a frame (paper, Sec. 5)."""
    reenactor = reenactors["tiny"]
    source, motion = reenactor.encode(pictures(1)[0]), reenactor.extract(pictures(1, seed=1)[0])
    sent = motion.to(torch.device("cpu"), torch.float16)
    torch.testing.assert_close(
        reenactor.render(source, sent), reenactor.render(source, motion), rtol=0, atol=2e-2
    )


def test_arranged_networks_run_and_trained_ones_are_saved(reenactor, tmp_path):
    reenactor.save(tmp_path / "tiny.safetensors")
    fast = Reenactor(weights=tmp_path / "tiny.safetensors")
    plain = Reenactor(weights=tmp_path / "tiny.safetensors", optimize=False)
    assert plain.networks is plain.model
    assert fast.networks is not fast.model
    driven = driving(reenactor.config, 2, seed=1)
    assert_frames_close(*(list(r.animate(encoded(r), driven)) for r in (fast, plain)))
    fast.save(tmp_path / "again.safetensors")
    stored, again = (load_file(tmp_path / f"{name}.safetensors") for name in ("tiny", "again"))
    assert stored.keys() == again.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in stored.items())


def test_half_weights_are_derived_from_what_was_trained():
    half = Reenactor(TINY, weights="random", dtype="bfloat16")
    full = arrange(deepcopy(half.model)).state_dict()
    for name, weights in half.networks.state_dict().items():
        assert torch.equal(weights, full[name].to(weights.dtype)), name
    assert next(half.model.parameters()).dtype == torch.float32


def test_saved_and_loaded_it_is_the_same(reenactor, tmp_path):
    reenactor.save(tmp_path / "tiny.safetensors")
    again = Reenactor(weights=tmp_path / "tiny.safetensors")
    assert again.config == reenactor.config
    weights, loaded = (r.model.state_dict() for r in (reenactor, again))
    assert weights.keys() == loaded.keys()
    assert all(torch.equal(weights[key], loaded[key]) for key in weights)
    driven = driving(reenactor.config, 2, seed=1)
    # a file's tensors lie elsewhere in memory than fresh ones, where sums may add in another order
    assert_frames_close(*(list(r.animate(encoded(r), driven)) for r in (reenactor, again)))


def test_what_fv2v_exports():
    assert set(fv2v.__all__) >= {"Reenactor", "Motion", "Source", "View", "PRESETS", "preset"}
    assert all(hasattr(fv2v, name) for name in fv2v.__all__)
    assert set(fv2v.__all__) == fv2v._MODULES.keys() <= set(dir(fv2v))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = fv2v.nonsense
    assert TINY_VOX.name not in fv2v.PRESETS
