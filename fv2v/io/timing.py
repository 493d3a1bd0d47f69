"""When the frames of a video or of a motion sequence are shown."""

from dataclasses import dataclass
from fractions import Fraction
from math import inf


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
        if self.time_base <= 0:
            raise ValueError(f"expected a time base of more than 0 seconds, got {self.time_base}")
        if not 1 <= self.rate <= 1000:
            raise ValueError(f"expected from 1 to 1000 frames a second, got {self.rate}")

    @classmethod
    def even(cls, frames: int, fps: float | Fraction) -> "Timing":
        """Frames at a constant rate, the first at 0 seconds."""
        rate = as_rate(fps)
        return cls(tuple(range(frames)), 1 / rate, rate)

    @property
    def end(self) -> float:
        """Seconds at which the last frame stops being shown, had it the average duration."""
        return float(self.pts[-1] * self.time_base + 1 / self.rate)


def as_rate(fps: float | Fraction) -> Fraction:
    """Frames a second as an exact fraction: 30000/1001 for 29.97002997. ValueError for 0 or less."""
    if not 0 < fps < inf:
        raise ValueError(f"expected frames a second, a number above 0, got {fps}")
    return Fraction(fps).limit_denominator(100_000)
