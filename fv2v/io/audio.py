# SPDX-License-Identifier: Apache-2.0
"""Sound copied from the driving video, packet by packet."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from math import inf
from pathlib import Path
from typing import cast

import av
from av.container import OutputContainer

from fv2v.io.container import is_still, may_be_joined, open_file
from fv2v.io.paths import PathLike, check_input
from fv2v.io.timing import JoinedClock

# Into these containers go only codecs that browsers and phones play; the muxer would take more (PCM, Vorbis).
PLAYABLE = {"aac", "mp3", "opus", "flac", "ac3", "eac3", "alac"}
STRICT_FORMATS = {
    "webm": {"opus", "vorbis"},
    "mp4": PLAYABLE,
    "mov": PLAYABLE - {"opus", "flac"},
    "ipod": {"aac", "ac3", "alac"},
}
FORMATS = {".mp4": "mp4", ".mov": "mov", ".m4v": "ipod", ".webm": "webm"}  # FFmpeg's names
ENCODED = {"webm": "libopus"}  # what other codecs become, by FFmpeg's name; aac elsewhere
SILENT = (".gif", ".webp", ".png")  # animations and pictures
AAC_LAYOUTS = {"mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"}
TRIES = 16  # packets by which a track is judged: some codecs give no sound for the first few


def check_sound(path: PathLike) -> None:
    """Check that there is sound in a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is none, or FFmpeg cannot read it.
    """
    path = check_input(path)
    try:
        with open_file(path) as container:
            streams = len(container.streams.audio)
    except ValueError:
        if not is_still(path):
            raise ValueError(f"{path}: expected a file with sound, FFmpeg cannot read it") from None
        streams = 0
    if not streams:
        raise ValueError(f"{path}: expected a file with sound, found none in it")
    if sound_track(path) is None:
        raise ValueError(
            f"{path}: expected a file with sound, FFmpeg can decode none of its {streams} tracks"
        )


def sound_track(path: Path) -> int | None:
    """Which sound track is the first that can be decoded, counted from 0; None: there is none."""
    with open_file(path) as container:
        count = len(container.streams.audio)
    return next((number for number in range(count) if _decodes(path, number)), None)


def note_on_sound(path: Path, suffix: str = ".mkv", called: PathLike | None = None) -> str | None:
    """A line for the user where sound of a file does not go into a film of that ending, or not as it is.

    `called`: what the user knows it by, where that is another name.
    """
    called = called or path
    with open_file(path) as container:
        count = len(container.streams.audio)
    chosen = sound_track(path)
    if chosen is not None and suffix in SILENT:
        return f"{called}: its sound is left out, which {suffix} does not hold"
    if not count or chosen == 0:
        return None if chosen is None else _note_on_codec(path, suffix, called)
    instead = "the film is silent" if chosen is None else f"track {chosen + 1} is taken"
    return f"{called}: the sound track cannot be decoded (unknown codec or damaged); {instead}"


def _note_on_codec(path: Path, suffix: str, called: PathLike) -> str | None:
    """A line where the first track is encoded anew."""
    with open_file(path) as container:
        codec = container.streams.audio[0].codec_context.codec.canonical_name
    name = FORMATS.get(suffix, "")
    if codec in STRICT_FORMATS.get(name, codec):
        return None
    return f"{called}: its sound ({codec}) is encoded anew as {ENCODED.get(name, 'aac')}, for {suffix}"


class AudioCopy:
    """The first sound track of `source` that can be decoded, as a stream of `output`.

    Packets follow as the pictures advance. They are copied where the container takes their codec, and
    otherwise re-encoded to AAC, for WebM to Opus; those that cannot be decoded then are left out. Reading
    stays just ahead of the pictures: memory does not grow with the length. Without sound, nothing is copied.

    Attributes:
        start: seconds at which it starts, on the clock of the source; None: there is no sound.
        shift: seconds to take off that clock, to be set before the first `advance`.
        cut: seconds on that clock before which nothing is copied, to be set then, too; None: all is.
    """

    def __init__(
        self, source: PathLike, output: OutputContainer, shifts: Sequence[Fraction] | None = None
    ) -> None:
        """`shifts`: those of the picture where recordings are joined, as far as it has been read."""
        self.start: Fraction | None = None
        self.shift = Fraction(0)
        self.cut: Fraction | None = None
        self._output, self._shifts = output, shifts
        self._copies = True
        self._raw: av.Packet | None = None  # read, and not yet on the clock of the first recording
        self._next: av.Packet | None = None
        self._written: int | None = None
        self._clock: JoinedClock | None = None
        self._packets: Iterator[av.Packet] = iter(())
        self._input = open_file(Path(source))
        track = sound_track(Path(source))
        if track is None:
            return
        stream = self._input.streams.audio[track]
        self._packets = (packet for packet in self._input.demux(stream) if packet.size)
        if stream.time_base is not None and may_be_joined(self._input):
            self._clock = JoinedClock(stream.time_base, () if shifts is None else shifts)
        if _takes(output, stream.codec_context.codec.canonical_name):
            self._stream = output.add_stream_from_template(stream)
        else:
            self._copies = False
            encoder = ENCODED.get(output.format.name, "aac")
            rate = 48000 if encoder == "libopus" else min(stream.rate, 48000)
            layout = stream.layout.name if stream.layout.name in AAC_LAYOUTS else None
            if layout is None:  # players need one that AAC has a number for; Matroska's PCM states none
                layout = "mono" if stream.layout.nb_channels == 1 else "stereo"
            self._stream = cast(av.AudioStream, output.add_stream(encoder, rate=rate, layout=layout))
        self._next = self._read(last=False)
        if self._next is not None:
            self.start = _start(self._next)

    @property
    def end(self) -> float:
        """Seconds at which it ends on the clock of the source, by the header; infinity: not stated."""
        length = self._input.duration
        return inf if length is None else float(self.start or 0) + length / 1e6

    def advance(self, seconds: float) -> None:
        """Copy every packet that starts before `seconds` of the output."""
        while True:
            self._next = self._next or self._read(last=seconds == inf)
            if self._next is None:
                return
            start = _start(self._next)
            if start is not None and start - self.shift >= seconds:
                return
            packet, self._next = self._next, None
            if self.cut is None or start is None or start >= self.cut:
                self._write(packet)

    def finish(self) -> None:
        """Flush the encoder, where there is one."""
        if not self._copies:
            self._output.mux(self._stream.encode(None))

    def close(self) -> None:
        self._input.close()

    def _read(self, last: bool) -> av.Packet | None:
        """The next packet, on the clock of the first recording.

        None: there is none; or, before the `last` call, the picture has yet to show where the next recording
        goes.
        """
        packet = self._raw = self._raw or next(self._packets, None)
        ticks = None if packet is None else _ticks(packet)
        if packet is None or ticks is None or self._clock is None:
            self._raw = None
            return packet
        joined = self._clock.begins_another(ticks)
        if joined and not last and self._shifts is not None and len(self._shifts) <= len(self._clock.shifts):
            return None
        self._raw = None
        _move(packet, self._clock(ticks, packet.duration or 0) - ticks)
        return packet

    def _write(self, packet: av.Packet) -> None:
        _move(packet, -round(self.shift / packet.time_base))
        ticks = _ticks(packet)
        if ticks is not None:
            if self._written is not None and ticks <= self._written:
                return  # joined recordings may overlap
            self._written = ticks
        if self._copies:
            packet.stream = self._stream
            self._output.mux(packet)
            return
        try:
            frames = cast(list[av.AudioFrame], packet.decode())
        except av.error.InvalidDataError:
            return
        for frame in frames:
            self._output.mux(self._stream.encode(frame))


def _decodes(path: Path, number: int) -> bool:
    """Whether sound comes of a track."""
    with open_file(path) as container:
        stream = container.streams.audio[number]
        if stream.codec_context is None:  # a codec that FFmpeg does not know
            return False
        for packet in islice(container.demux(stream), TRIES):
            try:
                if packet.decode():
                    return True
            except av.error.FFmpegError:
                continue
    return False


def _start(packet: av.Packet) -> Fraction | None:
    ticks = _ticks(packet)
    return None if ticks is None else ticks * packet.time_base


def _ticks(packet: av.Packet) -> int | None:
    return packet.dts if packet.pts is None else packet.pts


def _move(packet: av.Packet, ticks: int) -> None:
    """Show a packet so much later."""
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks


def _takes(output: OutputContainer, codec: str) -> bool:
    return codec in STRICT_FORMATS.get(output.format.name, output.supported_codecs)
