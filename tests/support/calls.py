# SPDX-License-Identifier: Apache-2.0
"""Calls for tests: two sides in one process, and peers that know the secret and mean no good."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from waiting import PATIENCE, until

from fv2v import Reenactor
from fv2v.live.call.call import Call, CallOptions
from fv2v.live.call.link import Link
from fv2v.live.call.messages import HELLO, Hello
from fv2v.live.call.signalling import ring

HASH = "0" * 64


def hello(like: Hello, **changes: Any) -> bytes:
    """A greeting with some of its fields changed, whatever they are then."""
    return bytes([HELLO]) + json.dumps(asdict(like) | changes).encode()


def encoded(suffix: str, height: int = 32, width: int = 32) -> bytes:
    """A grey picture."""
    return cv2.imencode(suffix, np.full((height, width, 3), 99, np.uint8))[1].tobytes()


def jpeg(height: int, width: int) -> bytes:
    """A small picture whose header says that it is large."""
    data = encoded(".jpg")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


class Side:
    """One side of a call, and what it told."""

    def __init__(self, reenactor: Reenactor, portrait: Any, **options: Any) -> None:
        self.told: list[str] = []
        self.call = Call(reenactor, portrait, CallOptions(**options), self.told.append)


@asynccontextmanager
async def listening(side: Side) -> AsyncIterator[Link]:
    """The side waits for calls; its link."""
    links: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
    work = asyncio.ensure_future(side.call.listen("127.0.0.1", 0, links.set_result))
    try:
        yield await asyncio.wait_for(links, PATIENCE)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@asynccontextmanager
async def joined(side: Side, link: Link) -> AsyncIterator["asyncio.Task[str]"]:
    """The side has called; the task that ends when the call does."""
    work = asyncio.ensure_future(side.call.join(link))
    try:
        await until(lambda: side.call.connected or work.done(), "a connection")
        yield work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


class Stranger:
    """A peer that knows the secret, and says what it likes.

    Attributes:
        heard: what came on both channels.
    """

    def __init__(self) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.control = self.peer.createDataChannel("control", negotiated=True, id=0)
        self.motion = self.peer.createDataChannel(
            "motion", negotiated=True, id=1, ordered=False, maxRetransmits=0
        )
        self.peer.addTransceiver("audio")
        self.heard: list[Any] = []
        self.control.on("message", self.heard.append)
        self.motion.on("message", self.heard.append)

    async def __aenter__(self) -> "Stranger":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.peer.close()

    async def connect(self, link: Link) -> None:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        answer = await ring(link, self.peer.localDescription.sdp)
        await self.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await until(lambda: self.control.readyState == "open", "an open channel")
