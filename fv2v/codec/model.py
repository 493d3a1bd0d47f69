# SPDX-License-Identifier: Apache-2.0
"""How likely each number of the next frame is, given the frames before: in whole numbers alone.

Both sides keep the same `Contexts`. For each number a small network reads how it moved of late (the last
three changes, how far it moves on average over some 30 and some 4 frames, which way it went last, how lively
the frame is so far) and gives a mixture of two Laplace distributions for its next change: their centre,
scales and weight. Networks and features are in fixed point, `ONE` to the unit; the network was trained in
floating point (benches/train_motion_model.py) and then rounded.

Where products, sums and quotients of whole numbers stay below 2^53 they are computed in float64, several
times as fast as in int64 and exact there: in whatever order and with whatever instructions, on every machine.
"""

from bisect import bisect_right
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from math import isqrt

import numpy as np

from fv2v.codec.quantize import LIMIT
from fv2v.codec.range_coder import TOTAL, TOTAL_BITS, CodecError, RangeDecoder, RangeEncoder

ONE = 256  # of features, centres and scales
WEIGHT_BITS = 12  # of the network's weights after the point
BINS = 10  # symbols on either side of the middle one; the outermost stand for all beyond
OCTAVE = 8  # entries of `_POWERS` that double
SLOW, FAST = 5, 2  # averages forget 1/32 and 1/4 a frame
_PRIOR = 4  # frames that the average over a class of numbers counts as
_FLOOR = 77  # 0.3 steps, added to the unit that changes are measured in
_MOST = 8 * ONE  # features are clipped there
LARGEST = 64 * ONE  # no feature exceeds it; between layers numbers are clipped there
_POWERS = [isqrt(isqrt(isqrt(1 << i))) for i in range(OCTAVE * 44)]  # floor(2^(i / 8))
_POWERS_ARRAY = np.array(_POWERS)
_SCALES = _POWERS_ARRAY.astype(np.float64)
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
_TAILS = _DECAY >> 1  # of a Laplace distribution, out of TOTAL
_EDGES = np.array([-np.inf, *range(1 - BINS, BINS + 1), np.inf])  # between symbols, in cells
_INDICES = np.arange(len(_EDGES))
_FORGET = np.array([SLOW, FAST])
_FADE, _FADE_BITS = np.array([5, 7]), 3  # of which way numbers went


def logarithm(values: np.ndarray) -> np.ndarray:
    """8 log2, rounded down, of whole numbers from 1 on."""
    return _POWERS_ARRAY.searchsorted(values, side="right") - 1


@dataclass(slots=True)
class Contexts:
    """What both sides know after a frame, of P numbers. A refresh makes it anew."""

    numbers: np.ndarray  # (P,) the frame, in steps
    changes: np.ndarray  # (P, 3) the last, the one before, ...
    slow: np.ndarray  # (P,) sums of |change|, ONE to the step, that forget
    fast: np.ndarray  # (P,)
    went: np.ndarray  # (P, 2) which way each went last: fades with time, one sooner than the other
    frames: np.ndarray  # (2,) how many frames `slow` and `fast` count
    keypoints: int  # of how many, from the first on, δ was sent
    lively: int = 0  # whether the whole frame moved more than expected: 8 log2

    @classmethod
    def after_refresh(cls, numbers: np.ndarray, keypoints: int) -> "Contexts":
        P = len(numbers)
        zeros = np.zeros(P, np.int64)
        return cls(
            numbers,
            np.zeros((P, 3), np.int64),
            zeros,
            zeros,
            np.zeros((P, 2), np.int64),
            np.zeros(2, np.int64),
            keypoints,
        )

    def digest_bytes(self) -> bytes:
        """All of it, to compare encoder and decoder."""
        parts = (getattr(self, field.name) for field in fields(self))
        return b"".join(np.asarray(part, np.int64).tobytes() for part in parts)

    def after(self, changes: np.ndarray, expected: np.ndarray, keypoints: int) -> "Contexts":
        """The contexts after a frame that changed so, `expected` as `Frame` has it."""
        size = np.abs(changes)
        way = np.sign(changes)[:, None] * ONE
        total, usual = int(size.sum()) * ONE + ONE, int(expected.sum()) + ONE
        return Contexts(
            numbers=self.numbers + changes,
            changes=np.concatenate([changes[:, None], self.changes[:, :2]], axis=1),
            slow=self.slow - (self.slow >> SLOW) + size * ONE,
            fast=self.fast - (self.fast >> FAST) + size * ONE,
            went=np.where(way, way, self.went * _FADE >> _FADE_BITS),
            frames=self.frames - (self.frames >> _FORGET) + ONE,
            keypoints=keypoints,
            lively=_ratio(total, usual),
        )


