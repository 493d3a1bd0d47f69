# SPDX-License-Identifier: Apache-2.0
"""A driving frame's stages, in the forms that are compared: of the same weights, on the same pictures.

plain eager     the trained modules with stock operators, as the public releases run them: in float32 on a
                CPU, under autocast to float16 on a GPU
torch.compile   the same, compiled; on a GPU with CUDA graphs
frame path      `Reenactor(optimize=True)` with this project's operators; in float16 on a GPU
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
import torch
from measuring import DEVICE, TINY, Run, replay
from torch import Tensor

from fv2v.config import ModelConfig
from fv2v.engine.flops import Call, recorded
from fv2v.geometry import Placement, place
from fv2v.io.tensors import as_batch, to_images, to_uint8
from fv2v.presets import PRESETS
from fv2v.reenactor import Reenactor
from fv2v_kernels import use_backend

EAGER, COMPILED, PATH = "plain eager", "torch.compile", "frame path"
WHOLE = "whole frame"
STAGES = ("H head", "M dense motion", "compose and warp", "G generator, warp included", WHOLE)


class Stage(NamedTuple):
    run: Run  # what is timed
    calls: list[Call]  # the layers that run in it


def config_of(preset: str) -> ModelConfig:
    if not TINY:
        return PRESETS[preset]
    import tiny  # of the tests

    small = {
        "vox-256": tiny.TINY_VOX,
        "vox-256-spade": tiny.TINY_SPADE,
        "liveportrait": tiny.TINY_LIVEPORTRAIT,
        "fomm-256": tiny.TINY_FOMM,
    }
    return small[preset]


def reenactor_of(config: ModelConfig, form: str) -> Reenactor:
    dtype = "float16" if DEVICE == "cuda" and form == PATH else "float32"
    return Reenactor(config, weights="random", device=DEVICE, dtype=dtype, optimize=form == PATH)


class Scene:
    """Pictures, the same ones in every scene of a size, and what each stage of a frame leaves the next."""

    def __init__(self, reenactor: Reenactor, batch: int) -> None:
        self.reenactor, self.config, self.networks = reenactor, reenactor.config, reenactor.networks
        shape = (batch + 2, self.config.image_size, self.config.image_size, 3)
        portrait, rest, *self.frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        self.source, self.anchor = reenactor.encode(portrait), reenactor.extract(rest)
        self.portrait = self._images([portrait])

    def images(self) -> Tensor:
        return self._images(self.frames)

    def _images(self, frames: Sequence[np.ndarray]) -> Tensor:
        size = self.config.image_size
        images = to_images(as_batch(frames, size, torch.device(DEVICE)), size)
        return images.to(DEVICE, self.reenactor.dtype)

    def placed(self, images: Tensor) -> Placement:
        motion = self.networks.extract(images)
        placement = place(self.source, motion, self.anchor, geometry=self.config.geometry)
        return self.networks.stitch(self.source, placement)

    def network(self, images: Tensor) -> Tensor:
        return self.networks.render(self.source, self.placed(images))

    def film(self) -> Run:
        """One call, the next frames of a film without end: uint8 pictures in and out."""
        batch = len(self.frames)
        driven = self.reenactor.animate(
            self.source, cycle(self.frames), relative=True, anchor=self.anchor, batch_size=batch
        )
        return lambda: [next(driven) for _ in range(batch)]


def stages_of(reenactor: Reenactor, form: str, batch: int = 1) -> dict[str, Stage]:
    """Every stage on what the stages before it leave. To be called, and its stages run, in inference mode."""
    around = AROUND[form]
    timed = {EAGER: _as_it_is, COMPILED: compiled, PATH: _replayed}[form]
    parts = around(lambda: _parts(Scene(reenactor, batch)))()
    stages = [Stage(around(timed(run)), _calls(reenactor, around(run))) for run in parts]
    return dict(zip(STAGES, [*stages, whole_of(reenactor, form, batch)], strict=True))


def whole_of(reenactor: Reenactor, form: str, batch: int = 1) -> Stage:
    """The whole frame, pictures in and out."""
    around = AROUND[form]
    scene = around(lambda: Scene(reenactor, batch))()
    run = scene.film()
    if form == EAGER:
        run = _with_source(scene, run)
    if form == COMPILED:
        run = partial(_around_compiled, scene, compiled(scene.network))
    # a film may replay what it has captured; the modules' own forward is what hooks see
    return Stage(around(run), _calls(reenactor, around(lambda: scene.network(scene.images()))))


def _with_source(scene: Scene, film: Run) -> Run:
    """First Order Motion's release computes the source's features anew in every frame."""
    if scene.config.dense_motion.reads != "picture":
        return film
    return lambda: (scene.networks.appearance(scene.portrait), film())[1]


def _around_compiled(scene: Scene, network: Callable[[Tensor], Tensor]) -> np.ndarray:
    return to_uint8(network(scene.images())).cpu().numpy()


def _parts(scene: Scene) -> Sequence[Run]:
    """The stages before the whole, in order."""
    config, networks, source, images = scene.config, scene.networks, scene.source, scene.images()
    kp_source, placement = networks.in_volume(source.keypoints, scene.placed(images))
    points = (kp_source, *placement)
    field = networks.dense_motion(source.compressed, *points)
    options = {"align_corners": config.align_corners, "mask_threshold": config.dense_motion.mask_threshold}
    return (
        lambda: networks.extract(images),
        lambda: networks.dense_motion(source.compressed, *points),
        lambda: networks.generator.warp(source.features, field.mask_logits, *points, **options),
        lambda: networks.generator(source.features, field, *points),
    )


def compiled(run: Callable[..., Any]) -> Callable[..., Any]:
    """At its first call; for these sizes alone."""
    return torch.compile(run, dynamic=False, mode="reduce-overhead" if DEVICE == "cuda" else None)


def stock(run: Run) -> Run:
    def stocked() -> Any:
        with as_released():
            return run()

    return stocked


@contextmanager
def as_released() -> Iterator[None]:
    """Stock operators; on a GPU half precision by autocast, and cuDNN may choose among its kernels."""
    half = torch.autocast("cuda", torch.float16, enabled=DEVICE == "cuda")
    with use_backend("reference"), torch.backends.cudnn.flags(benchmark=True), half:
        yield


def _as_it_is(run: Run) -> Run:
    return run


def _replayed(run: Run) -> Run:
    return replay(run) or run


def _calls(reenactor: Reenactor, run: Run) -> list[Call]:
    with recorded(reenactor.networks) as calls:
        run()
    return calls


AROUND: dict[str, Callable[[Run], Run]] = {EAGER: stock, COMPILED: stock, PATH: _as_it_is}
