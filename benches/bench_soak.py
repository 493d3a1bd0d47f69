# SPDX-License-Identifier: Apache-2.0
"""Ten thousand frames through the frame path in half precision: none may be broken, nor far from float32's.

Real clips over and over, from the folder FV2V_MEDIA; without it, a painting that moves. Weights are random,
of the size that training leaves, so that numbers grow and shrink as in trained networks. Every frame's
numbers are looked at before they become pixels, on the device, in the CUDA graph where there is one. Now and
then a picture is compared with float32's, and so is what stock PyTorch in half precision makes of it.

For a GPU; elsewhere only with FV2V_TINY, in bfloat16.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import cycle, islice
from pathlib import Path
from statistics import mean
from typing import Any

import clips  # of the tests, as tiny
import numpy as np
import pytest
import torch
from frames import config_of
from measuring import DEVICE, TINY, wall
from tiny import sized_as_trained
from torch import Tensor

import fv2v
from fv2v import checkpoints
from fv2v.config import ModelConfig
from fv2v.io.tensors import as_batch, to_images, to_uint8
from fv2v.reenactor import Reenactor
from fv2v_kernels import use_backend

pytestmark = [
    pytest.mark.benchmark(timer=wall),
    pytest.mark.skipif(DEVICE == "cpu" and not TINY, reason="ten thousand frames take hours on a CPU"),
]

FRAMES, COMPARED = (20, 4) if TINY else (10_000, 100)
EACH = 100  # frames of a clip
HALF = torch.float16 if DEVICE == "cuda" else torch.bfloat16
ALLOWED = 1.5  # times the error of stock PyTorch in half precision


def driving(config: ModelConfig) -> list[np.ndarray]:
    size = config.image_size
    if "FV2V_MEDIA" not in os.environ:
        return list(clips.moving_picture(clips.portrait(), EACH, size=size))
    found = sorted(Path(os.environ["FV2V_MEDIA"]).glob("*.mp4"))
    assert found, "no clips in FV2V_MEDIA"
    frames = (frame for path in found for frame in islice(fv2v.read_video(path), EACH))
    return [
        to_uint8(to_images(as_batch([frame], size, torch.device("cpu")), size)).cpu().numpy()[0]
        for frame in frames
    ]


@pytest.fixture(scope="module", params=("vox-256", "vox-256-spade", "liveportrait"))
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.safetensors"
    checkpoints.save(sized_as_trained(config_of(request.param)), path)
    yield path
    path.unlink()


def count_broken(reenactor: Reenactor) -> Tensor:
    """(2,) that goes on counting: frames made, and frames with a NaN or infinite number in them."""
    counts = torch.zeros(2, dtype=torch.int64, device=DEVICE)

    def count(generator: Any, given: Any, images: Tensor) -> None:
        counts[0] += len(images)
        counts[1] += images.isfinite().flatten(1).all(dim=1).logical_not().sum()

    reenactor.networks.generator.register_forward_hook(count)
    return counts


@contextmanager
def exactly() -> Iterator[None]:
    """Stock operators in float32, not in the tensor cores' shorter one."""
    with use_backend("reference"), torch.backends.cudnn.flags(allow_tf32=False):
        yield


@contextmanager
def stock_half() -> Iterator[None]:
    """As the releases do."""
    with use_backend("reference"), torch.autocast(DEVICE, HALF):
        yield


def rendered(reenactor: Reenactor, portrait: np.ndarray, frames: list[np.ndarray]) -> Iterator[Tensor]:
    """(1, 3, n, n) of each frame after the first, which is the anchor."""
    source, anchor = reenactor.encode(portrait), reenactor.extract(frames[0])
    for frame in frames[1:]:
        yield reenactor.render(source, reenactor.extract(frame), anchor).double()


def errors(
    weights: Path, ours: Reenactor, portrait: np.ndarray, frames: list[np.ndarray]
) -> dict[str, float]:
    """Mean distance from float32's pictures, in levels of 255."""
    plain = Reenactor(weights=weights, device=DEVICE, optimize=False)
    forms = {"frame path": (ours, nullcontext), "stock": (plain, stock_half)}
    with exactly():
        truth = list(rendered(plain, portrait, frames))
    found = {}
    for form, (reenactor, around) in forms.items():
        with around():
            pairs = zip(rendered(reenactor, portrait, frames), truth, strict=True)
            found[form] = 255 * mean(float((image - true).abs().mean()) for image, true in pairs)
    return found


def test_soak(benchmark, weights):
    ours = Reenactor(weights=weights, device=DEVICE, dtype=HALF, optimize=True)
    portrait, frames = clips.portrait(), driving(ours.config)
    anchor = ours.extract(frames[0])
    counts = count_broken(ours)
    film = ours.animate(ours.encode(portrait), cycle(frames), relative=True, anchor=anchor)

    def soak() -> list[np.ndarray]:
        return [np.diff(next(film)).any() for _ in range(FRAMES)]

    benchmark.group = f"soak, {FRAMES} frames"
    alive = benchmark.pedantic(soak)
    made, broken = counts.tolist()
    compared = frames[:: max(1, len(frames) // COMPARED)]
    error = errors(weights, ours, portrait, compared)
    benchmark.extra_info |= {
        "frames": made,
        "broken": broken,
        "compared": len(compared) - 1,
        "clips": "FV2V_MEDIA" in os.environ,
        "error": error,
    }
    assert made >= FRAMES
    assert not broken
    assert all(alive)  # no picture of one grey
    if DEVICE == "cuda":
        assert error["frame path"] <= ALLOWED * error["stock"]