class Network:
    """Three layers, 12 features in and 4 numbers out, in fixed point."""

    def __init__(self) -> None:
        with files("fv2v.codec").joinpath("model.npz").open("rb") as file:
            stored = np.load(file)
            # in units of the features, so that rounding down is all that is left to do after a layer
            self._layers = [
                (stored[f"weight{i}"] / (1 << WEIGHT_BITS), stored[f"bias{i}"] / (1 << WEIGHT_BITS))
                for i in range(3)
            ]

    def largest_sum(self) -> float:
        """No partial sum of a layer is larger, in whole numbers; float64 is exact below 2^53."""
        sums = [LARGEST * np.abs(weight).sum(0) + np.abs(bias) for weight, bias in self._layers]
        return float(max(each.max() for each in sums)) * (1 << WEIGHT_BITS)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(n, 12) -> (n, 4), whole numbers as float64."""
        first, second, last = self._layers
        x = _clip(_layer(features, *first), 0, LARGEST)
        x = _clip(_layer(x, *second), 0, LARGEST)
        return _layer(x, *last)


def _layer(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    y: np.ndarray = np.floor(x @ weight + bias)
    return y


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
            mean = int(c.slow[part].sum()) // (part.stop - part.start)
            self._pool[part] = (mean + ONE) * ONE // (slow + 2 * ONE)
        self.expected = (c.slow + _PRIOR * self._pool) * ONE // (slow + _PRIOR * ONE)
        quick = (c.fast + self.expected) * ONE // (fast + ONE)
        self.unit = self.expected + _FLOOR
        self.level = logarithm(self.unit)
        level = logarithm(self.expected + 13)
        x = np.empty((P, 12))
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
        scales: (2, n) the near one's and the far one's, as indices of powers of 2^(1/8), ONE to the step.
        weight: (n,) of the far one, out of ONE.
    """

    def __init__(self, centre: np.ndarray, scales: np.ndarray, weight: np.ndarray) -> None:
        scales = _clip(scales, _SMALLEST, _LARGEST)
        # a wide distribution is coded in cells of some steps, and the place in a cell as plain bits
        self._shift = np.maximum((scales[0] >> 3) - 8, 0)
        middle = centre + ONE // 2
        self._first = (middle >> 8) - ((1 << self._shift) >> 1)
        # where the middle cell begins, seen from the centre, and how wide cells are; _FINE * ONE to the step
        self._begin = (self._first * ONE - middle)[:, None] * _FINE
        self._cell = (_FINE * ONE << self._shift)[:, None]
        self._scales = _SCALES.take(scales)[..., None]
        self._weight = weight[:, None]

    @classmethod
    def of(cls, network: Network, frame: Frame, group: slice) -> "Distribution":
        """What the network says of a group that is next."""
        centre, near, wider, weight = network(frame.enter(group)).T.astype(np.int64)
        near = frame.level[group] + (near >> 5)
        scales = np.array([near, near + (np.maximum(wider, 0) >> 5)])
        return cls(centre * frame.unit[group] >> 8, scales, _clip(weight, 0, 240))

    def _starts(self, edges: np.ndarray) -> np.ndarray:
        """(n, m) or (m,) indices of `_EDGES` -> (n, m): the frequencies below them, out of TOTAL.

        Cells are at most 2^33 steps wide, so all distances are below 2^50; and a quotient of whole numbers
        below 2^53 is never rounded up to the next whole number.
        """
        at = _EDGES[edges] * self._cell + self._begin
        away = np.minimum(np.abs(at) / self._scales, len(_DECAY) - 1).astype(np.int64)
        near, far = _TAILS.take(away)
        tail = near * ONE + (far - near) * self._weight
        below = np.where(at < 0, tail, TOTAL * ONE - tail) >> 8
        return (below * (TOTAL - 2 * BINS - 1) >> TOTAL_BITS) + edges

    def encode(self, coder: RangeEncoder, changes: np.ndarray) -> None:
        away = changes - self._first
        cells = away >> self._shift
        symbols = _clip(cells, -BINS, BINS) + BINS
        starts = self._starts(symbols[:, None] + _INDICES[:2]).tolist()
        shifts = self._shift.tolist()
        wide = any(shifts)
        rest = (away - (cells << self._shift)).tolist() if wide else ()
        beyond = (np.abs(cells) - BINS).tolist()
        for i, (start, end) in enumerate(starts):
            coder.encode(start, end - start)
            if beyond[i] >= 0:
                coder.encode_number(beyond[i])
            if shifts[i]:
                coder.encode_bits(rest[i], shifts[i])

    def decode(self, coder: RangeDecoder) -> np.ndarray:
        """(n,) changes, or a CodecError: damaged bytes can say more than 64 bits hold."""
        rows, shifts = self._starts(_INDICES).tolist(), self._shift.tolist()
        changes = []
        for first, row, shift in zip(self._first.tolist(), rows, shifts, strict=True):
            cell = coder.decode(row) - BINS
            if cell in (-BINS, BINS):
                beyond = coder.decode_number()
                cell += beyond if cell > 0 else -beyond
            changes.append(first + (cell << shift) + (coder.decode_bits(shift) if shift else 0))
        if max(map(abs, changes), default=0) >= 2 * LIMIT:
            raise CodecError("damaged: numbers larger than any that are sent")
        return np.array(changes, np.int64)


def _clip(values: np.ndarray, least: int, most: int) -> np.ndarray:
    """np.clip, which takes several times as long on so few numbers."""
    return np.minimum(np.maximum(values, least), most)


def _ratio(a: int, b: int) -> int:
    """8 log2(a / b), whole: `logarithm` of one number."""
    return bisect_right(_POWERS, a) - bisect_right(_POWERS, b)
