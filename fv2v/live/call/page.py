# SPDX-License-Identifier: Apache-2.0
"""A side's page: its camera and microphone go to its own fv2v, the other side's picture and sound come back.

The page talks to this process alone, over 127.0.0.1; what goes to the other side is what `fv2v call` sends.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from time import monotonic
from typing import Any

from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from fv2v.geometry import View
from fv2v.geometry.view import LARGEST_ANGLE
from fv2v.live.call.call import Call
from fv2v.live.call.reader import MotionReader
from fv2v.live.call.sound import Microphone, SoundTrack
from fv2v.live.frames import Decoded, to_frame
from fv2v.live.loopback import on_loopback
from fv2v.live.server import Refused, add_files, add_route, guarded_app, listening, new_secret, read_json, url

HOST = "127.0.0.1"
CLOCK = 90_000  # ticks a second of video's time stamps
LOOK = 0.01  # seconds between two looks for a new picture
LAP = 1.0  # seconds between two lines of figures
LARGEST_FRAME = 1 << 22  # pixels of a camera's frame
LARGEST_MESSAGE = 500  # characters
ANGLES = ("pitch", "yaw", "roll")


@asynccontextmanager
async def call_page(call: Call, reader: MotionReader, microphone: Microphone) -> AsyncIterator[str]:
    """Serve the page while the block runs; yields its address.

    Args:
        call: the side whose page it is.
        reader: takes the camera's frames.
        microphone: takes the sound.
    """
    secret = new_secret()
    app = guarded_app(secret, HOST)
    page = _Page(call, reader, microphone)
    add_files(app, "static", "call.html")
    add_route(app, "POST", "/offer", page.offer)
    try:
        async with listening(app, HOST, 0) as port:
            yield url(secret, HOST, port)
    finally:
        await page.close()


class _Page:
    """The page that is open; another one takes its place."""

    def __init__(self, call: Call, reader: MotionReader, microphone: Microphone) -> None:
        self._call, self._reader, self._microphone = call, reader, microphone
        self._peer: RTCPeerConnection | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def offer(self, request: web.Request) -> web.Response:
        sdp = (await read_json(request)).get("sdp")
        if not isinstance(sdp, str):
            raise Refused(400, "expected an offer (SDP)")
        await self.close()
        self._peer = peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.on("track", self._take)
        peer.on("datachannel", self._open)
        try:
            await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            kinds = sorted(each.kind for each in peer.getTransceivers())
            if kinds != ["audio", "video"] or peer.sctp is None:
                raise ValueError(f"media {kinds}")
            peer.addTrack(_Seen(self._call))
            peer.addTrack(SoundTrack(self._call.heard))
            with on_loopback():
                await peer.setLocalDescription(await peer.createAnswer())
        except Exception:  # damaged descriptions make the parser raise nearly anything
            await self.close()
            raise Refused(400, "expected an offer (SDP) of video, sound and a data channel") from None
        return web.json_response({"sdp": peer.localDescription.sdp})

    async def close(self) -> None:
        peer, self._peer = self._peer, None
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if peer is not None:
            await peer.close()

    def _take(self, track: MediaStreamTrack) -> None:
        self._tasks.add(
            asyncio.ensure_future(self._watch(track) if track.kind == "video" else self._hear(track))
        )

    async def _watch(self, track: MediaStreamTrack) -> None:
        decoded = Decoded()
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            if frame.width * frame.height <= LARGEST_FRAME:
                self._reader.push(decoded.picture(frame), monotonic())

    async def _hear(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            self._microphone.put(frame)

    def _open(self, channel: Any) -> None:
        channel.on("message", self._turn)
        self._tasks.add(asyncio.ensure_future(self._tell(channel)))

    def _turn(self, message: object) -> None:
        """{"yaw": degrees, ...}: from where the other side is seen. What is none is left out."""
        if not isinstance(message, str) or len(message) > LARGEST_MESSAGE:
            return
        try:
            asked = json.loads(message)
            angles = {name: float(asked[name]) for name in ANGLES}
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return
        if all(map(math.isfinite, angles.values())):
            limited = {name: min(max(each, -LARGEST_ANGLE), LARGEST_ANGLE) for name, each in angles.items()}
            self._call.person.view = View(limited["pitch"], limited["yaw"], limited["roll"])

    async def _tell(self, channel: Any) -> None:
        """What the call costs and how late it is, once a second."""
        while channel.readyState == "open":
            figures = self._call.lap | {"connected": self._call.connected, "seen": self._reader.seen}
            channel.send(json.dumps(figures))
            await asyncio.sleep(LAP)


class _Seen(MediaStreamTrack):
    """The pictures of the other side, each as soon as it is there."""

    kind = "video"

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call, self._last, self._begun = call, call.latest, monotonic()

    async def recv(self) -> Any:
        while (latest := self._call.latest) is None or latest is self._last:
            if self.readyState != "live":
                raise MediaStreamError
            await asyncio.sleep(LOOK)
        self._last = latest
        frame = to_frame(latest.image)
        frame.pts = round(CLOCK * (monotonic() - self._begun))
        frame.time_base = Fraction(1, CLOCK)
        return frame
