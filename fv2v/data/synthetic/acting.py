# SPDX-License-Identifier: Apache-2.0
"""A head that turns, blinks, looks about and speaks: smooth curves for clips and demonstrations."""

import math

import numpy as np

from fv2v.data.synthetic.expression import Expression
from fv2v.data.synthetic.pose import Pose
from fv2v.data.synthetic.uniform import tensor

BLINK = 0.13  # seconds from open to closed
SACCADE = 0.06  # seconds that the eyes take to look elsewhere


def performance(rng: np.random.Generator, frames: int, fps: float = 25.0) -> tuple[Expression, Pose]:
    """Expressions and poses of a lively speaker in so many frames."""
    time = np.arange(frames) / fps
    talks = _smooth(0.5 + 2.5 * (_wander(rng, time, 0.3) + 0.35))  # phrases, and pauses between them
    rate = 3.6 + 1.2 * _wander(rng, time, 0.5)  # syllables a second
    syllables = 0.5 - 0.5 * np.cos(2 * math.pi * np.cumsum(rate) / fps)
    loudness = 0.55 + 0.35 * _wander(rng, time, 1.2)
    yaw, pitch = 28 * _wander(rng, time, 0.22), 9 * _wander(rng, time, 0.3) + 3 * talks * syllables
    blink, still = _blinks(rng, time), np.zeros(frames)
    expression = Expression(
        jaw=tensor(talks * syllables * loudness),
        smile=tensor(0.25 + 0.5 * _wander(rng, time, 0.2)),
        pucker=tensor(0.7 * talks * _wander(rng, time, 1.5).clip(0)),
        brows=tensor(0.15 + 0.6 * _wander(rng, time, 0.45)),
        blink_left=tensor(blink),
        blink_right=tensor(blink),
        # the gaze stays on the viewer while the head turns
        gaze_x=tensor((yaw / 45 + _saccades(rng, time)).clip(-1, 1)),
        gaze_y=tensor((-pitch / 30 + 0.6 * _saccades(rng, time)).clip(-1, 1)),
        teeth=tensor(still),
        tongue=tensor(still),
        frown=tensor(still),
    )
    roll, x, y = (size * _wander(rng, time, 0.25) for size in (7.0, 0.05, 0.03))
    pose = Pose.at(tensor(pitch), tensor(yaw), tensor(roll), tensor(np.stack([x, y], axis=-1)))
    return expression, pose


def _wander(rng: np.random.Generator, time: np.ndarray, frequency: float) -> np.ndarray:
    """(T,) between -1 and 1, oscillating about `frequency` times a second."""
    factors, phases = 0.6 + 0.9 * rng.random(3), 2 * math.pi * rng.random(3)
    waves = np.sin(2 * math.pi * frequency * factors * time[:, None] + phases)
    return waves @ np.array([0.5, 0.3, 0.2])


def _smooth(ramp: np.ndarray) -> np.ndarray:
    """Smoothstep: 0 below 0, 1 above 1."""
    ramp = ramp.clip(0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _moments(rng: np.random.Generator, time: np.ndarray, shortest: float, longest: float) -> np.ndarray:
    """Times from 0 to the end or beyond, at random intervals from `shortest` to `longest`."""
    count = math.ceil((time[-1] + longest) / shortest) if len(time) else 0
    return np.cumsum(shortest + (longest - shortest) * rng.random(count))


def _blinks(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """(T,) 1 where the eyes are closed."""
    moments = _moments(rng, time, 1.5, 4.5)
    away = np.abs(time[:, None] - moments).min(axis=1, initial=np.inf)
    return _smooth(1.25 - away / BLINK)


def _saccades(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """(T,) between -0.5 and 0.5: constant, with sudden jumps."""
    moments = _moments(rng, time, 0.6, 2.2)
    places = rng.random(len(moments) + 1) - 0.5
    moved = _smooth((time[:, None] - moments) / SACCADE)
    return places[0] + moved @ np.diff(places)
