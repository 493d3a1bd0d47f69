# SPDX-License-Identifier: Apache-2.0
"""Two peers connected once: greeting, portrait, motion both ways, sound; until one of them ends it."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from time import monotonic
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import SessionDescription

from fv2v.codec import CodecError, MotionDecoder, MotionEncoder
from fv2v.geometry import Motion
from fv2v.io.limits import shown
from fv2v.live.call import messages
from fv2v.live.call.jitter import sound_buffer
from fv2v.live.call.messages import Hello, PeerError, Status, clock, difference
from fv2v.live.call.portrait import PortraitFile
from fv2v.live.call.rates import Wire
from fv2v.live.call.sides import Ended, Mine, Reactions
from fv2v.live.call.sound import SoundTrack

# Seconds until the other side has greeted, and its portrait is here. Where a fifth of all packets is lost,
# every step of setting a connection up waits for timers of seconds.
GREETING = 40.0
SILENCE = 10.0  # seconds without a message; shorter cuts a connection survives by itself
TICK = 0.2  # seconds from one status to the next
STUCK = 20.0  # seconds for which nothing of what waits on the control channel gets through
WAITING = 512  # bytes of motion that may wait for the network; more, and frames are left out
BAD = 100  # motion packets of a connection that may be damaged
MESSAGES = 400  # a second, of a peer that sends 25 frames and 5 statuses
ROUNDS = 25  # round trips of which the shortest tells the other clock


class UnlikePeers(PeerError):
    """Both keep to the rules, but what one sends means something else to the other."""


class Connection:
    """One RTCPeerConnection. `ended` is done with the `Ended` that says why, once it is over.

    Args:
        mine: what this side brings.
        holds: the digest of the other side's portrait that is here from before; empty: none.
        reactions: what is called when something comes.

    Attributes:
        greeted: set when the other side was found to fit, and its portrait is here or known.
        damaged, lost, skipped: motion packets that were none, that could not be decoded, frames left out
            since the network did not take them.
        round_trip: milliseconds, the latest; None before the first.
    """

    def __init__(self, mine: Mine, holds: str, reactions: Reactions) -> None:
        self._mine, self._reactions = mine, reactions
        self._hello = replace(mine.hello, holds=holds)
        self._peer = peer = RTCPeerConnection(RTCConfiguration(iceServers=list(mine.servers)))
        self._control = peer.createDataChannel("control", negotiated=True, id=0)
        self._motion = peer.createDataChannel(
            "motion", negotiated=True, id=1, ordered=False, maxRetransmits=0
        )
        with sound_buffer(self._count_sound):
            peer.addTransceiver("audio" if mine.sound is None else SoundTrack(mine.sound))
        self._encoder = MotionEncoder(mine.config, mine.quality, redundancy=mine.redundancy)
        self._decoder = MotionDecoder(mine.config)
        self._wire = Wire(mine.rates)
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Ended] = loop.create_future()
        self.greeted = asyncio.Event()
        self.damaged = self.lost = self.skipped = 0
        self.round_trip: int | None = None
        self._theirs: Hello | None = None
        self._file: PortraitFile | None = None
        self._needs_refresh = False
        self._echo: tuple[int, float] | None = None  # the other side's last clock, and when it came
        self._offsets: deque[tuple[int, int]] = deque(maxlen=ROUNDS)  # round trip, their clock less ours
        self._began = self._heard = monotonic()
        self._second, self._count = 0, 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._listen_to_peer()

    # --- how it comes about ---

    async def offer(self) -> str:
        """An SDP for the other side, its candidates in it."""
        await self._peer.setLocalDescription(await self._peer.createOffer())
        return str(self._peer.localDescription.sdp)

    async def answer(self, offer: str) -> str:
        """The SDP that answers a peer's. PeerError for one that cannot be answered."""
        await self._accept(offer, "offer")
        await self._peer.setLocalDescription(await self._peer.createAnswer())
        return str(self._peer.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """The other side's answer. PeerError for one that cannot be used."""
        await self._accept(answer, "answer")

    async def _accept(self, sdp: str, kind: str) -> None:
        try:
            media = sorted(each.kind for each in SessionDescription.parse(sdp).media)
            if media != ["application", "audio"]:
                raise ValueError(f"expected sound and data, got {', '.join(media) or 'nothing'}")
            await self._peer.setRemoteDescription(RTCSessionDescription(sdp, kind))
        except Exception as error:  # aiortc raises nearly anything for an SDP that is none
            raise PeerError(f"an {kind} that cannot be used") from error
        self._spawn(self._watch())

    async def close(self, reason: str | None = None) -> None:
        """End it, and tell the other side why, where a reason is given."""
        self._finish(reason or "closed", bye=reason)
        await asyncio.sleep(TICK)  # for what was said last to leave this machine
        await self.measure()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._peer.close()

    # --- what goes out ---

    def send_motion(self, motion: Motion, taken: float) -> None:
        """A frame's motion, taken at that `time.monotonic()`; left out while the network is behind."""
        if not self.greeted.is_set() or self._motion.readyState != "open":
            return
        if self._motion.bufferedAmount > WAITING:
            self.skipped += 1
            return
        packet = self._encoder.encode(motion)
        self._send(self._motion, messages.write_motion(clock(taken), packet), "motion")

    async def measure(self) -> None:
        """Count what the transport has sent and received into the call's rates."""
        self._wire.count(await self._peer.getStats())

    def counts(self) -> dict[str, Any]:
        """What became of packets, and the round trip."""
        return {
            "damaged": self.damaged,
            "lost": self.lost,
            "skipped": self.skipped,
            "round_trip": self.round_trip,
        }

    def _count_sound(self, size: int) -> None:
        self._mine.rates.received.parts["sound"] += size

    def _send(self, channel: Any, message: bytes, part: str) -> None:
        channel.send(message)
        self._mine.rates.sent.parts[part] += len(message)

    # --- what comes in ---

    def _listen_to_peer(self) -> None:
        self._control.on("open", self._greet)
        self._control.on("message", lambda message: self._receive(message, self._on_control))
        self._motion.on("message", lambda message: self._receive(message, self._on_motion))
        self._peer.on("datachannel", lambda channel: self._refuse("opened a channel of its own"))
        self._peer.on("track", lambda track: self._spawn(self._reactions.sound(track)))
        self._peer.on("connectionstatechange", self._on_state)

    def _on_state(self) -> None:
        if self._peer.connectionState in ("failed", "closed"):
            self._finish("the network connection failed", again=True)

    def _greet(self) -> None:
        self._send(self._control, self._hello.encode(), "control")

    def _receive(self, message: Any, handle: Callable[[int, bytes], None]) -> None:
        if self.ended.done():
            return
        self._heard = now = monotonic()
        self._second, self._count = int(now), self._count + 1 if int(now) == self._second else 1
        try:
            if self._count > MESSAGES:
                raise PeerError(f"more than {MESSAGES} messages a second")
            handle(messages.kind_of(message), message)
        except UnlikePeers as error:
            self._finish(str(error), fault=True, bye=str(error))
        except PeerError as error:
            self._refuse(f"sent {error}")

    def _on_control(self, kind: int, message: bytes) -> None:
        received = self._mine.rates.received.parts
        received["portrait" if kind == messages.PORTRAIT else "control"] += len(message)
        if kind == messages.HELLO and self._theirs is None:
            self._theirs = theirs = messages.read_hello(message)
            self._check(theirs)
            if theirs.holds != self._hello.portrait:
                for piece in messages.pieces(self._mine.portrait):
                    self._send(self._control, piece, "portrait")
            if theirs.portrait == self._hello.holds:
                self._spawn(self._meet(theirs, None))
            else:
                self._file = PortraitFile(theirs)
        elif kind == messages.PORTRAIT and self._theirs is not None and self._file is not None:
            if (data := self._file.add(message[1:])) is not None:
                self._spawn(self._meet(self._theirs, data))
                self._file = None
        elif kind == messages.BYE:
            fault, reason = messages.read_bye(message)
            self._finish(f"the other side ended the call: {reason}", fault=fault)
        else:
            raise PeerError(f"a message of kind {kind} where none was expected")

    def _check(self, theirs: Hello) -> None:
        """Whether its motion means here what it means there."""
        mine = self._hello
        if theirs.model == mine.model:
            return
        if theirs.preset != mine.preset:
            models = f"presets, {mine.preset!r} and {shown(theirs.preset)!r}"
        else:
            models = f"weights of {mine.preset!r}"
        raise UnlikePeers(f"the two sides run different {models}: start both with the same")

    async def _meet(self, theirs: Hello, portrait: bytes | None) -> None:
        try:
            await self._reactions.portrait(theirs.portrait, portrait)
        except PeerError as error:
            self._refuse(f"sent {error}")
        else:
            self.greeted.set()

    def _on_motion(self, kind: int, message: bytes) -> None:
        if kind == messages.STATUS:
            self._mine.rates.received.parts["control"] += len(message)
            self._on_status(messages.read_status(message))
        elif kind == messages.MOTION:
            self._mine.rates.received.parts["motion"] += len(message)
            self._on_frame(*messages.read_motion(message))
        else:
            raise PeerError(f"a message of kind {kind} where none was expected")

    def _on_status(self, status: Status) -> None:
        now = monotonic()
        self._echo = status.sent, now
        if status.number is not None:
            self._encoder.acknowledge(status.number)
        if status.refresh:
            self._encoder.request_refresh()
        if status.echo is not None:
            trip = difference(clock(now), status.echo) - status.held
            if 0 <= trip <= 1000 * GREETING:
                self.round_trip = trip
                self._offsets.append((trip, difference(status.sent + trip // 2, clock(now))))

    def _on_frame(self, taken: int, packet: bytes) -> None:
        try:
            motion = self._decoder.decode(packet)
        except CodecError:
            self.damaged += 1
            if self.damaged > BAD:
                raise PeerError(f"more than {BAD} packets that are no motion") from None
            return
        self.lost += self._decoder.status == "lost"
        self._needs_refresh = self._decoder.status == "lost" or (
            self._needs_refresh and self._decoder.status != "new"
        )
        number = self._decoder.number
        if self._decoder.status == "new" and number is not None and self.greeted.is_set():
            ahead = min(self._offsets)[1] if self._offsets else 0
            self._reactions.motion(number, taken, ahead, motion)

    # --- how it ends ---

    async def _watch(self) -> None:
        """Sends statuses, and ends what stands still."""
        waited, since, before = 0, monotonic(), monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = monotonic()
            if now - before > 2 * TICK:  # this machine stood still: that is not the other side's silence
                self._heard += now - before - TICK
            before = now
            if not self.greeted.is_set():
                if now - self._began > GREETING:
                    self._finish(f"the other side did not greet within {GREETING:g} s", again=True)
            elif now - self._heard > SILENCE:
                self._finish(f"nothing came from the other side for {SILENCE:g} s", again=True)
            if self._control.bufferedAmount != waited or not waited:
                waited, since = self._control.bufferedAmount, now
            elif now - since > STUCK:
                self._finish(f"the other side took nothing for {STUCK:g} s", again=True)
            if self._motion.readyState == "open" and self._motion.bufferedAmount <= WAITING:
                self._send(self._motion, self._status(now).encode(), "control")

    def _status(self, now: float) -> Status:
        echo, held = None, 0
        if self._echo is not None and now - self._echo[1] < 0.255:
            echo, held = self._echo[0], round(1000 * (now - self._echo[1]))
        return Status(self._decoder.number, self._needs_refresh, clock(now), echo, held)

    def _refuse(self, what: str) -> None:
        """The other side is at fault: it is told, and not listened to any more."""
        self._finish(f"the other side {what}", fault=True, bye=f"this side {what}")

    def _finish(
        self, reason: str, *, again: bool = False, fault: bool = False, bye: str | None = None
    ) -> None:
        if self.ended.done():
            return
        if bye is not None and self._control.readyState == "open":
            self._send(self._control, messages.write_bye(bye, fault), "control")
        self.ended.set_result(Ended(reason, again, fault))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
