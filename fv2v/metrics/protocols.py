# SPDX-License-Identifier: Apache-2.0
"""The paper's protocols (Sec. 4): the pictures that a model makes of one source.

same identity    the first frame is the source, and the others of its clip drive, absolutely
source unmoved   the source's own motion: what the networks lose where nothing moves
free view        the source's own motion, its head turned by each of YAWS
frontalization   the source's own motion with R = 1
cross identity   another face's frames drive: absolutely, and relative to the first of them
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class TruePictures:
    """The true pictures for `Outputs`, float in [0, 1]; None where there are none."""

    driven: Tensor  # (T-1, 3, n, n)
    views: Tensor | None = None  # (9, 3, n, n)  at YAWS, and 10 degrees beyond both ends
    front: Tensor | None = None  # (1, 3, n, n)
    cross: Tensor | None = None  # (C, 3, n, n)  of absolute and of relative motion
    regions: Tensor | None = None  # (T-1, n, n) uint8  what each pixel of `driven` shows: `REGIONS`


@dataclass(frozen=True, slots=True)
class Scene:
    """Frames of one person and of another who drives it, with the truth where it is known."""

    frames: Tensor  # (T, 3, n, n) in [0, 1]; the first is the source, the others drive
    driver: Tensor | None  # (1 + C, 3, n, n); the first is the anchor, the others drive
    true: TruePictures
    truth: Truth | None = None  # of the frames
    driver_truth: Truth | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the networks read in a scene, and what all `Outputs` are made of."""

    source: Source
    driving: Motion  # T - 1 frames
    driver: Motion | None  # 1 + C frames: the anchor, and what drives


@dataclass(frozen=True, slots=True)
class Outputs:
    """A model's pictures of one source, float in [0, 1]."""

    driven: Tensor  # (T-1, 3, n, n)
    views: Tensor | None  # (7, 3, n, n)  at YAWS; None, as the next, of models without a pose
    front: Tensor | None  # (1, 3, n, n)
    absolute: Tensor | None  # (C, 3, n, n)
    relative: Tensor | None  # as absolute
    unmoved: Tensor | None = None  # (1, 3, n, n); None: not asked for


@dataclass
class Times:
    """Seconds a frame, of each batch that went through the networks."""

    read: list[float] = field(default_factory=list)
    rendered: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """From driving frame to picture: medians, without what is computed once a portrait."""
        return median(self.read) + median(self.rendered)

    def join(self, other: "Times") -> None:
        """Add those of other batches."""
        self.read += other.read
        self.rendered += other.rendered


class ProtocolRunner:
    """Runs a model through all protocols, and times it: `times`.

    Args:
        reenactor: the model.
        batch_size: frames that go through the networks together.

    Raises:
        ValueError: a model that is driven by coefficients, or a batch size below 1.
    """

    def __init__(self, reenactor: Reenactor, batch_size: int = 1) -> None:
        if reenactor.config.driven_by == "coefficients":
            raise ValueError(
                f"expected a model that is driven by pictures, got {reenactor.config.name!r}, which is "
                "driven by 3DMM coefficients"
            )
        if batch_size < 1:
            raise ValueError(f"expected batch_size >= 1, got {batch_size}")
        self.reenactor, self.batch_size = reenactor, batch_size
        self.times = Times()

    def read(self, scene: Scene) -> Reading:
        """F and L on the source, H and Δ on every frame."""
        return Reading(
            source=self.reenactor.encode(scene.frames[:1]),
            driving=self._extract(scene.frames[1:]),
            driver=None if scene.driver is None else self._extract(scene.driver),
        )

    def run(self, reading: Reading) -> Outputs:
        """The pictures of all protocols."""
        source, driver = reading.source, reading.driver
        views = front = None
        if not self.reenactor.config.direct:
            turned = [View(yaw=yaw) for yaw in YAWS]
            views = self._render(source, source.motion.repeat(len(YAWS)), views=turned)
            ahead = torch.from_numpy(self.reenactor.frontalize(source)[np.newaxis])
            front = to_images(ahead, self.reenactor.config.output_size)
        return Outputs(
            driven=self._render(source, reading.driving),
            views=views,
            front=front,
            absolute=None if driver is None else self._render(source, driver[1:]),
            relative=None if driver is None else self._render(source, driver[1:], anchor=driver[:1]),
            unmoved=self._render(source, source.motion),
        )

    def _extract(self, frames: Tensor) -> Motion:
        def extract(some: slice) -> Motion:
            return self.reenactor.extract(frames[some])

        return Motion.cat(self._in_batches(len(frames), self.times.read, extract))

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

        pictures = torch.cat(self._in_batches(len(motion), self.times.rendered, render)).float().cpu()
        if not torch.isfinite(pictures).all():
            raise ValueError(f"{self.reenactor.config.name}: the pictures hold NaN or infinite numbers")
        return pictures

    def _in_batches(self, count: int, seconds: list[float], work: Callable[[slice], Result]) -> list[Result]:
        """The results of `work` for each batch; its seconds a frame are appended to `seconds`."""
        results = []
        for start in range(0, count, self.batch_size):
            frames = min(self.batch_size, count - start)
            with self._timed(seconds, frames):
                results.append(work(slice(start, start + frames)))
        return results

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


def unchanged(source: Tensor, like: Outputs) -> Outputs:
    """The source (1, 3, n, n) in place of each picture: the baseline of a model that does nothing."""
    return Outputs(
        driven=source.expand_as(like.driven),
        views=None if like.views is None else source.expand_as(like.views),
        front=None if like.front is None else source.expand_as(like.front),
        absolute=None if like.absolute is None else source.expand_as(like.absolute),
        relative=None if like.relative is None else source.expand_as(like.relative),
    )


def true_reading(scene: Scene, read: Reading, config: ModelConfig) -> Reading | None:
    """`read` with the scene's true keypoints and motion in place of the estimated ones; features stay.

    Motion is still transferred by the model's own rule. A view leaves δ as it is, and another face gets the
    driver's δ, so even a perfect generator would not make every picture right. None where the scene has no
    truth, or where the model's keypoints cannot be the scene's landmarks: their numbers differ, or the model
    is driven by coefficients, or knows no canonical face.
    """
    truth, like = scene.truth, read.source.canonical
    posed = config.driven_by == "pictures" and not config.direct
    if truth is None or not posed or config.keypoints != truth.canonical.shape[1]:
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
