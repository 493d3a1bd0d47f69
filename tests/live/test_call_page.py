# SPDX-License-Identifier: Apache-2.0
"""A side's page: camera and microphone in, the other side's picture and sound out, figures, the view."""

import asyncio
import json
from time import monotonic
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from calls import Side, joined, listening
from pages import Camera
from tiny import TINY_VOX, lively, pictures
from waiting import run, until

from fv2v import Reenactor, View
from fv2v.live.call.page import call_page
from fv2v.live.call.reader import MotionReader
from fv2v.live.call.sound import Ear, Microphone, SoundTrack, Tone
from fv2v.live.loopback import on_loopback


@pytest.fixture(scope="module")
def reenactor() -> Reenactor:
    return lively(Reenactor(TINY_VOX, weights="random"))


class Browser:
    """A page's end, without a browser."""

    def __init__(self, picture: np.ndarray) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.control = self.peer.createDataChannel("control")
        self.peer.addTrack(Camera(picture))
        self.peer.addTrack(SoundTrack(Tone()))
        self.figures: list[dict[str, Any]] = []
        self.pictures: list[np.ndarray] = []
        self.ear = Ear()
        self.control.on("message", lambda text: self.figures.append(json.loads(text)))
        self.tasks: list[Any] = []
        self.peer.on("track", self._take)

    def _take(self, track: MediaStreamTrack) -> None:
        work = self.ear.listen(track) if track.kind == "audio" else self._watch(track)
        self.tasks.append(asyncio.ensure_future(work))

    async def _watch(self, track: MediaStreamTrack) -> None:
        while True:
            self.pictures.append((await track.recv()).to_ndarray(format="rgb24"))

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.peer.close()

    async def connect(self, address: str) -> int:
        """The status that the server answers with."""
        with on_loopback():
            await self.peer.setLocalDescription(await self.peer.createOffer())
        origin = "/".join(address.split("/")[:3])
        body = json.dumps({"sdp": self.peer.localDescription.sdp})
        async with (
            aiohttp.ClientSession() as http,
            http.post(address + "offer", data=body, headers={"Origin": origin}) as answer,
        ):
            if answer.status == 200:
                sdp = (await answer.json())["sdp"]
                await self.peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
            return answer.status


def test_a_page_takes_part_in_a_call(reenactor):
    portraits = [np.asarray(picture) for picture in pictures(2, seed=3)]
    motion = reenactor.extract(pictures(1, seed=5)[0])

    async def test() -> None:
        microphone = Microphone()
        one = Side(reenactor, portraits[0], sound=microphone, relative=False)
        two = Side(reenactor, portraits[1], sound=Tone(), relative=False)
        browser = Browser(np.repeat(np.repeat(portraits[1], 2, 0), 2, 1))
        reader = MotionReader(reenactor, one.call.send, crop=False)
        try:
            async with (
                one.call,
                two.call,
                listening(one) as link,
                joined(two, link),
                call_page(one.call, reader, microphone) as address,
            ):
                assert await browser.connect(address) == 200
                await until(lambda: two.call.latest, "the camera's motion on the other side")
                await until(lambda: two.call.lap.get("level", 0) > 0.01, "the microphone's sound there")
                await until(lambda: browser.ear.level() > 0.005, "the other side's sound in the page")
                await until(lambda: browser.figures, "figures")

                def is_seen() -> bool:
                    """Whether the page shows the other side as it is rendered here."""
                    two.call.send(motion, monotonic())
                    if not browser.pictures or one.call.latest is None:
                        return False
                    shown = browser.pictures[-1]
                    assert shown.shape == (32, 32, 3)
                    return bool(np.abs(shown.astype(float) - one.call.latest.image).mean() < 8)

                await until(is_seen, "the other side's picture in the page")
                straight = one.call.latest.image
                for wrong in (
                    "",
                    "[]",
                    '{"yaw": 1e999, "pitch": 0, "roll": 0}',
                    '{"yaw": 3}',
                    "x" * 1000,
                    b"x",
                ):
                    browser.control.send(wrong)
                browser.control.send('{"yaw": 400, "pitch": 10, "roll": 0}')
                await until(lambda: one.call.person.view == View(10.0, 90.0, 0.0), "the view")
                await until(
                    lambda: is_seen() and not np.array_equal(one.call.latest.image, straight),
                    "a picture that follows the view",
                )
                parts = {"motion", "sound", "portrait", "control", "wire"}

                def is_told() -> bool:
                    last = browser.figures[-1]
                    return last["connected"] and last["seen"] and parts <= {*last.get("received", {})}

                await until(is_told, "figures")
                again = Browser(portraits[0])
                assert await again.connect(address) == 200, "another page takes the place of the first"
                await until(lambda: again.figures, "its figures")
                await again.close()
                assert await again_wrong(address) == [403, 400, 400]
        finally:
            await browser.close()
            reader.close()

    run(test)


async def again_wrong(address: str) -> list[int]:
    """What the server answers to a wrong secret, to what is no offer, and to one without a camera."""
    origin = "/".join(address.split("/")[:3])
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.createDataChannel("control")
    await peer.setLocalDescription(await peer.createOffer())
    bodies = ("{}", "{}", json.dumps({"sdp": peer.localDescription.sdp}))
    await peer.close()
    statuses = []
    async with aiohttp.ClientSession() as http:
        for place, body in zip((f"{origin}/{'x' * 43}/", address, address), bodies, strict=True):
            async with http.post(place + "offer", data=body, headers={"Origin": origin}) as answer:
                statuses.append(answer.status)
    return statuses
