# SPDX-License-Identifier: Apache-2.0
"""The page's server against strangers, bombs, slow peers and nonsense; and a caller as it should be."""

import asyncio
import json
import random
import struct
import tempfile
import threading
import zlib
from contextlib import suppress
from tempfile import gettempdir
from typing import Any

import clips
import numpy as np
import pytest
from pages import Caller, Client, serving
from places import ROOT
from tiny import TINY_VOX, lively
from waiting import PATIENCE, until

from fv2v import Edit, Reenactor, View
from fv2v.live import Session
from fv2v.live.controls import Controls, steadier
from fv2v.live.server import HEADERS, Limits, is_everywhere, is_loopback, told, url
from fv2v.live.timecode import PERIOD, paint_time, read_time
from fv2v.motion.smoothing import STEADY

SHORT = Limits(upload=1 << 16, sessions=1, request_seconds=1.0, pause_seconds=1.0, upload_seconds=1.5)


NO_PORTRAIT = "there is no such portrait; it may be too old: upload it again"


@pytest.fixture(scope="module")
def tiny() -> Reenactor:
    return lively(Reenactor(TINY_VOX, weights="random"))


@pytest.fixture
def ask(tiny):
    """ask((method, path, body, headers), ...) -> [(status, text), ...]"""

    def run(*requests: tuple[Any, ...], limits: Limits | None = None) -> list[tuple[int, Any]]:
        async def all_of_them() -> list[tuple[int, Any]]:
            async with serving(tiny, limits) as client:
                answers = []
                for method, path, *rest in requests:
                    headers = {k: v.replace("HERE", client.root) for k, v in (rest[1:] or [{}])[0].items()}
                    status, text = await client.ask(method, path, *rest[:1], **headers)
                    answers.append((status, json.loads(text) if text.startswith("{") else text))
                return answers

        return asyncio.run(all_of_them())

    return run


def png(width: int, height: int) -> bytes:
    """A picture of black pixels in a file of some kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = zlib.compressobj(9)
    rows = b"".join(row.compress(bytes(1 + width // 8)) for _ in range(height)) + row.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_nobody_is_let_in_without_the_secret(ask):
    secret, origin, host = (
        {"error": f"expected {what}"}
        for what in (
            "the secret of the address that was printed",
            "the Origin of the page itself",
            "the Host that was printed",
        )
    )
    answers = ask(
        ("GET", "//"),
        ("GET", "///"),
        ("GET", "//state"),
        ("GET", "//wrong/state"),
        ("POST", "//wrong/sessions", b"{}"),
        ("GET", "//%C3%A4%FF/state"),
        ("GET", "/state", None, {"Origin": "http://evil.example"}),
        ("GET", "/state", None, {"Origin": "null"}),
        ("POST", "/films", b"x", {"Origin": "http://localhost"}),
        ("DELETE", "/films/x", None, {"Origin": "http://evil.example"}),
        ("GET", "/state", None, {"Host": "evil.example"}),
        (
            "GET",
            "/state",
            None,
            {"Host": "127.0.0.1.evil.example", "Origin": "http://127.0.0.1.evil.example"},
        ),
        ("GET", "/state", None, {"Host": "10.0.0.1"}),
        ("GET", "/nothing"),
        ("PUT", "/state", b"x"),
    )
    assert answers[:6] == [(403, secret)] * 6
    assert answers[6:10] == [(403, origin)] * 4
    assert answers[10:13] == [(403, host)] * 3
    assert answers[13:] == [(404, {"error": "Not Found"}), (405, {"error": "Method Not Allowed"})]


def test_who_may_ask_is_answered_with_hard_headers(tiny):
    async def run() -> None:
        async with serving(tiny) as client:
            for path in ("/", "/state", "/serve.js", "/style.css", "/portraits/drawn", "/nothing"):
                async with client.http.get(f"{client.root}/{client.secret}{path}") as answer:
                    assert answer.status == (404 if path == "/nothing" else 200)
                    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
                    assert "Access-Control-Allow-Origin" not in answer.headers
            async with client.http.post(f"{client.root}/{client.secret}/films", data=b"x") as answer:
                assert answer.status == 403  # no Origin at all
            name = {"Host": f"localhost:{client.port}", "Origin": f"http://localhost:{client.port}"}
            assert (await client.ask("GET", "/state", **name))[0] == 200

    asyncio.run(run())


def test_names_lead_out_of_no_folder(ask):
    names = ["../README.md", "..%2FREADME.md", "%2e%2e/README.md", "%2e%2e%2fREADME.md", "..\\README.md"]
    folders = ["", "/etc/", "films/", "portraits/", "films/../../../../../../etc/", "static/"]
    answers = ask(*[("GET", f"/{folder}{name}") for folder in folders for name in names])
    assert {status for status, _ in answers} <= {403, 404}
    assert all(set(text) == {"error"} for _, text in answers)


def test_large_and_empty_uploads_are_refused(ask):
    async def pieces() -> Any:
        for _ in range(100):
            yield bytes(1 << 10)

    most = {"error": "expected at most 65536 bytes, got more"}
    answers = ask(
        ("POST", "/portraits", bytes(SHORT.upload + 1)),
        ("POST", "/portraits", pieces()),  # that does not say how much it will be
        ("POST", "/films", bytes(SHORT.upload + 1)),
        ("POST", "/sessions", bytes(SHORT.message + 1)),
        ("POST", "/portraits", b""),
        limits=SHORT,
    )
    assert answers == [(413, most)] * 4 + [(400, {"error": "expected a body, got none"})]


def test_pictures_that_are_bombs_or_none(ask):
    files = [b"nonsense", png(60_000, 60_000), png(320, 320), clips.PORTRAIT.read_bytes()[:5000]]
    answers = ask(*[("POST", "/portraits", file) for file in files], ("GET", "/portraits/nobody"))
    assert [status for status, _ in answers] == [400] * 4 + [404]
    texts = [text["error"] for _, text in answers]
    assert texts[0] == "portrait: not a picture that OpenCV can read (or a truncated one)"
    assert texts[1] == "portrait: expected at most 67108864 pixels, got 3600000000"
    assert texts[2].startswith("portrait: no face found in 320 x 320 pixels")
    assert "truncated" in texts[3]
    assert texts[4] == NO_PORTRAIT
    for text in texts:
        assert gettempdir() not in text
        assert "\n" not in text


def test_messages_tell_no_folder():
    assert told(f"{ROOT}/a/portrait.png: broken\nat /usr/lib/x.so") == "portrait.png: broken at x.so"
    assert told("expected W/H of 3/4 or 640 x 480, http error; 5 MB/s") == (
        "expected W/H of 3/4 or 640 x 480, http error; 5 MB/s"
    )
    assert told(r"C:\Users\me\a.png is broken") == "a.png is broken"


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Until the other end closes, however it does: what came before a reset is kept."""
    came = bytearray()
    with suppress(ConnectionError):
        while piece := await asyncio.wait_for(reader.read(1 << 16), PATIENCE):
            came += piece
    return bytes(came)


