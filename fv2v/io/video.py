"""Video in and out through PyAV, frame by frame, with the time stamps and the sound of the source.

Frames are (H, W, 3) uint8 RGB, upright. Nothing here holds more than a few frames at a time.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from fv2v.io.audio import AudioCopy, check_sound
from fv2v.io.integrity import check_not_truncated
from fv2v.io.paths import PathLike, check_input, check_output, whole_file
from fv2v.io.timing import Timing, as_rate

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")  # what write_video writes: containers of H.264
STILL_FORMATS = {"image2", "tty"}  # pictures and text, which FFmpeg would read as videos
BT709 = 1  # primaries, transfer and matrix all have this number in ITU-T H.273


def read_video(path: PathLike, *, frames: int | None = None) -> "VideoReader":
    """A video to iterate over, in any container and codec that PyAV reads.

    Args:
        path: the file.
        frames: stop after this many frames; None reads all.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, truncated or not a video, no frames in it, or `frames` below 1.
    """
    return VideoReader(path, frames=frames)


class VideoReader:
    """The frames of a video, (H, W, 3) uint8 RGB, decoded as they are asked for; each iteration starts anew.

    Attributes:
        path: the file.
        size: (height, width) of the frames, rotation metadata applied.
        rate: frames a second, on average; the frames may come at uneven times.
        time_base: seconds a tick.
        pts: time stamps, in ticks, of the frames that the latest iteration has read so far.
        limit: read at most so many frames; None: all.
    """

    def __init__(self, path: PathLike, *, frames: int | None = None) -> None:
        if frames is not None and frames < 1:
            raise ValueError(f"{path}: expected at least 1 frame to be asked for, got frames={frames}")
        self.path = check_input(path)
        self.limit = frames
        self.pts: list[int] = []
        check_not_truncated(self.path)
        with open_video(self.path) as container:
            stream = video_streams(container)[0]
            if stream.time_base is None:
                raise ValueError(f"{self.path}: the video has no time base")
            self.time_base: Fraction = stream.time_base
            self.rate = _frame_rate(stream)
            self._frames_stated = stream.frames or round((container.duration or 0) / 1e6 * self.rate)
        first = next(iter(self), None)
        if first is None:
            raise ValueError(f"{self.path}: the video has no frames")
        self.size: tuple[int, int] = first.shape[:2]
        self.pts = []

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
        return float(self.pts[-1] * self.time_base + self._last_duration)

    def __iter__(self) -> Iterator[np.ndarray]:
        pts: list[int] = []  # of this iteration alone: an older one that still runs cannot change it
        self.pts = pts
        try:
            with open_video(self.path) as container:
                matrix = None
                for frame in chain.from_iterable(packet.decode() for packet in packets_of(container)):
                    if not pts:  # once: side data puts a frame into a reference cycle
                        matrix = display_matrix(frame)
                    pts.append(self._time_stamp(frame, pts))
                    yield upright(frame.to_ndarray(format="rgb24"), matrix)
                    if len(pts) == self.limit:
                        return
        except av.error.FFmpegError as error:
            raise ValueError(
                f"{self.path}: damaged or truncated after {len(pts)} frames ({error.strerror})"
            ) from None

    def _time_stamp(self, frame: av.VideoFrame, before: list[int]) -> int:
        """The frame's own, in ticks; from the rate where it has none, a tick later where it does not rise."""
        step = max(1, round(1 / (self.rate * self.time_base)))
        self._last_duration = (frame.duration or step) * self.time_base
        if not before:
            return frame.pts or 0
        return before[-1] + step if frame.pts is None else max(frame.pts, before[-1] + 1)


