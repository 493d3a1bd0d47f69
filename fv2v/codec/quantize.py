# SPDX-License-Identifier: Apache-2.0
"""Motion as whole numbers of steps, and back: bit for bit the same on every machine.

A picture is 2 wide. With a step s, δ and t come in steps of s, angles in steps of 75 s degrees and scales of
2 s: each then moves a keypoint, half a picture from the middle of the head at most, by about as much.
"""

import hashlib
import json
import math

import numpy as np
import torch

from fv2v.config import ModelConfig
from fv2v.geometry import Motion, check_motion

STEP_UNIT = 1 << 24  # steps are sent as multiples of 1 / STEP_UNIT
LARGEST_STEP = 1.0
DEGREES = 75  # an angle's step, in degrees, over that of δ
SCALES = 2  # a scale's step over that of δ
LIMIT = 1 << 30  # steps, of any number
_TERMS = 13  # of the Taylor series up to a quarter of a turn: its error is below that of float64
_DIVISORS = [((2 * n - 1) * 2 * n, 2 * n * (2 * n + 1)) for n in range(_TERMS, 0, -1)]  # of cosine and sine


class Quantizer:
    """The whole numbers of a preset's motion: angles, t, scale, then δ keypoint by keypoint.

    Args:
        config: the preset.
        step: s; what is used is its nearest multiple of 1 / STEP_UNIT.

    Attributes:
        step: the one in use.
        pose: how many numbers stand before δ.
        size: P, how many there are.

    Raises:
        ValueError: a step out of range, or a preset without H.
    """

    def __init__(self, config: ModelConfig, step: float) -> None:
        if config.direct:
            raise ValueError(
                f"{config.name!r} moves by keypoints and Jacobians, which the bitstream does not carry: "
                "expected a preset with H, as 'vox-256'"
            )
        if not 1 / STEP_UNIT <= step <= LARGEST_STEP:
            raise ValueError(f"expected a step from 1/{STEP_UNIT} to {LARGEST_STEP:g}, got {step}")
        self.config = config
        self.step_units = round(step * STEP_UNIT)
        self.step = self.step_units / STEP_UNIT
        self._axes = ["xyz".index(axis) for axis in config.geometry.translation]
        self._scales = config.head.scales
        self.pose = 3 + len(self._axes) + self._scales
        self.size = self.pose + 3 * config.keypoints
        # which are sent of three angles, x, y and z of t, the scale and δ; and their units
        axes, first = [3 + axis for axis in self._axes], 6 + max(self._scales, 1)
        end = first + 3 * config.keypoints
        self._sent = np.array([0, 1, 2, *axes, *range(6, 6 + self._scales), *range(first, end)])
        units = np.ones(end)
        units[:3], units[6:first] = DEGREES, SCALES
        self._units = units[self._sent]

    def end(self, keypoints: int) -> int:
        """How many numbers are sent with δ of the first `keypoints`."""
        return self.pose + 3 * keypoints

    def groups(self, keypoints: int) -> list[slice]:
        """The numbers that are coded together: the pose, and two halves of δ, of the first `keypoints`."""
        middle, end = self.pose + (self.size - self.pose) // 2, self.end(keypoints)
        parts = (0, self.pose), (self.pose, min(middle, end)), (middle, end)
        return [slice(start, stop) for start, stop in parts if start < stop]

    def measure(self, motion: Motion) -> np.ndarray:
        """(P,) float64: the numbers of one frame, in steps.

        Raises:
            ValueError: as `check_motion`; more than one frame; numbers too large for the step.
        """
        check_motion(motion, self.config.keypoints, scales=self._scales)
        if len(motion) != 1:
            raise ValueError(f"expected the motion of 1 frame, got {len(motion)}")
        rotation, translation, scale, expression = (
            value.numpy(force=True).ravel()
            for value in (motion.rotation, motion.translation, motion.scale, motion.expression)
        )
        angles = self._angles(rotation.tolist())
        values = np.concatenate([angles, translation, scale, expression], dtype=np.float64)
        steps: np.ndarray = values[self._sent] / self._units / self.step
        if np.abs(steps).max() >= LIMIT:
            raise ValueError(
                f"expected motion below {LIMIT} steps of {self.step:g}, got {np.abs(steps).max():g}"
            )
        return steps

    def unwrap(self, steps: np.ndarray, before: np.ndarray) -> np.ndarray:
        """`steps` with its angles moved by whole turns, to where they are nearest to those of `before`."""
        turn = 2 * math.pi / self.config.geometry.pi * 180 / DEGREES / self.step
        moved = steps.copy()
        moved[:3] -= np.rint((steps[:3] - before[:3]) / turn) * turn
        return moved

    def motion(self, numbers: np.ndarray) -> Motion:
        """The motion of one frame, float32 on the CPU, from its (P,) whole numbers."""
        values = numbers * self.step  # both sides exact, one rounding
        translation = np.zeros(3)
        translation[self._axes] = values[3 : 3 + len(self._axes)]
        scale = np.ones(1)
        if self._scales:  # never 0 for a small one that is rounded
            scale = np.maximum(values[self.pose - self._scales : self.pose] * SCALES, self.step)
        arrays = (
            self._rotation(values[:3] * DEGREES),
            translation,
            values[self.pose :].reshape(-1, 3),
            scale,
        )
        return Motion(*(torch.from_numpy(array[None].astype(np.float32)) for array in arrays))

    def _angles(self, rotation: list[float]) -> tuple[float, float, float]:
        """`euler_degrees` of one frame, in a tenth of the time."""
        geometry = self.config.geometry
        _, xy, xz, yx, yy, yz, zx, zy, zz = rotation
        sign = 1
        if geometry.euler_order == "zyx":
            xy, xz, yx, yz, zx, zy, sign = yx, zx, xy, zy, xz, yz, -1
        pitch = math.atan2(-yz, zz)
        yaw = math.atan2(xz, math.hypot(yz, zz))
        c, s = math.cos(pitch), math.sin(pitch)
        roll = math.atan2(c * yx + s * zx, c * yy + s * zy)
        degrees = sign * 180 / geometry.pi
        return pitch * degrees, yaw * degrees, roll * degrees

    def _rotation(self, degrees: np.ndarray) -> np.ndarray:
        """`rotation_from_euler` by sums and products alone, which round alike on every machine."""
        geometry = self.config.geometry
        axes = {}
        for axis, angle in zip("xyz", degrees.tolist(), strict=True):
            c, s = _cos_sin(angle / 180 * (geometry.pi / math.pi))
            axes[axis] = {
                "x": [[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]],
                "y": [[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]],
                "z": [[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]],
            }[axis]
        first, second, third = (axes[axis] for axis in geometry.euler_order)
        return np.array(_product(_product(first, second), third))


