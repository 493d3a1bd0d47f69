# SPDX-License-Identifier: Apache-2.0
"""A page's sessions: offers and messages that are none, a caller as it should be, what its end leaves."""

import asyncio
import json
import random
import tempfile
import threading

import clips
import pytest
from pages import Caller, Client, serving
from tiny import TINY_VOX, lively
from waiting import PATIENCE, until

from fv2v import Edit, Reenactor, View
from fv2v.live import Session
from fv2v.live.controls import Controls, steadier
from fv2v.live.server import Limits
from fv2v.motion.smoothing import STEADY

NO_PORTRAIT = "there is no such portrait; it may be too old: upload it again"


@pytest.fixture(scope="module")
def tiny() -> Reenactor:
    return lively(Reenactor(TINY_VOX, weights="random"))


def test_malformed_offers(tiny):
    refused = (400, '{"error": "expected an offer (SDP) of one video and a data channel"}')

    async def run() -> None:
        async with serving(tiny, Limits(sessions=1)) as client:
            caller = Caller(clips.portrait())
            good = await caller.offer()
            random.seed(0)
            lines = good.splitlines(keepends=True)
            shuffled = "".join(random.sample(lines, len(lines)))
            bad = [
                *("", "nonsense", "v=0\r\n", good[: len(good) // 2], good.replace("m=video", "m=audio")),
                *(shuffled, good.replace("a=fingerprint", "a=f"), good.replace("m=application", "m=other")),
                *(good.replace("a=ice-ufrag", "a=x"), "\x00" * 1000, "m=video 9 x\r\n" * 1000),
            ]
            for offer in bad:
                assert await client.ask("POST", "/sessions", json.dumps({"sdp": offer})) == refused, offer
            for body, error in (
                (b"{", "expected a body of JSON"),
                (b"[" * 60_000, "expected a body of JSON"),
                (b"[]", "expected an object of JSON, got list"),
                (b"{}", "expected an offer (SDP)"),
                (b'{"sdp": 3}', "expected an offer (SDP)"),
                (b'{"sdp": "", "portrait": ["x"]}', NO_PORTRAIT),
            ):
                status, text = await client.ask("POST", "/sessions", body)
                assert (status, json.loads(text)) == (404 if "portrait" in error else 400, {"error": error})
            await caller.connection.close()
            caller = Caller(clips.portrait())
            await caller.call(client)  # no session was lost by all that
            await caller.connection.close()

    asyncio.run(run())


def random_messages(count: int) -> list[str | bytes]:
    """Bytes, text, JSON, and what is nearly right."""
    chance = random.Random(0)
    names = ["yaw", "pitch", "eyes", "steadiness", "relative", "anchor", "mirror", "x", ""]
    values = [None, True, "1", 1e308, -1e308, 1e400, 91, [], {}, "x" * 100, 0.5]

    def message() -> str | bytes:
        kind = chance.randrange(4)
        if kind == 0:
            return chance.randbytes(chance.randrange(200))
        if kind == 1:
            return "".join(map(chr, (chance.randrange(32, 0x2000) for _ in range(chance.randrange(200)))))
        value = {chance.choice(names): chance.choice(values) for _ in range(chance.randrange(4))}
        return json.dumps(value) if kind == 2 else json.dumps(value)[: chance.randrange(1, 40)] + "[" * 50

    return [message() for _ in range(count)]


def test_ten_thousand_random_messages(tiny):
    """Each is refused in a line, or does what it says; the session goes on."""
    controls, refused = Controls(), []
    with Session(tiny, clips.PORTRAIT) as session:
        for message in random_messages(10_000):
            try:
                controls.apply(session, message)
            except ValueError as error:
                refused.append(str(error))
        assert 8_000 < len(refused) < 10_000
        assert max(map(len, refused)) < 200
        assert "\n" not in "".join(refused)
        controls.apply(session, '{"relative": false, "yaw": 20, "strength": 0.5, "steadiness": 0}')
        assert session.view == View(yaw=20, pitch=controls.pitch, roll=0)
        assert session.edit == Edit(strength=0.5)
        assert (session.options.relative, session.options.steady) == (False, None)
        session.push(clips.portrait())
        assert session.get() is not None


def test_the_limit_of_sessions(tiny):
    async def run() -> None:
        async with serving(tiny, Limits(sessions=1)) as client:
            caller, other = Caller(clips.portrait()), Caller(clips.portrait())
            session = await caller.call(client)
            await until(lambda: caller.shown, "a picture")
            body = json.dumps({"sdp": await other.offer()})
            taken = '{"error": "all 1 sessions are taken; close another page"}'
            assert await client.ask("POST", "/sessions", body) == (429, taken)
            assert await client.json("POST", f"/sessions/{session}/portrait", '{"portrait": "drawn"}') == {}
            await caller.connection.close()
            await until(lambda: is_gone(client, session), "the end of the session")
            assert (await client.ask("POST", "/sessions", body))[0] == 200  # which makes room
            await other.connection.close()

    asyncio.run(run())


@pytest.mark.slow
def test_ten_thousand_random_messages_by_a_data_channel(tiny):
    async def run() -> None:
        async with serving(tiny) as client:
            caller = Caller(clips.portrait())
            await caller.call(client)
            await until(lambda: caller.shown and caller.figures)
            for i, message in enumerate(random_messages(10_000)):
                caller.control.send(message)
                if i % 100 == 0:
                    await until(lambda: caller.control.bufferedAmount < 1 << 16)
            await until(lambda: caller.control.bufferedAmount == 0)
            faults = {each["fault"] for each in caller.figures if "fault" in each}
            assert any(text.startswith("expected") or ": expected" in text for text in faults)
            count = len(caller.figures)
            caller.control.send('{"relative": false, "mirror": false}')
            await until(lambda: any(not each["relative"] for each in caller.figures[count:]))
            shown = len(caller.shown)
            await until(lambda: len(caller.shown) > shown)  # still live
            await caller.connection.close()

    asyncio.run(run())


async def is_gone(client: Client, session: str) -> bool:
    answer = await client.ask("POST", f"/sessions/{session}/portrait", b"{}")
    return answer == (404, '{"error": "there is no such session"}')


def session_threads() -> set[str]:
    """Of sessions that live: streams and decoders; the server's own pools stay."""
    names = {thread.name for thread in threading.enumerate()}
    return {name for name in names if name.startswith("fv2v-stream") or "decoder" in name}


def test_a_caller_sees_pictures_and_figures(tiny):
    async def run() -> None:
        async with serving(tiny) as client:
            caller = Caller(clips.portrait())
            session = await caller.call(client)
            picture = await asyncio.wait_for(caller.pictures.get(), PATIENCE)
            assert picture.shape == (32, 32, 3)
            await until(lambda: any(each["shown"] and each["seen"] for each in caller.figures))
            await until(lambda: len(caller.shown) >= 3)
            assert "fv2v-stream" in session_threads()
            assert caller.shown == sorted(caller.shown)  # times of frames, as the camera painted them
            assert all(milliseconds % 40 == 0 for milliseconds in caller.shown)
            figures = caller.figures[-1]
            assert figures["pushed"] >= figures["shown"] > 0
            assert await is_gone(client, "x")
            assert not await is_gone(client, session)
            await caller.connection.close()
            await until(lambda: is_gone(client, session), "the end of the session")
            await until(lambda: not session_threads())

    asyncio.run(run())


def test_a_silent_page_is_closed(tiny):
    """Connected, and then nothing: no frame, no message."""

    async def run() -> None:
        async with serving(tiny, Limits(sessions=1, pause_seconds=3.0)) as client:
            caller = Caller(clips.portrait())
            session = await caller.call(client)
            await until(lambda: caller.shown, "a picture")
            await caller.connection.getSenders()[0].stop()
            await until(lambda: is_gone(client, session), "the end of the session")
            await caller.connection.close()

    asyncio.run(run())


def test_nothing_is_left_behind(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # which no other process uses
    before = {*threading.enumerate()}

    async def run() -> None:
        async with serving(tiny) as client:
            (folder,) = tmp_path.glob("fv2v-serve-*")
            assert folder.stat().st_mode & 0o777 == 0o700
            await client.json("POST", "/portraits", clips.PORTRAIT.read_bytes())
            await client.json("POST", "/films", b"no film")
            assert len(list(folder.iterdir())) == 1  # the film's
            caller = Caller(clips.portrait())
            await caller.call(client)
            await until(lambda: caller.shown, "a picture")
        await caller.connection.close()
        assert not folder.exists()
        assert list(tmp_path.iterdir()) == []
        await until(lambda: not [task for task in asyncio.all_tasks() if "fv2v" in repr(task.get_coro())])

    asyncio.run(run())
    assert {thread.name for thread in {*threading.enumerate()} - before if "fv2v" in thread.name} == set()


@pytest.mark.parametrize(
    "text", ['{"yaw": 61}', '{"yaw": true}', '{"eyes": "1"}', '{"relative": 1}', "[]", b"{}", '{"x": 1}']
)
def test_settings_out_of_range_change_nothing(text):
    with pytest.raises(ValueError, match="expected"):
        Controls().apply(None, text)  # type: ignore[arg-type]


def test_steadiness():
    assert steadier(0) is None
    assert steadier(1) == STEADY
    assert steadier(2).rotation.least == STEADY.rotation.least / 2
