# SPDX-License-Identifier: Apache-2.0
"""Video in and out through PyAV, frame by frame, with the time stamps and the sound of the source.

Frames are (H, W, 3) uint8 RGB, upright. Nothing here holds more than a few frames at a time.
"""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from math import floor
from pathlib import Path

import av
import numpy as np

from fv2v.io.audio import SILENT, AudioCopy, check_sound
from fv2v.io.container import url_of
from fv2v.io.encoders import TICKS, Encoding, frame_maker, video_stream
from fv2v.io.frame_folder import FrameFolder, is_frames
from fv2v.io.interruption import Interruption
from fv2v.io.paths import PathLike, check_new_folder, check_output, whole_file, whole_folder
from fv2v.io.timing import Span, Timing, as_rate
from fv2v.io.video_reader import VideoReader

FILES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".gif", ".webp")
FRAME_NAME = "%04d.png"  # of a folder whose frames no pattern names
LATE = Fraction(1, 10)  # seconds: a start sooner than this is kept, exact as it is


def read_video(
    path: PathLike,
    *,
    frames: int | None = None,
    start: float | None = None,
    end: float | None = None,
    strict: bool = False,
    fps: float | None = None,
) -> VideoReader:
    """A video to iterate over, in any container and codec that PyAV reads.

    Args:
        path: the file; or a folder of pictures, or a pattern of their names, as frames/%04d.png.
        frames: stop after this many frames; None reads all.
        start, end: read what is shown from `start` to before `end`, in seconds since the first frame.
        strict: stop with a ValueError at a damaged frame. By default FFmpeg conceals the damage, and the
            reader's `damaged` says where.
        fps: frames a second of a folder of pictures, 25 where it is left out; a film has its own.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, truncated or not a video, no frames in it or in the part asked for, or a part that
            cannot be.
    """
    return open_film(path, Span(start, end, frames), strict, fps)


def open_film(path: PathLike, span: Span, strict: bool = False, fps: float | None = None) -> VideoReader:
    """`read_video` with the part as one value."""
    if is_frames(path):
        return FrameFolder(path, fps, span)
    if fps is not None:
        raise ValueError(f"{path}: expected fps for a folder of frames alone; a film has its own time stamps")
    return VideoReader(path, span, strict=strict)


