# SPDX-License-Identifier: Apache-2.0
"""How likely each number of the next frame is, given the frames before: in whole numbers alone.

Both sides keep the same `Contexts`. For each number a small network reads how it moved of late (the last
three changes, how far it moves on average over some 30 and some 4 frames, which way it went last, how lively
the frame is so far) and gives a mixture of two Laplace distributions for its next change: their centre,
scales and weight. Networks and features are in fixed point, `ONE` to the unit; the network was trained in
floating point (benches/train_motion_model.py) and then rounded.
"""

from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from math import isqrt
from typing import Any

import numpy as np

from fv2v.codec.range_coder import TOTAL, TOTAL_BITS, RangeDecoder, RangeEncoder

ONE = 256  # of features, centres and scales
WEIGHT_BITS = 12  # of the network's weights after the point
BINS = 10  # symbols on either side of the middle one; the outermost stand for all beyond
OCTAVE = 8  # entries of `_POWERS` that double
SLOW, FAST = 5, 2  # averages forget 1/32 and 1/4 a frame
_PRIOR = 4  # frames that the average over a class of numbers counts as
_FLOOR = 77  # 0.3 steps, added to the unit that changes are measured in
_MOST = 8 * ONE  # features are clipped there
_POWERS = np.array([isqrt(isqrt(isqrt(1 << i))) for i in range(OCTAVE * 44)])  # floor(2^(i / 8))
_SMALLEST, _LARGEST = 2 * OCTAVE, 41 * OCTAVE  # scales: indices of _POWERS
_FINE = 32  # entries of _DECAY a scale


def _decay() -> np.ndarray:
    """TOTAL exp(-i / 32), rounded down, by repeated multiplication in whole numbers."""
    ratio = 4_162_825_044  # 2^32 exp(-1/32), to a part in 2^32
    values, value = [], TOTAL << 32
    while value >> 32:
        values.append(value >> 32)
        value = value * ratio >> 32
    return np.array([*values, 0])


_DECAY = _decay()
_EDGES = np.arange(1 - BINS, BINS + 1)
_RISING = np.arange(1, 2 * BINS + 1)


def logarithm(values: Any) -> Any:
    """8 log2, rounded down, of whole numbers from 1 on."""
    return _POWERS.searchsorted(values, side="right") - 1


@dataclass(slots=True)
class Contexts:
    """What both sides know after a frame, of P numbers. A refresh makes it anew."""

    numbers: np.ndarray  # (P,) the frame, in steps
    changes: np.ndarray  # (P, 3) the last, the one before, ...
    slow: np.ndarray  # (P,) sums of |change|, ONE to the step, that forget
    fast: np.ndarray  # (P,)
    went: np.ndarray  # (P, 2) which way each went last: fades with time, one sooner than the other
    frames: np.ndarray  # (2,) how many frames `slow` and `fast` count
    lively: int = 0  # whether the whole frame moved more than expected: 8 log2

    @classmethod
    def after_refresh(cls, numbers: np.ndarray) -> "Contexts":
        P = len(numbers)
        zeros = np.zeros(P, np.int64)
        return cls(
            numbers,
            np.zeros((P, 3), np.int64),
            zeros,
            zeros,
            np.zeros((P, 2), np.int64),
            np.zeros(2, np.int64),
        )

    def digest_bytes(self) -> bytes:
        """All of it, to compare encoder and decoder."""
        parts = (getattr(self, field.name) for field in fields(self))
        return b"".join(np.asarray(part, np.int64).tobytes() for part in parts)

    def after(self, changes: np.ndarray, expected: np.ndarray) -> "Contexts":
        """The contexts after a frame that changed so, `expected` as `Frame` has it."""
        size = np.abs(changes)
        moved = size > 0
        way = np.sign(changes) * ONE
        went = self.went
        faded = np.stack([went[:, 0] * 5 >> 3, went[:, 1] * 7 >> 3], axis=1)
        total, usual = int(size.sum()) * ONE + ONE, int(expected.sum()) + ONE
        return Contexts(
            numbers=self.numbers + changes,
            changes=np.concatenate([changes[:, None], self.changes[:, :2]], axis=1),
            slow=self.slow - (self.slow >> SLOW) + size * ONE,
            fast=self.fast - (self.fast >> FAST) + size * ONE,
            went=np.where(moved[:, None], way[:, None], faded),
            frames=self.frames - (self.frames >> np.array([SLOW, FAST])) + ONE,
            lively=_ratio(total, usual),
        )


