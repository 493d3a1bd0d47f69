# SPDX-License-Identifier: Apache-2.0
"""Single frames of a video, without decoding all of it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from fv2v.io.container import DECODER, open_video, packets_of, video_streams
from fv2v.io.display import Display
from fv2v.io.integrity import check_not_truncated
from fv2v.io.limits import reading
from fv2v.io.paths import PathLike, check_input

Choice = Callable[[int], Sequence[int]]  # how many frames there are -> the numbers of those wanted


class _Packet(NamedTuple):
    """A packet's header. Lists of packets are in the order of decoding."""

    pts: int  # when its frame is shown, in ticks
    dts: int | None
    keyframe: bool
    shown: bool  # False: decoded only because other frames need it


def read_frames(path: PathLike, choose: Choice) -> list[np.ndarray]:
    """The chosen frames, (H, W, 3) uint8 RGB, upright, in the chosen order; the file is opened once.

    First all packets are read without decoding them, which costs little and gives the number of frames. Then
    only packets from the keyframe before a chosen frame up to that frame are decoded, and of those only the
    ones that other frames refer to. One thread: more would decode ahead of what is wanted.

    Args:
        path: a video in any container and codec that PyAV reads.
        choose: gets the number of frames n and returns numbers from 0 to n - 1, in display order (for .avi,
            which does not store it, in the order of decoding).

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, truncated, not a video, or damaged where it is read (nothing is concealed, as it is
            by `read_video`); and what `choose` raises.
    """
    path = check_input(path)
    with reading(path, "not a video that FFmpeg can read, or a damaged one"):
        check_not_truncated(path)
        return _frames(path, choose)


def _frames(path: Path, choose: Choice) -> list[np.ndarray]:
    with open_video(path) as container:
        video = video_streams(container)[0]
        video.thread_type, video.codec_context.thread_count = "NONE", 1
        video.codec_context.options = DECODER | {
            "err_detect": "explode"
        }  # damage is an error, and not concealed
        try:
            packets = _packets(container)
            times = sorted({packet.pts for packet in packets if packet.shown})
            wanted = [times[number] for number in choose(len(times))]
            try:
                images = dict(_decoded(container, packets, set(wanted)))
            except av.error.InvalidDataError:
                images = _read_again(path, packets, set(wanted))
        except av.error.FFmpegError as error:
            raise ValueError(f"{path}: damaged or truncated ({error.strerror})") from None
    missing = sorted(set(wanted) - images.keys())
    if missing:
        raise ValueError(f"{path}: damaged: no frame comes of the packets at {missing} ({video.time_base} s)")
    return [images[time] for time in wanted]


def _read_again(path: Path, packets: list[_Packet], wanted: set[int]) -> dict[int, np.ndarray]:
    """The frames after an error that need not be damage: an open group misses frames of the one before it.

    With two threads FFmpeg's H.264 decoder goes on and marks the frames that are damaged; it takes 1.4 times
    as long.
    """
    with open_video(path) as container:
        video = video_streams(container)[0]
        video.thread_type, video.codec_context.thread_count = "FRAME", 2
        return dict(_decoded(container, packets, wanted, flush=False))


def _packets(container: av.container.InputContainer) -> list[_Packet]:
    packets = []
    for packet in packets_of(container):
        if packet.size:
            if packet.pts is None:
                raise av.error.InvalidDataError(0, "packets without time stamps")
            packets.append(_Packet(packet.pts, packet.dts, packet.is_keyframe, not packet.is_discard))
    return packets


def _decoded(
    container: av.container.InputContainer, packets: list[_Packet], wanted: set[int], flush: bool = True
) -> Iterator[tuple[int, np.ndarray]]:
    """The frames shown at the `wanted` times, each once.

    Without `flush` packets are decoded until the frames come by themselves: a frame that is flushed out of
    its thread may not be marked as damaged yet.
    """
    places = sorted(place for place, packet in enumerate(packets) if packet.shown and packet.pts in wanted)
    video = video_streams(container)[0]
    context, display = video.codec_context, Display(video)
    for start, stretch in groupby(places, lambda place: _keyframe_before(packets, place)):
        needed = set(stretch)
        awaited = {packets[place].pts for place in needed}
        context.flush_buffers()
        for place, packet in enumerate(_packets_from(container, packets[start]), start):
            context.skip_frame = "DEFAULT" if place in needed else "NONREF"
            last = flush and place == max(needed)
            try:
                frames = [*context.decode(packet), *(context.decode(None) if last else ())]
            except av.error.InvalidDataError:
                if packet.pts is None or packet.pts >= packets[start].pts:
                    raise
                frames = []  # it is shown before the keyframe, and needs frames before that
            for frame in frames:
                if frame.is_corrupt and frame.pts >= packets[start].pts:
                    raise av.error.InvalidDataError(0, "a frame is damaged")
                if frame.pts in awaited:
                    awaited.remove(frame.pts)
                    yield frame.pts, display(frame)
            if last or not awaited:
                break


def _keyframe_before(packets: list[_Packet], place: int) -> int:
    """Where decoding starts for the frame at `place`: never at a keyframe that is shown after it."""
    for start in range(place, 0, -1):
        if packets[start].keyframe and packets[start].pts <= packets[place].pts:
            return start
    return 0


def _packets_from(container: av.container.InputContainer, first: _Packet) -> Iterator[av.Packet]:
    """Packets from `first` on: in files without a good index the seek lands before it."""
    stamp = first.pts if first.dts is None else first.dts
    container.seek(stamp, stream=video_streams(container)[0])
    found = False
    for packet in packets_of(container):
        found = found or (packet.pts, packet.dts) == (first.pts, first.dts)
        if found:
            yield packet