def write_video(
    path: PathLike,
    frames: Iterable[np.ndarray],
    *,
    like: VideoReader | Timing | None = None,
    fps: float | Fraction | None = None,
    sound: PathLike | None = None,
    codec: str | None = None,
    crf: int | None = None,
    encoder_preset: str | None = None,
    keyframes: int | None = None,
    stop: Interruption | None = None,
) -> int:
    """Write frames, by default as H.264, which browsers and phones play; returns how many there were.

    File or folder appears whole or not at all, also when `frames` raises. Films are yuv420p: odd sizes grow
    by one row or column (a copy of the last).

    Args:
        path: .mp4, .m4v, .mov, .mkv or .webm; an animation, .gif or .webp; or for PNGs a new folder, or a
            pattern of their names in it, as out/%04d.png. Matroska and WebP round time stamps to
            milliseconds, GIF to hundredths; animations and PNGs have no sound. FFmpeg holds a whole .webp
            with opacity in memory, and joins frames of it that hardly differ.
        frames: (H, W, 3) uint8 RGB, all of one size; taken one at a time. Or (H, W, 4), with opacity, where
            the file holds it: VP9 in .webm and .mkv, ProRes, .gif (there or not), .webp and PNGs.
        like: the reader whose frames these were made from, one for one: its time stamps are kept exactly (in
            Matroska to the millisecond) and its `sound` is copied, cut to match where it reads a part.
            A `Timing` has time stamps alone; the film begins with the first.
        fps: frames a second where there is no `like`; 25 if neither is given.
        sound: a file whose sound is added, cut where the frames end; not with a reader, which has its own.
        codec, crf, encoder_preset, keyframes: as the fields of `fv2v.io.encoders.Encoding`.
        stop: entered; what may end the frames, and then names the film.

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
        sound = like.sound
    elif sound is not None:
        check_sound(sound)
    encoding = Encoding(codec, crf, encoder_preset, keyframes)
    path = check_film(path, encoding)
    stop = stop or Interruption(keep=False)
    frames = stop.until(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: no frames to write")
    _check_frame(first, first)
    if first.shape[2] == 4 and not encoding.holds_opacity(path):
        raise ValueError(
            f"{path}: {encoding.codec_of(path)} holds no opacity there; expected (H, W, 3) frames"
        )
    is_folder = path.suffix.lower() == ".png"
    whole = whole_folder(path.parent, stop.named) if is_folder else whole_file(path, stop.named)
    with whole as temporary:
        try:
            file = temporary / path.name if is_folder else temporary
            return _encode(file, first, frames, like, as_rate(fps or 25), sound, encoding, stop)
        except av.error.FFmpegError as error:
            raise ValueError(f"{path}: FFmpeg could not write the video ({error.strerror})") from error


def check_film(path: PathLike, encoding: Encoding, inputs: Iterable[PathLike] = ()) -> Path:
    """Check that a film can be written to `path`, and return it; of a folder the pattern of its frames.

    Args:
        path: as `write_video` takes it.
        encoding: how.
        inputs: files of the same command, which it must not overwrite.

    Raises:
        FileNotFoundError: its folder does not exist.
        ValueError: a name or a folder that cannot be written, or an encoding that does not fit it.
    """
    path = Path(path)
    if path.suffix.lower() == ".png" and not re.fullmatch(r"[^%]*%(0[1-9])?d[^%]*", path.name):
        raise ValueError(f"{path}: expected a pattern of frames, as {path.parent / FRAME_NAME}")
    if path.suffix.lower() not in (*FILES, ".png") and (not path.suffix or path.is_dir()):
        path = path / FRAME_NAME
    if path.suffix.lower() == ".png":
        encoding.check(path)
        return check_new_folder(path.parent) / path.name
    path = check_output(path, FILES, inputs)
    encoding.check(path)
    return path


def _encode(
    path: Path,
    first: np.ndarray,
    rest: Iterator[np.ndarray],
    like: VideoReader | Timing | None,
    fps: Fraction,
    sound: PathLike | None,
    encoding: Encoding,
    stop: Interruption,
) -> int:
    time_base = like.time_base if like else 1 / fps
    codec = encoding.codec_of(path)
    ticks = TICKS.get(codec, time_base)
    with _opened(path, time_base) as output:
        rate = like.rate if like else fps
        stream = video_stream(output, codec, encoding.options(codec), first.shape, rate, ticks)
        to_frame = frame_maker(codec, first.shape)
        foreign = not isinstance(like, VideoReader) or sound != like.path
        shifts = like.shifts if isinstance(like, VideoReader) and not foreign else None
        audio = AudioCopy(sound, output, shifts) if sound and path.suffix.lower() not in SILENT else None
        try:
            count, begin, last = 0, _beginning(like, audio, time_base), -1
            for image in chain([first], rest):
                _check_frame(image, first)
                frame = to_frame(image)
                shown = (_pts(count, like) - begin) * time_base
                last = max(round(shown / ticks), last + 1)
                frame.pts, frame.time_base = last, ticks
                output.mux(stream.encode(frame))
                if audio:
                    audio.advance(float(frame.pts * time_base))
                count += 1
            output.mux(stream.encode(None))
            if audio:
                end = float(_end(count, like, time_base) - begin * time_base)
                whole = (
                    isinstance(like, VideoReader)
                    and not foreign
                    and like.span.ends_with_the_film
                    and count == len(like.pts)
                    and not stop.arrived
                )
                audio.advance(float("inf") if whole else end)
                audio.finish()
        finally:
            if audio:
                audio.close()
    return count


def _opened(path: Path, time_base: Fraction) -> av.container.OutputContainer:
    suffix = path.suffix.lower()
    if suffix == ".png":
        pattern = f"file:{str(path.parent).replace('%', '%%')}/{path.name}"
        return av.open(pattern, "w", format="image2", options={"start_number": "0"})
    options = {}
    if suffix in (".mp4", ".m4v", ".mov"):
        # a start other than 0 is written in ticks of the movie, a millisecond by default
        options = {"movflags": "+faststart", "movie_timescale": str(time_base.denominator)}
    if suffix == ".webp":
        options = {"loop": "0"}  # without end, as .gif is by default
    return av.open(url_of(path), "w", options=options)


def _beginning(like: VideoReader | Timing | None, audio: AudioCopy | None, time_base: Fraction) -> int:
    """The picture's ticks at which the written film begins; sets the sound's `shift` and `cut` to match.

    However late their clock starts, a film begins with the sooner of picture and sound; a part of one, and
    motion from a file, with the first frame. Sound of another file that is over before the first frame, or
    starts after the last, has another clock: both begin at once.
    """
    first = begin = _pts(0, like)
    start = None if audio is None else audio.start
    is_part = isinstance(like, VideoReader) and like.span.start is not None
    if isinstance(like, VideoReader) and not is_part and start is not None:
        begin = min(first, floor(start / time_base))
    if begin * time_base < LATE and not is_part:
        begin = 0
    if audio is None or start is None:
        return begin
    audio.shift = begin * time_base
    if begin == first and begin > 0:
        audio.cut = audio.shift
    foreign = isinstance(like, Timing) or (isinstance(like, VideoReader) and like.sound != like.path)
    if like and foreign and not (start <= like.end and first * time_base <= audio.end):
        audio.shift, audio.cut = start, None
        return first
    return begin


def _end(count: int, like: VideoReader | Timing | None, time_base: Fraction) -> float | Fraction:
    """Seconds on the picture's clock at which so many frames are over."""
    if like is not None and count == len(like.pts):
        return like.end
    return _pts(count, like) * time_base


def _pts(index: int, like: VideoReader | Timing | None) -> int:
    if like is None:
        return index
    if index >= len(like.pts):
        whose = f"were read from {like.path}" if isinstance(like, VideoReader) else "have time stamps"
        raise ValueError(f"write_video: got more frames than {whose} ({len(like.pts)})")
    return like.pts[index]


def _check_frame(image: np.ndarray, first: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] not in (3, 4) or image.dtype != np.uint8:
        raise ValueError(f"write_video: expected frames of (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if image.shape != first.shape:
        raise ValueError(f"write_video: expected every frame of shape {first.shape}, got {image.shape}")
