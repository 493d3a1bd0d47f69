# SPDX-License-Identifier: Apache-2.0
"""Calls among strangers: what a peer without the secret is told, and how one who has it does no harm."""

import asyncio
import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp
import numpy as np
import pytest
from calls import HASH, Side, Stranger, hello, joined, jpeg, listening
from tiny import TINY_VOX, lively, pictures
from waiting import run, until

from fv2v import Reenactor
from fv2v.live.call import connection, messages
from fv2v.live.call.link import Link, sign
from fv2v.live.call.messages import MOTION, PORTRAIT, Hello
from fv2v.live.call.signalling import HEADER


@pytest.fixture(scope="module")
def reenactor() -> Reenactor:
    return lively(Reenactor(TINY_VOX, weights="random"))


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return np.asarray(pictures(1, seed=3)[0])


async def refused(reenactor: Reenactor, portrait: np.ndarray, act: Callable[[Stranger, Hello], Any]) -> str:
    """What the listener says of a stranger that acts so; a friend can call afterwards all the same."""
    side, friend = Side(reenactor, portrait), Side(reenactor, portrait)
    async with side.call, friend.call, listening(side) as link:
        async with Stranger() as stranger:
            await stranger.connect(link)
            done = act(stranger, side.call._mine.hello)
            if done is not None:
                await done
            await until(lambda: side.told and not side.call.connected, "the end of it")
        async with joined(friend, link):
            assert friend.call.connected
    return next(each for each in side.told if each != "connected")


@pytest.mark.parametrize("secret", ["", "another secret of twenty"])
def test_who_lacks_the_secret_is_refused(reenactor, portrait, secret):
    async def test() -> None:
        side = Side(reenactor, portrait)
        async with side.call, listening(side) as link, aiohttp.ClientSession() as session:
            body = b'{"sdp": "v=0"}'
            known, guessed = (sign(each, "path", b"") for each in (link.secret, secret))
            for path, signature in (
                ("", ""),
                (f"/{guessed}/offer", sign(secret, "offer", body)),
                (f"/{known}/offer", ""),
                (f"/{known}/offer", sign(secret, "offer", body)),
                (f"/{known}/offer", sign(link.secret, "offer", body + b" ")),
                (f"/{known}/offer", sign(link.secret, "answer", body)),
                (f"/{known}/offer", "\u00e9" * 64),
            ):
                headers = {HEADER: signature, "Origin": link.origin}
                async with session.post(link.origin + path, data=body, headers=headers) as response:
                    assert response.status == 403, path
                    assert link.secret not in await response.text()
            assert side.told == []
            other = Side(reenactor, portrait)
            async with other.call:
                with pytest.raises(ValueError, match="not that of the call which runs there"):
                    await other.call.join(replace(link, secret="another secret of twenty"))

    run(test)


def test_offers_that_cannot_be_answered(reenactor, portrait):
    async def test() -> None:
        side = Side(reenactor, portrait)
        async with side.call, listening(side) as link, aiohttp.ClientSession() as session:
            url = f"{link.origin}/{sign(link.secret, 'path', b'')}/offer"
            video = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
            for body, status in (
                (b"{", 400),
                (b"[]", 400),
                (b'{"sdp": 1}', 400),
                (b'{"sdp": "v=0"}', 400),
                (json.dumps({"sdp": "m=audio x y z\r\na=" + "q" * 1000}).encode(), 400),
                (json.dumps({"sdp": video}).encode(), 400),
                (b" " * 70_000, 413),
            ):
                headers = {HEADER: sign(link.secret, "offer", body), "Origin": link.origin}
                async with session.post(url, data=body, headers=headers) as response:
                    assert response.status == status, body[:50]
                    text = await response.text()
                    assert "Traceback" not in text
                    assert "/" not in json.loads(text)["error"].replace("HTTP/", "")
            for header, foreign in (("Origin", "http://evil.example"), ("Host", "evil.example")):
                headers = {HEADER: sign(link.secret, "offer", b"{}"), "Origin": link.origin, header: foreign}
                async with session.post(url, data=b"{}", headers=headers) as response:
                    assert response.status == 403
            assert not side.call.connected

    run(test)


def test_an_answer_that_who_has_the_secret_did_not_sign(reenactor, portrait):
    """Somebody between the two could put his own fingerprint there."""
    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"sdp": "v=0"}, headers={HEADER: HASH})

    async def test() -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        side = Side(reenactor, portrait)
        try:
            async with side.call:
                with pytest.raises(ValueError, match="does not know the link's secret"):
                    await side.call.join(Link("127.0.0.1", port, "x" * 43))
        finally:
            await runner.cleanup()

    run(test)


