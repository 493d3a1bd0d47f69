# SPDX-License-Identifier: Apache-2.0
"""The page's server and a client of it, without a browser."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from yarl import URL

from fv2v.live.loopback import on_loopback
from fv2v.live.page import page_app
from fv2v.live.server import Limits, listening, new_secret, url
from fv2v.live.timecode import paint_time
from fv2v.reenactor import Reenactor


@dataclass
class Client:
    """Asks the page's server; an answer is its status and its text."""

    http: aiohttp.ClientSession
    port: int
    secret: str

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """`path` is below the secret, or with "//" before it the whole of it, as it stands."""
        whole = self.root + (path[1:] if path.startswith("//") else f"/{self.secret}{path}")
        headers = {"Origin": self.root} | headers
        async with self.http.request(method, URL(whole, encoded=True), data=body, headers=headers) as answer:
            return answer.status, await answer.text()

    async def json(self, method: str, path: str, body: Any = None) -> Any:
        status, text = await self.ask(method, path, body)
        assert status == 200, text
        return json.loads(text)


@asynccontextmanager
async def serving(reenactor: Reenactor, limits: Limits | None = None) -> AsyncIterator[Client]:
    secret = new_secret()
    async with (
        page_app(reenactor, secret, limits=limits) as app,
        listening(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession() as http,
    ):
        assert url(secret, "127.0.0.1", port) == f"http://127.0.0.1:{port}/{secret}/"
        yield Client(http, port, secret)


class Camera(MediaStreamTrack):
    """Shows a picture over and over, the milliseconds since its first frame painted into it."""

    kind = "video"

    def __init__(self, picture: np.ndarray, fps: int = 25) -> None:
        super().__init__()
        self.picture, self.fps, self.sent = picture, fps, 0

    async def recv(self) -> av.VideoFrame:
        await asyncio.sleep(1 / self.fps)
        picture = self.picture.copy()
        paint_time(picture, 1000 * self.sent // self.fps)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = self.sent, Fraction(1, self.fps)
        self.sent += 1
        return frame


class Caller:
    """A page's end of a session, as a browser has it."""

    def __init__(self, picture: np.ndarray) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.control = self.connection.createDataChannel("control")
        self.times = self.connection.createDataChannel("times", ordered=False, maxRetransmits=0)
        self.figures: list[dict[str, Any]] = []
        self.shown: list[int] = []
        self.pictures: asyncio.Queue[np.ndarray] = asyncio.Queue()
        self.control.on("message", lambda text: self.figures.append(json.loads(text)))
        self.times.on("message", lambda text: self.shown.append(int(text)))
        self.connection.on("track", lambda track: asyncio.ensure_future(self._watch(track)))
        self.connection.addTrack(Camera(picture))

    async def offer(self) -> str:
        with on_loopback():
            await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def call(self, client: Client, **asked: Any) -> str:
        """Connect; the session's name."""
        body = json.dumps({"sdp": await self.offer(), **asked})
        answer = await client.json("POST", "/sessions", body)
        await self.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        return answer["session"]

    async def _watch(self, track: Any) -> None:
        with suppress(MediaStreamError):
            while True:
                self.pictures.put_nowait((await track.recv()).to_ndarray(format="rgb24"))
