"""The paper's protocols (Sec. 4): what a model shows of one source.

same identity    the first frame is the source, and the others of its clip drive, absolutely
free view        the source as it is, its head turned by each of YAWS
frontalization   the source with R = 1
cross identity   another face's frames drive: absolutely, and relative to the first of them
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from fv2v.config import ModelConfig
from fv2v.data.pairs import Truth
from fv2v.geometry import Motion, Source, View, coordinate_dtype, keypoints_of
from fv2v.io.tensors import to_images
from fv2v.reenactor import Reenactor

YAWS = tuple(range(-30, 31, 10))  # degrees

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Answers:
    """The true pictures of what is `Shown`, float in [0, 1]; None where nobody knows them."""

    driven: Tensor  # (T-1, 3, n, n)
    views: Tensor | None = None  # (9, 3, n, n)  at YAWS, and 10 degrees further to either side
    front: Tensor | None = None  # (1, 3, n, n)
    cross: Tensor | None = None  # (C, 3, n, n)  absolute and relative alike


@dataclass(frozen=True, slots=True)
class Scene:
    """One person, another whose face drives it, and what is known of them. Pictures as in `Answers`."""

    frames: Tensor  # (T, 3, n, n); the first is the source, the others drive
    driver: Tensor | None  # (1 + C, 3, n, n); the first counts as no change, the others drive
    answers: Answers
    truth: Truth | None = None  # of the frames
    driver_truth: Truth | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What is shown is made of this: of one portrait, of what drives it, and of another face that does."""

    source: Source
    driving: Motion  # T - 1 frames
    driver: Motion | None  # 1 + C frames: what counts as no change, and what drives


@dataclass(frozen=True, slots=True)
class Shown:
    """Pictures of one source, float in [0, 1]."""

    driven: Tensor  # (T-1, 3, n, n)
    views: Tensor  # (7, 3, n, n)  at YAWS
    front: Tensor  # (1, 3, n, n)
    absolute: Tensor | None  # (C, 3, n, n)
    relative: Tensor | None  # as absolute


class Performer:
    """A model at work, and how long it takes.

    Args:
        reenactor: the model. One that coefficients drive has nothing to read in frames: ValueError.
        batch_size: frames that go through the networks together.
    """

    def __init__(self, reenactor: Reenactor, batch_size: int = 1) -> None:
        if reenactor.config.driven_by == "coefficients":
            raise ValueError(
                f"expected a model that pictures drive, got {reenactor.config.name!r}, which 3DMM "
                "coefficients drive: frames hold none"
            )
        if batch_size < 1:
            raise ValueError(f"expected batch_size >= 1, got {batch_size}")
        self.reenactor, self.batch_size = reenactor, batch_size
        self._read: list[float] = []  # seconds a frame
        self._shown: list[float] = []

    @property
    def seconds(self) -> float:
        """That a frame takes, driving frame to picture: medians, the portrait's own part left out."""
        return median(self._read) + median(self._shown)

    def read(self, scene: Scene) -> Reading:
        """F and L on the source, H and Δ on every frame."""
        return Reading(
            source=self.reenactor.encode(scene.frames[:1]),
            driving=self._extract(scene.frames[1:]),
            driver=None if scene.driver is None else self._extract(scene.driver),
        )

    def show(self, reading: Reading) -> Shown:
        """All protocols."""
        source, driver = reading.source, reading.driver
        front = torch.from_numpy(self.reenactor.frontalize(source)[np.newaxis])
        return Shown(
            driven=self._render(source, reading.driving),
            views=self._render(
                source, Motion.cat([source.motion] * len(YAWS)), views=[View(yaw=yaw) for yaw in YAWS]
            ),
            front=to_images(front, self.reenactor.config.output_size),
            absolute=None if driver is None else self._render(source, driver[1:]),
            relative=None if driver is None else self._render(source, driver[1:], anchor=driver[:1]),
        )

    def _extract(self, frames: Tensor) -> Motion:
        def extract(some: slice) -> Motion:
            return self.reenactor.extract(frames[some])

        return Motion.cat(self._in_batches(len(frames), self._read, extract))

    def _render(
        self,
        source: Source,
        motion: Motion,
        anchor: Motion | None = None,
        views: list[View] | None = None,
    ) -> Tensor:
        def render(some: slice) -> Tensor:
            view = None if views is None else views[some]
            return self.reenactor.render(source, motion[some], anchor, view)

        pictures = torch.cat(self._in_batches(len(motion), self._shown, render)).float().cpu()
        if not torch.isfinite(pictures).all():
            raise ValueError(f"{self.reenactor.config.name}: the model shows NaN or infinite numbers")
        return pictures

    def _in_batches(self, count: int, seconds: list[float], work: Callable[[slice], Made]) -> list[Made]:
        """What `work` makes of each batch; `seconds` a frame are noted."""
        made = []
        for start in range(0, count, self.batch_size):
            frames = min(self.batch_size, count - start)
            with self._timed(seconds, frames):
                made.append(work(slice(start, start + frames)))
        return made

    @contextmanager
    def _timed(self, seconds: list[float], frames: int) -> Iterator[None]:
        self._wait()
        started = time.perf_counter()
        yield
        self._wait()
        seconds.append((time.perf_counter() - started) / frames)

    def _wait(self) -> None:
        if self.reenactor.device.type == "cuda":
            torch.cuda.synchronize(self.reenactor.device)


def unchanged(source: Tensor, like: Shown) -> Shown:
    """The source (1, 3, n, n) as it is in place of each picture: what a model must do better than."""
    return Shown(
        driven=source.expand_as(like.driven),
        views=source.expand_as(like.views),
        front=source.expand_as(like.front),
        absolute=None if like.absolute is None else source.expand_as(like.absolute),
        relative=None if like.relative is None else source.expand_as(like.relative),
    )


def true_reading(scene: Scene, read: Reading, config: ModelConfig) -> Reading | None:
    """What a model would read if every keypoint and motion were right: its features, and the scene's truth.

    The rest is the model's own rule. That keeps δ as it is in a view, and takes the driver's δ for another
    face, so even a perfect generator does not get every picture right by it. None where the scene has no
    truth, or where the model's keypoints cannot be its landmarks: there are not as many, or they come from
    no picture.
    """
    truth, like = scene.truth, read.source.canonical
    if truth is None or config.driven_by != "pictures" or config.keypoints != truth.canonical.shape[1]:
        return None
    voxels, dtype = config.image_size // config.volume_stride, coordinate_dtype(like.dtype)
    known = truth.on_lattice(voxels)
    canonical, own = known.canonical.to(like.device, dtype), known.source.to(like.device, dtype)
    driver: Motion | None = None
    if scene.driver_truth is not None:
        other = scene.driver_truth.on_lattice(voxels)
        driver = Motion.cat([other.source, other.driving]).to(like.device, dtype)
    return Reading(
        replace(read.source, canonical=canonical, motion=own, keypoints=keypoints_of(canonical, own)),
        known.driving.to(like.device, dtype),
        driver,
    )