def fingerprint(config: ModelConfig) -> int:
    """16 bits of what the numbers of a preset's motion mean."""
    geometry = config.geometry
    meaning = (
        config.keypoints,
        config.head.scale,
        geometry.transfer,
        geometry.euler_order,
        geometry.pi,
        geometry.translation,
    )
    return int.from_bytes(hashlib.sha256(json.dumps(meaning).encode()).digest()[:2], "big")


def _cos_sin(half_turns: float) -> tuple[float, float]:
    """Of an angle in half turns: series about the nearest quarter turn, then a swap and signs."""
    quarters = round(half_turns * 2)
    x = (half_turns - quarters / 2) * math.pi
    square, cosine, sine = x * x, 1.0, 1.0
    for before, after in _DIVISORS:
        cosine = 1 - square / before * cosine
        sine = 1 - square / after * sine
    sine *= x
    return ((cosine, sine), (-sine, cosine), (-cosine, -sine), (sine, -cosine))[quarters % 4]


def _product(a: list[list[float]], b: list[list[float]]) -> list[list[float]]:
    """Of 3 x 3 matrices, summed in this order: libraries choose their own."""
    return [[a[i][0] * b[0][j] + a[i][1] * b[1][j] + a[i][2] * b[2][j] for j in range(3)] for i in range(3)]