def write_video(
    path: PathLike,
    frames: Iterable[np.ndarray],
    *,
    like: VideoReader | Timing | None = None,
    fps: float | Fraction | None = None,
    sound: PathLike | None = None,
) -> int:
    """Write frames as H.264 yuv420p, which browsers and phones play; returns how many there were.

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
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: no frames to write")
    _check_frame(first, first)
    with whole_file(path) as temporary:
        try:
            return _encode(temporary, first, frames, like, as_rate(fps or 25), sound)
        except av.error.FFmpegError as error:
            raise ValueError(f"{path}: FFmpeg could not write the video ({error.strerror})") from error


def _encode(
    path: Path,
    first: np.ndarray,
    rest: Iterator[np.ndarray],
    like: VideoReader | Timing | None,
    fps: Fraction,
    sound: PathLike | None,
) -> int:
    time_base = like.time_base if like else 1 / fps
    # a start other than 0 is written in ticks of the movie, a millisecond by default
    mp4 = {"movflags": "+faststart", "movie_timescale": str(time_base.denominator)}
    with av.open(str(path), "w", options={} if path.suffix.lower() == ".mkv" else mp4) as output:
        stream = _video_stream(output, first.shape, like.rate if like else fps, time_base)
        audio = AudioCopy(sound, output) if sound else None
        try:
            count = 0
            for image in chain([first], rest):
                _check_frame(image, first)
                frame = _to_frame(image)
                frame.pts, frame.time_base = _pts(count, like), time_base
                output.mux(stream.encode(frame))
                if audio:
                    audio.advance(float(frame.pts * time_base))
                count += 1
            output.mux(stream.encode(None))
            if audio:
                whole = isinstance(like, VideoReader) and not like.limit
                end = like.end if like else float(count * time_base)
                audio.advance(float("inf") if whole else end)
                audio.finish()
        finally:
            if audio:
                audio.close()
    return count


def _video_stream(
    output: av.container.OutputContainer, shape: tuple[int, ...], rate: Fraction, time_base: Fraction
) -> av.VideoStream:
    stream = output.add_stream("libx264", rate=rate, options={"crf": "18"})
    context = stream.codec_context
    context.height, context.width = (n + n % 2 for n in shape[:2])
    context.pix_fmt = "yuv420p"
    context.time_base = time_base
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = ColorRange.MPEG
    return stream


def _to_frame(image: np.ndarray) -> av.VideoFrame:
    H, W, _ = image.shape
    even = np.pad(image, ((0, H % 2), (0, W % 2), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)


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


def open_video(path: Path) -> av.container.InputContainer:
    """The opened file. ValueError, with its name, where there is no video in it."""
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: not a video that FFmpeg can read ({reason})") from None
    pictures = video_streams(container)
    still = container.format.name in STILL_FORMATS or container.format.name.endswith("_pipe")
    if pictures and not still:
        pictures[0].thread_type = "AUTO"
        return container
    found = "a still picture" if still else "no video in it"
    container.close()
    raise ValueError(f"{path}: expected a video, found {found}")


def video_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams, without the cover pictures of audio files."""
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def packets_of(container: av.container.InputContainer) -> Iterator[av.Packet]:
    """Packets of the first video stream, from the current position on; an empty one comes last."""
    for packet in container.demux(video_streams(container)[0]):
        if packet.is_corrupt:
            raise av.error.InvalidDataError(0, "a packet is cut short")
        yield packet


def _frame_rate(stream: av.VideoStream) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 1 <= rate <= 1000:
            return rate
    return Fraction(25)


def display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """((a, b), (c, d)): a stored point (x, y) is shown at (a x + c y, b x + d y); None: as it is stored."""
    stored: Any = frame.side_data.get("DISPLAYMATRIX")
    if stored is None:
        return None
    fixed_point = np.frombuffer(stored, np.int32).reshape(3, 3)[:2, :2]
    return np.rint(fixed_point / 65536).astype(int)


def upright(image: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """(H, W, 3) as it should be shown: quarter turns and mirrors."""
    if matrix is None:
        return image
    (a, b), (c, d) = matrix
    if a == 0 and d == 0:
        image, a, d = image.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
