# SPDX-License-Identifier: Apache-2.0
"""One side of a call, for as long as it lasts: connections come and go, the two persons stay."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Any

import numpy as np
from aiortc import RTCIceServer

from fv2v.codec.portrait import encode_portrait
from fv2v.geometry import Motion, View
from fv2v.live.call.connection import Connection
from fv2v.live.call.link import Link
from fv2v.live.call.messages import Hello
from fv2v.live.call.model import model_digest
from fv2v.live.call.own import OwnMotion
from fv2v.live.call.person import Person, Shown
from fv2v.live.call.rates import Rates
from fv2v.live.call.sides import Ended, Mine, Reactions
from fv2v.live.call.signalling import Busy, NoAnswer, doorbell, ring
from fv2v.live.call.sound import Ear, SoundSource
from fv2v.live.loopback import on_loopback
from fv2v.live.recorder import Recorder
from fv2v.live.server import is_loopback
from fv2v.reenactor import Reenactor

LAP = 1.0  # seconds from one line of the log to the next
RETRY = 0.5  # seconds from one try to come back to the next
GONE = 120.0  # seconds after which nobody tries any more


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """How a side takes part.

    Args:
        show: a film of what is seen, as `fv2v.write_video` takes its name.
        hear: a .wav of what is heard.
        log: a file of JSON, a line a second: rates, latencies, the frames shown.
        motion: a .npz of this side's own motion, which time stamps in milliseconds tell from the log.
        sound: what is sent; None: silence.
        servers: STUN and TURN servers.
        view: from where the other is seen; it may be changed during the call.
        relative: as `AnimationOptions` has it.
        quality, redundancy: of the motion that is sent, as `MotionEncoder` takes them.
    """

    show: Path | None = None
    hear: Path | None = None
    log: Path | None = None
    motion: Path | None = None
    sound: SoundSource | None = None
    servers: Sequence[RTCIceServer] = ()
    view: View | None = None
    relative: bool | None = None
    quality: float = 75.0
    redundancy: int = 1


class Call:
    """One side. Use it in `async with`; `listen` or `join` runs until the call is over.

    Args:
        reenactor: of a preset that pictures drive.
        portrait: (n, n, 3) uint8, the square around this side's face, of the preset's size.
        options: how it takes part.
        tell: called with what happens, a line each.
        show_lap: called with each lap's line of the log.

    Attributes:
        person: the other side; its `view` may be set.
        latest: the newest picture of it; None before the first.
        lap: the last line of the log; empty before the first.
    """

    def __init__(
        self,
        reenactor: Reenactor,
        portrait: np.ndarray,
        options: CallOptions | None = None,
        tell: Callable[[str], None] = lambda line: None,
        show_lap: Callable[[dict[str, Any]], None] = lambda lap: None,
    ) -> None:
        self._options = options = options or CallOptions()
        self._tell, self._show_lap = tell, show_lap
        file = encode_portrait(portrait, kind="webp")
        config = reenactor.config
        hello = Hello(config.name, model_digest(reenactor), hashlib.sha256(file).hexdigest(), len(file), "")
        self._rates = Rates()
        self._mine = Mine(
            config,
            hello,
            file,
            options.sound,
            options.servers,
            options.quality,
            options.redundancy,
            self._rates,
        )
        self.person = Person(reenactor, self._shown, options.relative)
        self.person.view = options.view
        self.latest: Shown | None = None
        self.lap: dict[str, Any] = {}
        self._film = None if options.show is None else Recorder(options.show)
        self._own = None if options.motion is None else OwnMotion(options.motion, config.name)
        self._ear = Ear(options.hear)
        self._log: IO[str] | None = None if options.log is None else options.log.open("w")
        # of each picture: the frame's number, when it was taken and shown, how late, its place in the film
        self._frames: list[tuple[int, int, int, int, int | None]] = []
        self._lock = threading.Lock()
        self._begun = monotonic()
        self._connection: Connection | None = None
        self._pending: Connection | None = None  # answered, and not greeted yet
        self._followed: set[asyncio.Task[Ended]] = set()
        self._local = True  # whether media stay on this machine
        self._loop = asyncio.get_running_loop()
        self._account = asyncio.ensure_future(self._keep_account())

    async def __aenter__(self) -> "Call":
        return self

    async def __aexit__(self, *error: object) -> None:
        """Hangs up, and finishes what is written."""
        self._account.cancel()
        for connection in (self._connection, self._pending):
            if connection is not None:
                await connection.close("it hung up")
        await asyncio.gather(*self._followed, return_exceptions=True)
        await asyncio.to_thread(self.person.close)
        self._write_lap()
        self._ear.close()
        if self._log is not None:
            self._log.close()
        if self._film is not None:
            await asyncio.to_thread(self._film.close)
        if self._own is not None:
            self._own.write()

    @property
    def connected(self) -> bool:
        """Whether the other side is there."""
        return self._connection is not None

    @property
    def heard(self) -> SoundSource:
        """What arrives of the other side's sound, the newest."""
        return self._ear.relay

    def send(self, motion: Motion, taken: float) -> None:
        """This side's motion, of one frame taken at that `time.monotonic()`; from any thread."""
        self._loop.call_soon_threadsafe(self._send, motion, taken)

    async def listen(self, host: str, port: int, show_link: Callable[[Link], None]) -> None:
        """Waits for the other side, again and again; for ever.

        Raises:
            OSError: the address cannot be listened at.
        """
        self._local = is_loopback(host)
        async with doorbell(self._answer, host, port) as link:
            show_link(link)
            await asyncio.Event().wait()

    async def join(self, link: Link) -> str:
        """Calls who listens, and again when the connection was lost. Returns why it is over.

        Raises:
            ValueError: nobody answers there, or one side is at fault; one line.
        """
        lost: float | None = None
        while True:
            try:
                connection = await self._ring(link)
            except NoAnswer as error:
                if lost is None:
                    raise ValueError(f"{error}: is `fv2v call --listen` running there?") from None
                ended = Ended(str(error), again=True, fault=False)
            else:
                ended = await self._follow(connection)
                if connection.greeted.is_set():
                    lost = None
            if ended.fault:
                raise ValueError(ended.reason)
            if not ended.again:
                return ended.reason
            lost = monotonic() if lost is None else lost
            if monotonic() - lost > GONE:
                raise ValueError(f"{ended.reason}; given up after {GONE:g} s")
            await asyncio.sleep(RETRY)

    async def _ring(self, link: Link) -> Connection:
        connection = self._new_connection()
        try:
            with on_loopback(is_loopback(link.host)):
                offer = await connection.offer()
            await connection.accept(await ring(link, offer))
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _answer(self, offer: str) -> str:
        if self._pending is not None:
            raise Busy
        self._pending = connection = self._new_connection()
        try:
            with on_loopback(self._local):
                answer = await connection.answer(offer)
        except BaseException:
            self._pending = None
            await connection.close()
            raise
        task = asyncio.ensure_future(self._follow(connection))
        self._followed.add(task)
        task.add_done_callback(self._followed.discard)
        return answer

    def _new_connection(self) -> Connection:
        reactions = Reactions(self._meet, self.person.move, self._ear.listen)
        return Connection(self._mine, self.person.digest, reactions)

    async def _follow(self, connection: Connection) -> Ended:
        """A connection from its beginning to its end; once it is greeted it takes the place of the last."""
        greeted = asyncio.ensure_future(connection.greeted.wait())
        first: set[asyncio.Future[Any]] = {greeted, connection.ended}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if connection is self._pending:
                self._pending = None
            if greeted.done():
                before, self._connection = self._connection, connection
                self._report("connected")
                if before is not None:
                    await before.close()
            ended = await asyncio.shield(connection.ended)
        finally:
            greeted.cancel()
            await connection.close("it hung up")  # says so where nothing else has ended it
        if connection is self._connection or not connection.greeted.is_set():
            self._report(ended.reason)
        if connection is self._connection:
            self._connection = None
        return ended

    async def _meet(self, digest: str, file: bytes | None) -> None:
        await asyncio.to_thread(self.person.meet, digest, file)

    def _send(self, motion: Motion, taken: float) -> None:
        if self._own is not None:
            self._own.add(motion, taken)
        if self._connection is not None:
            self._connection.send_motion(motion, taken)

    def _shown(self, shown: Shown) -> None:
        """A picture is ready; in the person's thread."""
        self.latest = shown
        frame = None if self._film is None else self._film.show(shown.image)
        with self._lock:
            self._frames.append((shown.number, shown.taken, shown.shown, shown.latency, frame))

    async def _keep_account(self) -> None:
        while True:
            await asyncio.sleep(LAP)
            if self._connection is not None:
                await self._connection.measure()
            self._write_lap()

    def _write_lap(self) -> None:
        """What happened since the last time: bytes a second, frames, what was lost."""
        with self._lock:
            frames, self._frames = self._frames, []
        seconds, rates = self._rates.lap()
        lap: dict[str, Any] = {
            "seconds": round(monotonic() - self._begun, 3),
            "clock": round(monotonic(), 3),
            "lasted": round(seconds, 3),
            "connected": self.connected,
            **rates,
            "shown": round(len(frames) / seconds, 2),
            "latency": _percentiles([latency for *_, latency, _ in frames]),
            "level": round(self._ear.level(), 5),
            "heard": self._ear.frames,
        }
        if self._connection is not None:
            lap |= self._connection.counts()
        self.lap = lap
        self._show_lap(lap)
        self._write(lap | {"frames": [(n, taken, shown, film) for n, taken, shown, _, film in frames]})

    def _report(self, event: str) -> None:
        self._tell(event)
        self._write({"seconds": round(monotonic() - self._begun, 3), "event": event})

    def _write(self, line: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()


def _percentiles(latencies: Sequence[int]) -> list[int] | None:
    """The median and the 95th, milliseconds; None of none."""
    if not latencies:
        return None
    return [round(float(each)) for each in np.percentile(latencies, (50, 95))]