class Network:
    """Three layers, 12 features in and 4 numbers out, in fixed point."""

    def __init__(self) -> None:
        with files("fv2v.codec").joinpath("model.npz").open("rb") as file:
            stored = np.load(file)
            self._layers = [
                (stored[f"weight{i}"].astype(np.int64), stored[f"bias{i}"].astype(np.int64)) for i in range(3)
            ]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(n, 12) -> (n, 4)."""
        x = features
        for i, (weight, bias) in enumerate(self._layers):
            x = x @ weight + bias >> WEIGHT_BITS
            if i < 2:
                x = _clip(x, 0, 64 * ONE)
        return x


@cache
def network() -> Network:
    """The one that ships."""
    return Network()


class Frame:
    """The distributions of one frame's changes, group after group: each is told of those before.

    Args:
        contexts: after the frame that this one is predicted from.
        groups: numbers that are coded together.
        pose: how many numbers stand before δ.
    """

    def __init__(self, contexts: Contexts, pose: int) -> None:
        c = contexts
        slow, fast = int(c.frames[0]), int(c.frames[1])
        P = len(c.numbers)
        self._pool = np.empty(P, np.int64)
        for part in (slice(0, pose), slice(pose, P)):
            mean = int(c.slow[part].sum()) // max(len(c.slow[part]), 1)
            self._pool[part] = (mean + ONE) * ONE // (slow + 2 * ONE)
        self.expected = (c.slow + _PRIOR * self._pool) * ONE // (slow + _PRIOR * ONE)
        quick = (c.fast + self.expected) * ONE // (fast + ONE)
        self.unit = self.expected + _FLOOR
        level = logarithm(self.expected + 13)
        x = np.empty((P, 12), np.int64)
        x[:, :3] = _clip(c.changes * (ONE * ONE) // self.unit[:, None], -_MOST, _MOST)
        x[:, 3] = level * 32
        x[:, 4] = (logarithm(quick + 13) - level) * 32
        x[:, 5] = logarithm(self._pool + 13) * 32
        x[:, 6] = c.lively * 32
        x[:, 7] = 0
        x[:, 8:10] = c.went
        x[:, 10] = 0
        x[:pose, 10] = ONE
        x[:, 11] = ONE * ONE // (slow + ONE)
        self.features = x
        self._moved, self._usual = 0, 0

    def enter(self, group: slice) -> np.ndarray:
        """The features (n, 12) of a group, which is next."""
        x = self.features[group]
        x[:, 7] = 32 * _ratio(2 * self._moved + self._usual + 2 * ONE, 3 * self._usual + 2 * ONE)
        return x

    def leave(self, group: slice, changes: np.ndarray) -> None:
        """A group's changes are known."""
        self._moved += int(np.abs(changes).sum()) * ONE
        self._usual += int(self.expected[group].sum())


class Distribution:
    """Mixtures of two Laplace distributions of n changes, as the range coder's frequencies.

    Args:
        centre: (n,) ONE to the step.
        near, far: (n,) the scales, as indices of powers of 2^(1/8), ONE to the step.
        weight: (n,) of the far one, out of ONE.
    """

    def __init__(self, centre: np.ndarray, near: np.ndarray, far: np.ndarray, weight: np.ndarray) -> None:
        near, far = _clip(near, _SMALLEST, _LARGEST), _clip(far, _SMALLEST, _LARGEST)
        # a wide distribution is coded in cells of some steps, and the place in a cell as plain bits
        self._shift = np.maximum(near // OCTAVE - 8, 0)
        self._first = (centre + ONE // 2 >> 8) - ((1 << self._shift) >> 1)
        edges = (self._first[:, None] + (_EDGES << self._shift[:, None])) * ONE - ONE // 2 - centre[:, None]
        starts = (
            _cumulative(edges, _POWERS[near]) * (ONE - weight)[:, None]
            + _cumulative(edges, _POWERS[far]) * weight[:, None]
        ) >> 8
        starts = (starts * (TOTAL - 2 * BINS - 1) >> TOTAL_BITS) + _RISING
        self._starts = np.empty((len(starts), 2 * BINS + 2), np.int64)
        self._starts[:, 0], self._starts[:, 1:-1], self._starts[:, -1] = 0, starts, TOTAL

    @classmethod
    def of(cls, network: Network, frame: Frame, group: slice) -> "Distribution":
        """What the network says of a group that is next."""
        centre, near, wider, weight = network(frame.enter(group)).T
        unit = frame.unit[group]
        near = logarithm(unit) + (near >> 5)
        return cls(centre * unit >> 8, near, near + (np.maximum(wider, 0) >> 5), _clip(weight, 0, 240))

    def encode(self, coder: RangeEncoder, changes: np.ndarray) -> None:
        away = changes - self._first
        cells = away >> self._shift
        symbols = _clip(cells, -BINS, BINS) + BINS
        rest = (away - (cells << self._shift)).tolist()
        beyond = (np.abs(cells) - BINS).tolist()
        rows, shifts = self._starts.tolist(), self._shift.tolist()
        for i, symbol in enumerate(symbols.tolist()):
            row = rows[i]
            start = row[symbol]
            coder.encode(start, row[symbol + 1] - start)
            if symbol in (0, 2 * BINS):
                coder.encode_number(beyond[i])
            if shifts[i]:
                coder.encode_bits(rest[i], shifts[i])

    def decode(self, coder: RangeDecoder) -> np.ndarray:
        """(n,) changes."""
        rows, shifts, firsts = self._starts.tolist(), self._shift.tolist(), self._first.tolist()
        changes = []
        for row, shift, first in zip(rows, shifts, firsts, strict=True):
            cell = coder.decode(row) - BINS
            if cell in (-BINS, BINS):
                beyond = coder.decode_number()
                cell += beyond if cell > 0 else -beyond
            changes.append(first + (cell << shift) + (coder.decode_bits(shift) if shift else 0))
        return np.array(changes, np.int64)


def _cumulative(edges: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The Laplace distribution's cumulative function at (n, edges), out of TOTAL."""
    away = np.minimum(np.abs(edges) * _FINE // scale[:, None], len(_DECAY) - 1)
    tail = _DECAY[away] >> 1
    return np.where(edges < 0, tail, TOTAL - tail)


def _clip(values: np.ndarray, least: int, most: int) -> np.ndarray:
    """np.clip, which takes several times as long on so few numbers."""
    return np.minimum(np.maximum(values, least), most)


def _ratio(a: int, b: int) -> int:
    """8 log2(a / b), whole."""
    return int(logarithm(a) - logarithm(b))
