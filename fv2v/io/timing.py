# SPDX-License-Identifier: Apache-2.0
"""When the frames of a video or of a motion sequence are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf

from fv2v.io.limits import TICKS

LONGEST = 1 << 32  # seconds: a recording's clock may begin in 1904


@dataclass(frozen=True, slots=True)
class Timing:
    """Time stamps of T frames, exact: frame i is shown at `pts[i] * time_base` seconds.

    Raises:
        ValueError: no time stamps, some that do not rise, a time base that is not positive, or a rate outside
            1 to 1000.
    """

    pts: tuple[int, ...]  # (T,) ticks
    time_base: Fraction  # seconds a tick
    rate: Fraction  # frames a second, on average

    def __post_init__(self) -> None:
        if not self.pts:
            raise ValueError("expected the time stamps of at least one frame, got none")
        for i, (before, after) in enumerate(zip(self.pts, self.pts[1:], strict=False), 1):
            if after <= before:
                raise ValueError(
                    f"expected time stamps that rise, got {before} and then {after} at frame {i}"
                )
        if self.time_base <= 0 or max(self.time_base.as_integer_ratio()) >= TICKS:
            raise ValueError(
                f"expected a time base of more than 0 seconds, in numbers below {TICKS}, got {self.time_base}"
            )
        if max(-self.pts[0], self.pts[-1]) * self.time_base > LONGEST:
            raise ValueError(
                f"expected time stamps within {LONGEST} seconds, got {self.pts[0]} to {self.pts[-1]}"
            )
        if not 1 <= self.rate <= 1000:
            raise ValueError(f"expected from 1 to 1000 frames a second, got {self.rate}")

    @classmethod
    def even(cls, frames: int, fps: float | Fraction) -> "Timing":
        """Frames at a constant rate, the first at 0 seconds."""
        rate = as_rate(fps)
        return cls(tuple(range(frames)), 1 / rate, rate)

    def part(self, frames: slice) -> "Timing":
        """The time stamps of those frames."""
        return Timing(self.pts[frames], self.time_base, self.rate)

    @property
    def end(self) -> float:
        """Seconds at which the last frame stops being shown, had it the average duration."""
        return float(self.pts[-1] * self.time_base + 1 / self.rate)


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a film is taken: the frames shown from `start` to before `end`, `frames` of them at most.

    Seconds since the film's first frame, exact to a microsecond; None: from the first, to the last, all.

    Raises:
        ValueError: numbers below 0, an end that is not after the start, or less than one frame.
    """

    start: float | Fraction | None = None
    end: float | Fraction | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise ValueError(f"expected at least 1 frame to be asked for, got frames={self.frames}")
        for name in ("start", "end"):
            seconds = getattr(self, name)
            if seconds is None:
                continue
            if not 0 <= seconds <= LONGEST:
                raise ValueError(f"{name}: expected seconds from 0 to {LONGEST}, got {seconds}")
            object.__setattr__(self, name, Fraction(seconds).limit_denominator(1_000_000))
        if self.end is not None and self.end <= (self.start or 0):
            raise ValueError(f"expected an end after the start, got {self}")

    def __str__(self) -> str:
        end = "the end" if self.end is None else f"{float(self.end):g} s"
        return f"from {float(self.start or 0):g} s to {end}"

    @property
    def ends_with_the_film(self) -> bool:
        """Whether the last frame is taken."""
        return self.end is None and self.frames is None

    def is_before(self, seconds: Fraction) -> bool:
        """Whether a frame shown then comes before this part."""
        return self.start is not None and seconds < self.start

    def is_over(self, seconds: Fraction) -> bool:
        """Whether a frame shown then comes after this part."""
        return self.end is not None and seconds >= self.end

    def length(self, total: int | None, rate: Fraction) -> int | None:
        """About how many frames it has, of `total` at that rate; None: not known."""
        if total is not None:
            total = max(1, total - round((self.start or 0) * rate))
        counts = [total, self.frames]
        if self.end is not None:
            counts.append(max(1, round((self.end - (self.start or 0)) * rate)))
        return min((count for count in counts if count is not None), default=None)

    def of(self, timing: Timing) -> slice:
        """Which frames those are. ValueError where there are none."""
        seconds = [(ticks - timing.pts[0]) * timing.time_base for ticks in timing.pts]
        first = sum(map(self.is_before, seconds))
        last = len(seconds) - sum(map(self.is_over, seconds))
        if first >= last:
            raise ValueError(f"expected frames {self}, there are none")
        return slice(first, last if self.frames is None else min(last, first + self.frames))


WHOLE = Span()


class JoinedClock:
    """Time stamps that run on where recordings were joined end to end, each with a clock of its own.

    A stamp that does not rise, or jumps ahead by more than `GAP` seconds, begins another recording, which is
    taken to follow at once.

    Args:
        time_base: seconds a tick.
        shifts: seconds by which the recordings after the first are moved, where they are known: of sound
            those of the picture, so that the two stay together.
    """

    GAP = 10

    def __init__(self, time_base: Fraction, shifts: Sequence[Fraction] = ()) -> None:
        self.time_base = time_base
        self.shifts: list[Fraction] = []  # those so far
        self._known = shifts
        self._last: int | None = None
        self._end = Fraction(0)  # of what came last, in seconds

    def begins_another(self, ticks: int) -> bool:
        """Whether the next stamp, if it is `ticks`, is of another recording."""
        return self._last is not None and not 0 < (ticks - self._last) * self.time_base <= self.GAP

    def __call__(self, ticks: int, duration: int) -> int:
        """The stamp `ticks`, of a frame or packet of that duration, on the clock of the first recording."""
        if self.begins_another(ticks):
            known = self._known[len(self.shifts) :]
            self.shifts.append(known[0] if known else self._end - ticks * self.time_base)
        shift = self.shifts[-1] if self.shifts else 0
        self._last, self._end = ticks, (ticks + duration) * self.time_base + shift
        return ticks + round(shift / self.time_base)


def as_rate(fps: float | Fraction) -> Fraction:
    """Frames a second as an exact fraction: 30000/1001 for 29.97002997. ValueError for 0 or less."""
    if not 1e-5 <= fps < inf:  # which is no 0 in the fraction
        raise ValueError(f"expected frames a second, a number above 0, got {fps}")
    return Fraction(fps).limit_denominator(100_000)
