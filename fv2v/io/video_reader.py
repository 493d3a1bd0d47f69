# SPDX-License-Identifier: Apache-2.0
"""Video read through PyAV, frame by frame, with its time stamps."""

from collections.abc import Iterator
from fractions import Fraction
from math import floor
from pathlib import Path

import av
import numpy as np

from fv2v.io.container import frame_rate, may_be_joined, open_video, packets_of, video_streams
from fv2v.io.display import Display
from fv2v.io.integrity import check_not_truncated
from fv2v.io.limits import reading
from fv2v.io.paths import PathLike, check_input
from fv2v.io.timing import WHOLE, JoinedClock, Span, Timing

DAMAGED = "not a video that FFmpeg can read, or a damaged one"
INDEXED = {"mp4", "matroska"}  # containers in which FFmpeg finds a keyframe by its time stamp
MARGIN = 1  # second: it may look for the time of decoding, which is before that of showing


class VideoReader:
    """The frames of a video, (H, W, 3) uint8 RGB, decoded as they are asked for; each iteration starts anew.

    Frames are as players show them: upright, with square pixels, HDR and BT.709 in their colours.

    Attributes:
        path: the file.
        size: (height, width) of the frames, rotation metadata and the shape of pixels applied.
        rate: frames a second, on average; the frames may come at uneven times.
        time_base: seconds a tick.
        pts: time stamps, in ticks, of the frames that the latest iteration has read so far.
        sound: the file whose sound goes along with the frames, this one; None: no sound does.
        damaged: time stamps of frames that are damaged, or could not be decoded and are left out.
        shifts: seconds by which its recordings after the first were moved, where several were joined.
        span: which part is read.
        strict: whether a damaged frame is an error.
        opacity: (H, W) uint8 of the frame read last, of a folder of transparent pictures; else None.
    """

    opacity: np.ndarray | None = None

    def __init__(self, path: PathLike, span: Span = WHOLE, *, strict: bool = False) -> None:
        self.path = check_input(path)
        self.sound: Path | None = self.path
        self.span = span
        self.strict = strict
        self._origin: int | None = None  # ticks of the first frame of all
        self._start_anew()
        with reading(self.path, DAMAGED):
            self._measure()

    def _measure(self) -> None:
        """Reads the header and the first frame."""
        check_not_truncated(self.path)
        with open_video(self.path) as container:
            stream = video_streams(container)[0]
            if stream.time_base is None:
                raise ValueError(f"{self.path}: the video has no time base")
            self.time_base: Fraction = stream.time_base
            self.rate = frame_rate(stream)
            self._step = max(1, round(1 / (self.rate * self.time_base)))  # ticks a frame, on average
            self._frames_stated = stream.frames or round((container.duration or 0) / 1e6 * self.rate)
        first = next(iter(self), None)
        if first is None:
            found = "none of its frames can be decoded" if self.damaged else "the video has no frames"
            raise ValueError(f"{self.path}: {found}")
        self.size: tuple[int, int] = first.shape[:2]
        self._origin = self.pts[0]
        if self.span.start and next(iter(self), None) is None:
            raise ValueError(f"{self.path}: expected frames {self.span}, the video has none there")
        self._start_anew()

    @property
    def length(self) -> int | None:
        """How many frames to expect, by the file's header: for progress bars only. None: not stated."""
        return self.span.length(self._frames_stated or None, self.rate)

    @property
    def times(self) -> list[float]:
        """Seconds at which the frames read so far are shown."""
        return [float(ticks * self.time_base) for ticks in self.pts]

    @property
    def timing(self) -> Timing:
        """Time stamps of the frames read so far, at least one."""
        return Timing(tuple(self.pts), self.time_base, self.rate)

    @property
    def end(self) -> float:
        """Seconds at which the last frame read so far stops being shown."""
        return float((self.pts[-1] + self._last_duration) * self.time_base)

    @property
    def note_on_damage(self) -> str | None:
        """A line for the user that counts and times the damaged frames read so far; None: there are none."""
        if not self.damaged:
            return None
        start = min(self.pts[:1] + self.damaged[:1])
        seconds = [f"{float((ticks - start) * self.time_base):.2f}" for ticks in self.damaged]
        more = f" and {len(seconds) - 5} more" if len(seconds) > 5 else ""
        return (
            f"{self.path}: {len(seconds)} damaged frame{'s' * (len(seconds) > 1)}, at "
            f"{', '.join(seconds[:5])} s{more}; what is shown from there to the next keyframe may be wrong"
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        self._start_anew()
        # of this iteration alone: an older one that still runs cannot change them
        pts, damaged, shifts = self.pts, self.damaged, self.shifts
        with reading(self.path, DAMAGED):
            yield from self._frames(pts, damaged, shifts)

    def _frames(self, pts: list[int], damaged: list[int], shifts: list[Fraction]) -> Iterator[np.ndarray]:
        try:
            with open_video(self.path) as container:
                stream = video_streams(container)[0]
                clock = JoinedClock(self.time_base) if may_be_joined(container) else None
                if clock:
                    clock.shifts = shifts
                display = Display(stream)
                self._seek(container, stream)
                last: int | None = None
                for packet in packets_of(container):
                    try:
                        frames = packet.decode()
                    except av.error.InvalidDataError:
                        if not clock:
                            raise
                        # a broadcast may begin between keyframes, or have lost packets on its way
                        self._damage(packet.pts or 0, damaged)
                        continue
                    for frame in frames:
                        last = self._time_stamp(frame, last, clock)
                        origin = last if self._origin is None else self._origin
                        seconds = (last - origin) * self.time_base
                        if self._origin is not None and self.span.is_before(seconds):
                            continue
                        if self.span.is_over(seconds):
                            return
                        pts.append(last)
                        self._last_duration = frame.duration or self._step
                        if frame.is_corrupt:
                            self._damage(last, damaged)
                        yield display(frame)
                        if len(pts) == self.span.frames:
                            return
        except av.error.FFmpegError as error:
            raise ValueError(
                f"{self.path}: damaged or truncated after {len(pts)} frames ({error.strerror})"
            ) from None

    def _seek(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        """Go to a keyframe before the start, where the container has an index and one clock."""
        if (
            self._origin is not None
            and self.span.start
            and not INDEXED.isdisjoint(container.format.name.split(","))
        ):
            target = self._origin + floor((self.span.start - MARGIN) / self.time_base)
            if target > self._origin:
                container.seek(target, stream=stream)

    def _start_anew(self) -> None:
        self.pts: list[int] = []
        self.damaged: list[int] = []
        self.shifts: list[Fraction] = []

    def _damage(self, ticks: int, damaged: list[int]) -> None:
        damaged.append(ticks)
        if self.strict:
            seconds = float(ticks * self.time_base)
            raise ValueError(f"{self.path}: expected no damaged frame (strict), got one at {seconds:.2f} s")

    def _time_stamp(self, frame: av.VideoFrame, before: int | None, clock: JoinedClock | None) -> int:
        """The frame's own, in ticks; from the rate where it has none, a tick later where it does not rise."""
        ticks = frame.pts
        if ticks is not None and clock:
            ticks = clock(ticks, frame.duration or self._step)
        if before is None:
            return ticks or 0
        return before + self._step if ticks is None else max(ticks, before + 1)
