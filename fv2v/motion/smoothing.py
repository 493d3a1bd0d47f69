# SPDX-License-Identifier: Apache-2.0
"""Steady motion: jitter is filtered out of a driver's motion, movement passes.

A one-euro filter (Casiez, Roussel, Vogel, CHI 2012): a low pass whose cutoff rises with speed. With v the
speed, itself low-passed, and T the time since the frame before,

    cutoff = least + rise |v|,  α = r / (1 + r),  r = 2π cutoff T
    y ← x + (1 − α) (y − x)

Translation, scale and each keypoint's δ are filtered as vectors. Rotations stay rotations: the difference of
two is the axis times the angle of the rotation between them, and y is x rotated back by part of that.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fv2v.devices import no_autocast
from fv2v.geometry import POSED, Motion
from fv2v.geometry.rotation import rotation_from_vector, rotation_vector

SHORTEST, LONGEST = 1 / 240, 1.0  # seconds between two frames: T is clamped to these
LARGEST_TURN = 2.6  # radians between two rotations; beyond, the new one is taken as it is


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The cutoff of a low pass: a higher one follows faster, a lower one is steadier."""

    least: float  # Hz, at rest
    rise: float  # Hz for each unit a second of speed

    def __post_init__(self) -> None:
        if not (0 < self.least < math.inf and 0 <= self.rise < math.inf):
            raise ValueError(f"expected a finite cutoff above 0 Hz, and a rise of 0 or more, got {self}")


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Parameters of the filter. The defaults halve a still face's jitter and delay rotations by a frame.

    Rotations are in radians; keypoints, translation and δ in the units of fv2v/geometry.
    """

    rotation: Cutoff = Cutoff(1.5, 3.0)
    translation: Cutoff = Cutoff(1.5, 10.0)
    expression: Cutoff = Cutoff(2.0, 20.0)  # lips move fast
    scale: Cutoff = Cutoff(1.5, 10.0)
    jacobians: Cutoff = Cutoff(1.5, 10.0)  # of models that read keypoints directly
    speed: Cutoff = Cutoff(5.0, 0.0)  # of the low pass on v, the same for all of them


STEADY = Steadiness()


class _State(NamedTuple):
    """After a frame, of one part of the motion: (B, 3, 3) rotations, or vectors (..., n)."""

    steady: Tensor  # y
    latest: Tensor  # x
    speed: Tensor  # v, a vector (..., n) in any case


class SteadyMotion:
    """Filters a driver's motion, or that of several drivers in a batch, frame by frame. Causal.

    The first frame passes as it is; so does a rotation by more than 150 degrees in one frame, and whatever
    follows NaN. Each driver needs a filter of its own: it keeps state.

    Args:
        steadiness: its parameters.
        fps: frames a second, where `step` is not given the time between frames.
    """

    def __init__(self, steadiness: Steadiness = STEADY, fps: float = 25.0) -> None:
        if not 0 < fps < math.inf:
            raise ValueError(f"expected fps above 0, got {fps}")
        self._steadiness = steadiness
        self._interval = 1 / fps
        self._states: dict[str, _State] = {}

    def step(self, motion: Motion, seconds: float | None = None) -> Motion:
        """The next frame of each of B drivers.

        Args:
            motion: one row a driver; as many rows as at the first call.
            seconds: since the frame before; None, or no time at all, counts as 1 / fps.

        Raises:
            ValueError: another number of drivers, or of keypoints, than before.
        """
        interval = seconds if seconds and seconds > 0 else self._interval
        interval = min(max(interval, SHORTEST), LONGEST)
        with torch.no_grad(), no_autocast(motion.rotation):
            steady = {name: self._follow(name, motion, interval) for name in POSED}
            if motion.jacobians is not None:
                steady["jacobians"] = self._follow("jacobians", motion, interval)
            return Motion(**steady)

    def run(self, motion: Motion, seconds: float | None = None) -> Motion:
        """The next T frames of one driver, a row each, `seconds` apart; otherwise as `step`."""
        if len(motion) == 1:
            return self.step(motion, seconds)
        return Motion.cat([self.step(motion[i : i + 1], seconds) for i in range(len(motion))])

    def _follow(self, name: str, motion: Motion, interval: float) -> Tensor:
        value = getattr(motion, name)
        turn = name == "rotation"
        state = self._states.get(name)
        if state is None:
            still = torch.zeros_like(value[..., 0] if turn else value)
            self._states[name] = _State(value, value, still)
            return value
        if state.latest.shape != value.shape:
            raise ValueError(
                f"expected the {name} of the same drivers as before, {tuple(state.latest.shape)}; "
                f"got {tuple(value.shape)}; a new driver needs a SteadyMotion of its own"
            )
        difference, moved, limit = ROTATIONS if turn else VECTORS
        speed_share = _share(self._steadiness.speed.least, interval)
        speed = torch.lerp(state.speed, difference(state.latest, value) / interval, speed_share)
        speed = speed.where(speed.isfinite(), 0.0)
        cutoff = getattr(self._steadiness, name)
        share = _share(cutoff.least + cutoff.rise * _length(speed), interval)
        behind = difference(value, state.steady)
        behind = behind.where(_length(behind) < limit, 0.0)  # of NaN, too
        steady = moved(value, (1 - share) * behind)
        self._states[name] = _State(steady, value, speed)
        return steady


def _share(cutoff: Tensor | float, interval: float) -> Tensor | float:
    """α: the part of the distance to a new value that a low pass moves."""
    ratio = 2 * math.pi * interval * cutoff
    return ratio / (1 + ratio)


def _length(vectors: Tensor) -> Tensor:
    """(..., n) -> (..., 1)."""
    return torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)


class _Space(NamedTuple):
    """Difference and sum of values: of vectors, or of rotations."""

    difference: Callable[[Tensor, Tensor], Tensor]  # from the first to the second
    moved: Callable[[Tensor, Tensor], Tensor]
    limit: float  # of differences that are filtered; beyond, the new value is taken as it is


ROTATIONS = _Space(
    lambda a, b: rotation_vector(a.mT @ b), lambda a, turn: a @ rotation_from_vector(turn), LARGEST_TURN
)
VECTORS = _Space(lambda a, b: b - a, lambda a, step: a + step, math.inf)
