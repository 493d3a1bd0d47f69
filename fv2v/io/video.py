# SPDX-License-Identifier: Apache-2.0
"""Video in and out through PyAV, frame by frame, with the time stamps and the sound of the source.

Frames are (H, W, 3) uint8 RGB, upright. Nothing here holds more than a few frames at a time.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from math import floor
from pathlib import Path

import av
import numpy as np

from fv2v.io.audio import AudioCopy, check_sound
from fv2v.io.container import frame_rate, may_be_joined, open_video, packets_of, url_of, video_streams
from fv2v.io.display import Display
from fv2v.io.encoders import DEFAULT, check_codec, to_frame, video_stream
from fv2v.io.integrity import check_not_truncated
from fv2v.io.limits import reading
from fv2v.io.paths import PathLike, check_input, check_output, whole_file
from fv2v.io.timing import JoinedClock, Timing, as_rate

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")  # what write_video writes
DAMAGED = "not a video that FFmpeg can read, or a damaged one"
LATE = Fraction(1, 10)  # seconds: a start sooner than this is kept, exact as it is


def read_video(path: PathLike, *, frames: int | None = None, strict: bool = False) -> "VideoReader":
    """A video to iterate over, in any container and codec that PyAV reads.

    Args:
        path: the file.
        frames: stop after this many frames; None reads all.
        strict: stop with a ValueError at a damaged frame. By default FFmpeg conceals the damage, and the
            reader's `damaged` says where.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, truncated or not a video, no frames in it, or `frames` below 1.
    """
    return VideoReader(path, frames=frames, strict=strict)


class VideoReader:
    """The frames of a video, (H, W, 3) uint8 RGB, decoded as they are asked for; each iteration starts anew.

    Frames are as players show them: upright, with square pixels, HDR and BT.709 in their colours.

    Attributes:
        path: the file.
        size: (height, width) of the frames, rotation metadata and the shape of pixels applied.
        rate: frames a second, on average; the frames may come at uneven times.
        time_base: seconds a tick.
        pts: time stamps, in ticks, of the frames that the latest iteration has read so far.
        damaged: time stamps of frames that are damaged, or could not be decoded and are left out.
        shifts: seconds by which its recordings after the first were moved, where several were joined.
        limit: read at most so many frames; None: all.
        strict: whether a damaged frame is an error.
    """

    def __init__(self, path: PathLike, *, frames: int | None = None, strict: bool = False) -> None:
        if frames is not None and frames < 1:
            raise ValueError(f"{path}: expected at least 1 frame to be asked for, got frames={frames}")
        self.path = check_input(path)
        self.limit = frames
        self.strict = strict
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
        self._start_anew()

    @property
    def length(self) -> int | None:
        """How many frames to expect, by the file's header: for progress bars only. None: not stated."""
        known = [count for count in (self._frames_stated, self.limit) if count]
        return min(known, default=None)

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
                        pts.append(self._time_stamp(frame, pts, clock))
                        if frame.is_corrupt:
                            self._damage(pts[-1], damaged)
                        yield display(frame)
                        if len(pts) == self.limit:
                            return
        except av.error.FFmpegError as error:
            raise ValueError(
                f"{self.path}: damaged or truncated after {len(pts)} frames ({error.strerror})"
            ) from None

    def _start_anew(self) -> None:
        self.pts: list[int] = []
        self.damaged: list[int] = []
        self.shifts: list[Fraction] = []

    def _damage(self, ticks: int, damaged: list[int]) -> None:
        damaged.append(ticks)
        if self.strict:
            seconds = float(ticks * self.time_base)
            raise ValueError(f"{self.path}: expected no damaged frame (strict), got one at {seconds:.2f} s")

    def _time_stamp(self, frame: av.VideoFrame, before: list[int], clock: JoinedClock | None) -> int:
        """The frame's own, in ticks; from the rate where it has none, a tick later where it does not rise."""
        self._last_duration = frame.duration or self._step
        ticks = frame.pts
        if ticks is not None and clock:
            ticks = clock(ticks, self._last_duration)
        if not before:
            return ticks or 0
        return before[-1] + self._step if ticks is None else max(ticks, before[-1] + 1)


