# SPDX-License-Identifier: Apache-2.0
"""Files opened with FFmpeg: their names, their streams, their packets."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from fv2v.io.integrity import check_riff, picture_format
from fv2v.io.limits import FRAME_PIXELS, LimitError
from fv2v.io.picture_size import picture_size

DISCONTINUOUS = 0x200  # FFmpeg's AVFMT_TS_DISCONT
# FFmpeg's names of what is read. Not among them are playlists (hls, dash, concat, sdp), which make it read
# other files and ask the network, and picture sequences (image2), which do the former by a file's name alone.
_FILMS = "mov matroska webm avi mpegts mpeg mpegvideo flv asf ogg gif apng mxf nut rm dv gxf wtv ivf swf nsv"
_BARE = "h261 h263 h264 hevc vvc obu av1 m4v mjpeg vc1 cavsvideo dirac yuv4mpegpipe"
_SOUNDS = "mp3 aac wav w64 flac aiff caf au ac3 eac3 amr ape wv tta tak dts truehd loas oma voc"
_STILLS = (
    "png_pipe jpeg_pipe webp_pipe bmp_pipe tiff_pipe gif_pipe jpegxl_pipe j2k_pipe"  # recognized, and refused
)
OPTIONS = {
    "format_whitelist": ",".join(f"{_FILMS} {_BARE} {_SOUNDS} {_STILLS}".split()),
    "protocol_whitelist": "file",
}
DECODER = {"max_pixels": str(FRAME_PIXELS)}  # sizes may change in the middle of a film


def url_of(path: Path) -> str:
    """The name by which FFmpeg opens this file and no other thing.

    It takes what stands before a colon for a protocol: `take:1.mp4`, `file:other.mp4`, `http:x.mp4`.
    """
    return f"file:{path}"


def open_file(path: Path) -> av.container.InputContainer:
    """The opened film or sound.

    Raises:
        ValueError: FFmpeg cannot read it, or it is none of the formats above. It begins with the path.
    """
    check_riff(path)
    try:
        return av.open(url_of(path), options=OPTIONS)
    except (av.error.FFmpegError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: not a video that FFmpeg can read ({reason})") from None


def open_video(path: Path) -> av.container.InputContainer:
    """The opened file, its video decoded in threads. ValueError, with its name, where no video is in it."""
    picture = picture_format(path)
    if picture == "animated WebP":
        raise ValueError(f"{path}: an animated WebP, which FFmpeg does not read; convert it to .mp4 or .gif")
    if picture:
        raise ValueError(f"{path}: expected a video, found a still picture ({picture})")
    try:
        container = open_file(path)
    except ValueError:
        if is_still(path):
            raise ValueError(f"{path}: expected a video, found a still picture") from None
        raise
    pictures = video_streams(container)
    one_picture = _is_pipe(container)
    if pictures and not one_picture and pictures[0].codec_context is not None:
        context = pictures[0].codec_context
        if context.width * context.height > FRAME_PIXELS:
            container.close()
            raise ValueError(
                f"{path}: expected frames of at most {FRAME_PIXELS} pixels, "
                f"got {context.width} x {context.height}"
            )
        context.options = DECODER
        pictures[0].thread_type = "AUTO"
        # FFmpeg's own number, but never 1: its H.264 decoder marks damaged frames only between threads
        pictures[0].codec_context.thread_count = min(_cores() + 1, 16)
        return container
    found = "a still picture" if one_picture else "no video in it"
    if pictures and not one_picture:
        found = "a codec that FFmpeg does not know"
    container.close()
    raise ValueError(f"{path}: expected a video, found {found}")


def is_one_picture(path: Path) -> bool:
    """Whether it is a still picture, and neither a film nor an animation, of which there may be one frame."""
    name = picture_format(path)
    if name:
        return name != "animated WebP"
    try:
        with open_file(path) as container:
            return _is_pipe(container)
    except ValueError:
        return is_still(path)


def _is_pipe(container: av.container.InputContainer) -> bool:
    """Whether FFmpeg takes it for a picture."""
    return container.format.name.endswith("_pipe") and container.format.name != "yuv4mpegpipe"


def is_still(path: Path) -> bool:
    """Whether it is a picture of `picture_size`, some of which FFmpeg opens by their names alone."""
    with path.open("rb") as file:
        try:
            return picture_size(file.read(1 << 16)) is not None
        except LimitError:
            return True


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def video_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams, without the cover pictures of audio files."""
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def packets_of(container: av.container.InputContainer) -> Iterator[av.Packet]:
    """Packets of the first video stream, from the current position on; an empty one comes last."""
    joinable = may_be_joined(container)
    for packet in container.demux(video_streams(container)[0]):
        # where recordings are joined the last packet of each is marked, too: there the decoder finds damage
        if packet.is_corrupt and not joinable:
            raise av.error.InvalidDataError(0, "a packet is cut short")
        yield packet


def may_be_joined(container: av.container.InputContainer) -> bool:
    """Whether files of this format can be joined end to end (MPEG-TS, -PS): then clocks may start anew."""
    return bool(container.format.flags & DISCONTINUOUS)


def frame_rate(stream: av.VideoStream) -> Fraction:
    """Frames a second, on average; 25 where the file does not say."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 1 <= rate <= 1000:
            return rate
    return Fraction(25)
