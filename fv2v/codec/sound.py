# SPDX-License-Identifier: Apache-2.0
"""The sound of a file as a Matroska file of its own: its packets as they are, or Opus."""

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av

from fv2v.io.audio import AudioCopy, sound_track
from fv2v.io.container import url_of
from fv2v.io.paths import PathLike

OPUS_RATE = 48_000  # samples a second, of which Opus takes few others
KBPS = (6, 510)  # what Opus encodes


def check_kbps(kbps: float | None) -> None:
    """ValueError where Opus has no such rate."""
    if kbps is not None and not KBPS[0] <= kbps <= KBPS[1]:
        raise ValueError(f"expected from {KBPS[0]} to {KBPS[1]} kbit/s of sound, got {kbps:g}")


def sound_of(path: PathLike, end: float, kbps: float | None = None) -> bytes:
    """The first track of a file that can be decoded, up to `end` seconds, on its clock; empty: there is none.

    Args:
        kbps: encode it anew as Opus at so many kbit/s; None: copy it.
    """
    path = Path(path)
    if sound_track(path) is None:
        return b""
    file = BytesIO()
    with av.open(file, "w", format="matroska") as output:
        if kbps is None:
            copy = AudioCopy(path, output)
            try:
                copy.advance(end)
                copy.finish()
            finally:
                copy.close()
        else:
            _as_opus(path, output, end, kbps)
    return file.getvalue()


def _as_opus(path: Path, output: av.container.OutputContainer, end: float, kbps: float) -> None:
    with av.open(url_of(path)) as source:
        track = source.streams.audio[sound_track(path) or 0]
        layout = "mono" if track.codec_context.channels == 1 else "stereo"
        stream = output.add_stream("libopus", rate=OPUS_RATE, layout=layout)
        stream.codec_context.bit_rate = round(1000 * kbps)
        resampler = av.AudioResampler("s16", layout, OPUS_RATE)
        for packet in source.demux(track):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:  # a damaged packet is left out
                continue
            for frame in frames:
                if frame.time is not None and frame.time >= end:
                    break
                for ready in resampler.resample(frame):
                    ready.time_base = ready.time_base or Fraction(1, OPUS_RATE)
                    output.mux(stream.encode(ready))
        for ready in resampler.resample(None):
            output.mux(stream.encode(ready))
        output.mux(stream.encode(None))