def write_video(
    path: PathLike,
    frames: Iterable[np.ndarray],
    *,
    like: VideoReader | Timing | None = None,
    fps: float | Fraction | None = None,
    sound: PathLike | None = None,
    codec: str = DEFAULT,
) -> int:
    """Write frames as yuv420p, by default H.264, which browsers and phones play; returns how many there were.

    The file appears whole or not at all, also when `frames` raises. Odd sizes grow by one row or column (a
    copy of the last), because yuv420p needs even ones.

    Args:
        path: .mp4, .m4v, .mov or .mkv. Matroska rounds time stamps to milliseconds.
        frames: (H, W, 3) uint8 RGB, all of one size; taken one at a time.
        like: the reader whose frames these were made from, one for one: its time stamps are kept exactly (in
            Matroska to the millisecond) and its sound is copied, cut to match where the reader had a limit.
            A `Timing` has time stamps alone.
        fps: frames a second where there is no `like`; 25 if neither is given.
        sound: a file whose sound is added, cut where the frames end; not with a reader, which has its own.
        codec: a key of `fv2v.io.encoders.ENCODERS`.

    Raises:
        ValueError: no frames, wrong shape or dtype, more frames than `like` has read, a path that cannot be
            written.
        FileNotFoundError: the output's folder does not exist.
    """
    if like is not None and fps is not None:
        raise ValueError("write_video: expected `like` or `fps`, got both")
    if isinstance(like, VideoReader):
        if sound is not None:
            raise ValueError(
                f"write_video: expected `sound` or a reader, whose own it takes; got {like.path} too"
            )
        sound = like.path
    elif sound is not None:
        check_sound(sound)
    path = check_output(path, VIDEO_SUFFIXES)
    check_codec(codec, path)
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: no frames to write")
    _check_frame(first, first)
    with whole_file(path) as temporary:
        try:
            return _encode(temporary, first, frames, like, as_rate(fps or 25), sound, codec)
        except av.error.FFmpegError as error:
            raise ValueError(f"{path}: FFmpeg could not write the video ({error.strerror})") from error


def _encode(
    path: Path,
    first: np.ndarray,
    rest: Iterator[np.ndarray],
    like: VideoReader | Timing | None,
    fps: Fraction,
    sound: PathLike | None,
    codec: str,
) -> int:
    time_base = like.time_base if like else 1 / fps
    # a start other than 0 is written in ticks of the movie, a millisecond by default
    mp4 = {"movflags": "+faststart", "movie_timescale": str(time_base.denominator)}
    with av.open(url_of(path), "w", options={} if path.suffix.lower() == ".mkv" else mp4) as output:
        stream = video_stream(output, codec, first.shape, like.rate if like else fps, time_base)
        shifts = like.shifts if isinstance(like, VideoReader) else None
        audio = AudioCopy(sound, output, shifts) if sound else None
        try:
            count, begin = 0, _beginning(like, audio, time_base)
            for image in chain([first], rest):
                _check_frame(image, first)
                frame = to_frame(image)
                frame.pts, frame.time_base = _pts(count, like) - begin, time_base
                output.mux(stream.encode(frame))
                if audio:
                    audio.advance(float(frame.pts * time_base))
                count += 1
            output.mux(stream.encode(None))
            if audio:
                whole = isinstance(like, VideoReader) and not like.limit
                end = like.end if like else float(count * time_base)
                audio.advance(float("inf") if whole else end - float(begin * time_base))
                audio.finish()
        finally:
            if audio:
                audio.close()
    return count


def _beginning(like: VideoReader | Timing | None, audio: AudioCopy | None, time_base: Fraction) -> int:
    """The picture's ticks at which the written film begins; sets the sound's `shift` to match.

    However late their clock starts, a film begins with the sooner of picture and sound. Sound of another file
    that is over before the first frame, or starts after the last, has another clock: both begin at once.
    """
    first = _pts(0, like)
    begin = first if audio is None or audio.start is None else min(first, floor(audio.start / time_base))
    if begin * time_base < LATE:
        begin = 0
    if audio and audio.start is not None:
        audio.shift = begin * time_base
        if isinstance(like, Timing) and not (audio.start <= like.end and first * time_base <= audio.end):
            begin, audio.shift = first, audio.start
    return begin


def _pts(index: int, like: VideoReader | Timing | None) -> int:
    if like is None:
        return index
    if index >= len(like.pts):
        whose = f"were read from {like.path}" if isinstance(like, VideoReader) else "have time stamps"
        raise ValueError(f"write_video: got more frames than {whose} ({len(like.pts)})")
    return like.pts[index]


def _check_frame(image: np.ndarray, first: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"write_video: expected frames of (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if image.shape != first.shape:
        raise ValueError(f"write_video: expected every frame of shape {first.shape}, got {image.shape}")