def test_slow_peers_are_closed(tiny):
    async def run() -> None:
        async with serving(tiny, SHORT) as client:
            # the head of a request that never ends, and no request at all
            for begun in (b"GET /", b""):
                reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
                writer.write(begun)
                closed = asyncio.ensure_future(read_all(reader))
                while not closed.done():
                    writer.write(b"x" if begun else b"")
                    await asyncio.sleep(0.1)
                assert closed.result() == b""
                writer.close()
            # a second request on a connection that had one
            reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
            line = f"GET /{client.secret}/state HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            writer.write(line.encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.write(b"GET /")
            await read_all(reader)
            writer.close()
            # a body in drops, and one that stops
            for drop in (b"x", b""):
                reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
                head = f"POST /{client.secret}/films HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                writer.write(f"{head}Origin: http://127.0.0.1\r\nContent-Length: 60000\r\n\r\n".encode())
                answered = asyncio.ensure_future(read_all(reader))
                while not answered.done():
                    writer.write(drop)
                    await asyncio.sleep(0.2)
                assert answered.result().startswith(b"HTTP/1.1 408")
                assert b'{"error": "the upload took too long"}' in answered.result()
                writer.close()
            assert (await client.ask("GET", "/state"))[0] == 200

    asyncio.run(run())


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


def test_times_are_read_back_from_pictures():
    picture = np.random.default_rng(0).integers(0, 256, (48, 320, 3), np.uint8)
    assert read_time(picture) is None
    for milliseconds in (0, 1, 12345, PERIOD - 1):
        paint_time(picture, milliseconds)
        assert read_time(picture) == milliseconds
    picture[-8:, 20:31] = 255 - picture[-8:, 20:31]  # a bit is wrong
    assert read_time(picture) is None
    assert read_time(np.zeros((4, 4, 3), np.uint8)) is None


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


def test_addresses():
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "192.168.0.2")] == [
        *(True, True, True, False, False)
    ]
    assert [is_everywhere(host) for host in ("0.0.0.0", "::", "127.0.0.1", "x")] == [True, True, False, False]
    assert url("s", "0.0.0.0", 80) == "http://127.0.0.1:80/s/"
    assert url("s", "::1", 80) == "http://[::1]:80/s/"
