"""Sound copied from the driving video, packet by packet."""

import av
from av.container import OutputContainer

from fv2v.io.paths import PathLike, check_input

# Into these containers go only codecs that browsers and phones play; the muxer would take more (PCM, Vorbis).
PLAYABLE = {"aac", "mp3", "opus", "flac", "ac3", "eac3", "alac"}
STRICT_FORMATS = {"mp4", "mov", "ipod"}


def check_sound(path: PathLike) -> None:
    """Check that there is sound in a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is none, or FFmpeg cannot read the file.
    """
    path = check_input(path)
    try:
        with av.open(str(path)) as container:
            streams = len(container.streams.audio)
    except (av.error.FFmpegError, UnicodeError) as error:
        raise ValueError(f"{path}: expected a file with sound, FFmpeg cannot read it ({error})") from None
    if not streams:
        raise ValueError(f"{path}: expected a file with sound, found none in it")


class AudioCopy:
    """The first audio stream of `source` as a stream of `output`, copied as the pictures advance.

    Packets are copied where the container takes their codec, and otherwise re-encoded to AAC. Reading stays
    just ahead of the pictures: memory does not grow with the length. Without sound, nothing is copied.
    """

    def __init__(self, source: PathLike, output: OutputContainer) -> None:
        self._input = av.open(str(source))
        self._output = output
        self._copies, self._next = True, None
        if not self._input.streams.audio:
            return
        stream = self._input.streams.audio[0]
        self._packets = self._input.demux(stream)
        if _takes(output, stream.codec_context.codec.canonical_name):
            self._stream = output.add_stream_from_template(stream)
        else:
            self._copies = False
            rate = min(stream.rate, 48000)
            self._stream = output.add_stream("aac", rate=rate, layout=stream.layout.name)
        self._next = next(self._packets, None)

    def advance(self, seconds: float) -> None:
        """Copy every packet that starts before `seconds` of the source."""
        while self._next is not None and self._start(self._next) < seconds:
            packet, self._next = self._next, next(self._packets, None)
            if packet.size == 0:  # the end-of-file marker
                continue
            if self._copies:
                packet.stream = self._stream
                self._output.mux(packet)
            else:
                for frame in packet.decode():
                    self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Flush the encoder, where there is one."""
        if not self._copies:
            self._output.mux(self._stream.encode(None))

    def close(self) -> None:
        self._input.close()

    def _start(self, packet: av.Packet) -> float:
        ticks = packet.pts if packet.pts is not None else packet.dts
        return float("-inf") if ticks is None else float(ticks * packet.time_base)


def _takes(output: OutputContainer, codec: str) -> bool:
    if output.format.name in STRICT_FORMATS:
        return codec in PLAYABLE
    return codec in output.supported_codecs
