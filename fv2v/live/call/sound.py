# SPDX-License-Identifier: Apache-2.0
"""The sound of a call: Opus, mono, 20 ms a packet, from a file, a microphone or a tone; and what arrives."""

import asyncio
import math
import wave
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from fv2v.io.audio import check_sound, sound_track
from fv2v.io.container import open_file
from fv2v.io.paths import check_output, whole_file

RATE = 48_000  # samples a second
FRAME = RATE // 50
BITS = 24_000  # a second, which is fine for a voice
LATE = 0.5  # seconds behind after which a track takes up the present
GAP = 10 * RATE  # samples that may be missing in a row; more, and the other side's clock was set anew
HELD = 10  # frames of a microphone that may wait


class SoundSource(Protocol):
    """Where sound comes from; several tracks may read it, one after the other."""

    def read(self) -> np.ndarray:
        """The next 20 ms: (FRAME,) int16."""


class Tone:
    """A quiet 440 Hz, half a second of each."""

    def __init__(self) -> None:
        self._at = 0

    def read(self) -> np.ndarray:
        time = (self._at + np.arange(FRAME)) / RATE
        self._at += FRAME
        return np.rint(4000 * np.sin(2 * math.pi * 440 * time) * (time % 1 < 0.5)).astype(np.int16)


class SoundFile:
    """The first sound of a file, over and over.

    Raises:
        FileNotFoundError: no such file.
        ValueError: one without sound.
    """

    def __init__(self, path: Path) -> None:
        check_sound(path)
        self._path = path
        self._frames = self._read()

    def read(self) -> np.ndarray:
        return next(self._frames)

    def _read(self) -> Iterator[np.ndarray]:
        while True:
            yield from self._once()

    def _once(self) -> Iterator[np.ndarray]:
        resampler = av.AudioResampler("s16", "mono", RATE, FRAME)
        with open_file(self._path) as container:
            track = container.streams.audio[sound_track(self._path) or 0]
            for packet in container.demux(track):
                try:
                    decoded = packet.decode()
                except av.error.InvalidDataError:  # a damaged packet is left out
                    continue
                for frame in decoded:
                    yield from (each.to_ndarray()[0] for each in resampler.resample(frame))
        last = [each.to_ndarray()[0] for each in resampler.resample(None)]
        yield from (np.pad(each, (0, FRAME - len(each))) for each in last)


class Microphone:
    """What is `put` in, as it comes; silence while nothing does."""

    def __init__(self) -> None:
        self._frames: deque[np.ndarray] = deque(maxlen=HELD)
        self._resampler = av.AudioResampler("s16", "mono", RATE, FRAME)

    def put(self, frame: av.AudioFrame) -> None:
        self._frames.extend(each.to_ndarray()[0] for each in self._resampler.resample(frame))

    def read(self) -> np.ndarray:
        return self._frames.popleft() if self._frames else np.zeros(FRAME, np.int16)


class SoundTrack(MediaStreamTrack):
    """A source as aiortc sends it, already encoded: its own encoder takes 96 kbit/s."""

    kind = "audio"

    def __init__(self, source: SoundSource) -> None:
        super().__init__()
        self._source = source
        self._encoder = av.CodecContext.create("libopus", "w")
        self._encoder.bit_rate = BITS
        self._encoder.format, self._encoder.layout = "s16", "mono"
        self._encoder.sample_rate, self._encoder.time_base = RATE, Fraction(1, RATE)
        self._encoder.options = {"application": "voip"}
        self._begun, self._count = monotonic(), 0

    async def recv(self) -> Any:
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            due = self._begun + self._count * FRAME / RATE
            behind = monotonic() - due
            if behind > LATE:
                self._begun += behind
            await asyncio.sleep(max(0.0, -behind))
            frame = av.AudioFrame.from_ndarray(self._source.read()[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, self._count * FRAME, Fraction(1, RATE)
            self._count += 1
            if packets := self._encoder.encode(frame):
                return packets[0]


class Ear:
    """Takes what arrives: how loud it is, and into a file.

    Attributes:
        frames: how many of 20 ms came.
        relay: a source of the newest, for who wants to hear it.

    Args:
        path: a .wav, mono, whole once it is closed; None: none is written.

    Raises:
        FileNotFoundError: its folder does not exist.
        ValueError: a name that cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.frames, self.relay = 0, Microphone()
        self._squares = self._samples = 0.0
        self._files = ExitStack()
        self._file: wave.Wave_write | None = None
        if path is not None:
            whole = self._files.enter_context(whole_file(check_output(path, (".wav",))))
            self._file = self._files.enter_context(wave.open(str(whole), "wb"))  # noqa: SIM115 the stack closes it
            self._file.setnchannels(1)
            self._file.setsampwidth(2)
            self._file.setframerate(RATE)

    async def listen(self, track: MediaStreamTrack) -> None:
        """Until the track ends."""
        resampler = av.AudioResampler("s16", "mono", RATE)
        expected: int | None = None
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            lost = 0 if expected is None else frame.pts - expected
            if self._file is not None and 0 < lost < GAP:
                self._file.writeframes(bytes(2 * lost))  # silence
            expected = frame.pts + frame.samples
            for each in resampler.resample(frame):
                self._take(each.to_ndarray()[0])
            self.relay.put(frame)

    def level(self) -> float:
        """Root mean square, of full scale, of what came since this was last asked."""
        squares, samples = self._squares, self._samples
        self._squares = self._samples = 0.0
        return math.sqrt(squares / samples) / 32768 if samples else 0.0

    def close(self) -> None:
        self._files.close()

    def _take(self, samples: np.ndarray) -> None:
        self.frames += 1
        self._squares += float(np.square(samples.astype(np.float64)).sum())
        self._samples += len(samples)
        if self._file is not None:
            self._file.writeframes(samples.tobytes())
