# SPDX-License-Identifier: Apache-2.0
"""What a stream gives: pictures, and the counts of what became of its frames."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from fv2v.geometry import Motion

WINDOW = 1000  # latencies kept for the percentiles: those of the latest pictures


@dataclass(frozen=True, slots=True)
class Picture:
    """What became of a frame."""

    images: np.ndarray  # (S, n, n, 3) uint8, one a source
    number: int  # of the frame, counted from 0 in the order of `push`, dropped ones included
    time: float  # of the frame: what `push` was told, or `time.monotonic()` when it was pushed
    latency: float  # seconds from `push` until the picture was ready
    seen: bool = True  # whether the driver's face was seen in the frame; always without `crop`
    motion: Motion | None = None  # what moved the sources, one row each, before edits; None: they rest

    @property
    def image(self) -> np.ndarray:
        """(n, n, 3) uint8: of the first source, or the only one."""
        return self.images[0]


@dataclass(slots=True)
class Counts:
    """What has become of a stream's frames so far; `StreamReport` says what each number counts."""

    pushed: int = 0
    shown: int = 0
    dropped: int = 0
    unseen: int = 0
    failed: int = 0
    lost: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def report(self, waiting: int, ended: bool) -> "StreamReport":
        """While so many pictures wait for `get`. Of a stream that has ended every other frame is dropped."""
        made = self.shown + self.unseen + waiting
        dropped = self.pushed - made - self.failed if ended else self.dropped
        latencies = list(self.latencies) or [np.nan]
        p50, p95, p99, longest = (float(each) for each in np.percentile(latencies, (50, 95, 99, 100)))
        counts = (self.pushed, self.shown, dropped, self.unseen, self.failed)
        return StreamReport(*counts, p50, p95, p99, longest, self.lost)


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What a stream has done so far. Frames pushed = shown + dropped + unseen + failed + those under way.

    Latencies are seconds from `push` until the picture was ready, of the last 1000 pictures; NaN before the
    first.
    """

    pushed: int
    shown: int  # pictures that `get` has returned
    dropped: int  # frames of which there is no picture: newer ones took their place, or the stream ended
    unseen: int  # pictures that newer ones took the place of before anybody got them
    failed: int  # frames that were no pictures, left out by `on_error="skip"`
    p50: float
    p95: float
    p99: float
    longest: float
    lost: int = 0  # pictures of frames in which no face was seen, with `crop`

    def __str__(self) -> str:
        text = f"{self.pushed} frames pushed, {self.shown} shown, {self.dropped} dropped"
        if self.unseen:
            text += f", {self.unseen} rendered and not asked for"
        if self.lost:
            text += f", {self.lost} without a face seen"
        if self.failed:
            text += f", {self.failed} left out: no pictures"
        if not np.isnan(self.longest):
            p50, p95, p99, longest = (1e3 * each for each in (self.p50, self.p95, self.p99, self.longest))
            text += f"; latency {p50:.0f} ms (p95 {p95:.0f}, p99 {p99:.0f}, at most {longest:.0f})"
        return text