def test_ten_thousand_random_messages(reenactor, portrait):
    """On both channels, from a peer that greeted as it should: it is thrown out, and others can call."""
    rng = random.Random(0)

    async def act(stranger: Stranger, like: Hello) -> None:
        stranger.control.send(hello(like, holds=like.portrait))
        await until(lambda: stranger.heard, "a greeting")
        for number in range(10_000):
            if stranger.motion.readyState != "open":
                return
            channel = stranger.control if number % 10 == 9 else stranger.motion
            channel.send(rng.randbytes(rng.randrange(1, 200)))
            if number % 50 == 49:
                await asyncio.sleep(0)

    async def test() -> None:
        said = await refused(reenactor, portrait, act)
        assert said.startswith("the other side sent ")

    run(test)


def _bomb(stranger: Stranger, like: Hello) -> None:
    data = jpeg(30_000, 30_000)
    digest = hashlib.sha256(data).hexdigest()
    stranger.control.send(hello(like, portrait=digest, size=len(data), holds=like.portrait))
    stranger.control.send(bytes([PORTRAIT]) + data)


def _too_long(stranger: Stranger, like: Hello) -> None:
    stranger.control.send(hello(like, portrait=HASH, size=10))
    stranger.control.send(bytes([PORTRAIT]) + b"x" * 11)


def _foreign(stranger: Stranger, like: Hello) -> None:
    stranger.control.send(hello(like, model=HASH, preset="of another world"))


def _two_greetings(stranger: Stranger, like: Hello) -> None:
    stranger.control.send(hello(like, portrait=HASH))
    stranger.control.send(hello(like, portrait=HASH))


def _another_channel(stranger: Stranger, like: Hello) -> None:
    stranger.peer.createDataChannel("mine")


async def _damaged_motion(stranger: Stranger, like: Hello) -> None:
    stranger.control.send(hello(like, portrait=HASH))
    for number in range(3 * connection.BAD):
        if stranger.motion.readyState != "open":
            return
        stranger.motion.send(bytes([MOTION]) + bytes(4) + b"\xff\x05" + bytes([number % 256]))
        await asyncio.sleep(0.004)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (_bomb, "sent a portrait with too many pixels"),
        (_too_long, "sent a portrait of more than the 10 bytes"),
        (_foreign, "different presets, 'tiny-vox' and 'of another world'"),
        (_two_greetings, "a message of kind 1 where none was expected"),
        (_another_channel, "opened a channel of its own"),
        (_damaged_motion, f"more than {connection.BAD} packets that are no motion"),
    ],
)
def test_a_peer_at_fault_is_told_and_cut_off(reenactor, portrait, act, message):
    async def test() -> None:
        assert message in await refused(reenactor, portrait, act)

    run(test)


def test_a_peer_that_stops_talking_is_cut_off(reenactor, portrait, monkeypatch):
    monkeypatch.setattr(connection, "SILENCE", 0.6)

    async def test() -> None:
        async def keep_silent(stranger: Stranger, like: Hello) -> None:
            with monkeypatch.context() as impatient:  # not before it is connected
                impatient.setattr(connection, "GREETING", 1.0)
                await until(lambda: stranger.control.readyState == "closed", "the end of it")

        said = await refused(reenactor, portrait, keep_silent)
        assert said == "the other side did not greet within 1 s"

        def greet(stranger: Stranger, like: Hello) -> None:
            side_holds = like.portrait  # its own portrait is announced as the one that it sends
            data = portrait_of[0]
            stranger.control.send(hello(like, holds=side_holds))
            for piece in messages.pieces(data):
                stranger.control.send(piece)

        portrait_of = [Side(reenactor, portrait)]
        async with portrait_of[0].call as own:
            portrait_of[0] = own._mine.portrait
        said = await refused(reenactor, portrait, greet)
        assert said == "nothing came from the other side for 0.6 s"

    run(test)


def test_one_offer_is_answered_at_a_time(reenactor, portrait):
    async def test() -> None:
        side, late = Side(reenactor, portrait), Side(reenactor, portrait)
        async with side.call, late.call, listening(side) as link, Stranger() as stranger:
            await stranger.connect(link)
            with pytest.raises(ValueError, match="busy"):
                await late.call.join(link)

    run(test)
