# SPDX-License-Identifier: Apache-2.0
"""The page's server against strangers, bombs, slow peers and nonsense."""

import asyncio
import json
import struct
import zlib
from contextlib import suppress
from tempfile import gettempdir
from typing import Any

import clips
import numpy as np
import pytest
from pages import serving
from places import ROOT
from tiny import TINY_VOX, lively
from waiting import PATIENCE

from fv2v import Reenactor
from fv2v.live.server import HEADERS, Limits, is_everywhere, is_loopback, told, url
from fv2v.live.timecode import PERIOD, paint_time, read_time

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
    files = [b"nonsense", png(20_000, 20_000), png(320, 320), clips.PORTRAIT.read_bytes()[:5000]]
    answers = ask(*[("POST", "/portraits", file) for file in files], ("GET", "/portraits/nobody"))
    assert [status for status, _ in answers] == [400] * 4 + [404]
    texts = [text["error"] for _, text in answers]
    assert texts[0] == "portrait: not a picture that OpenCV can read (or a truncated one)"
    assert texts[1] == "portrait: expected at most 67108864 pixels, got 400000000"
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


def test_times_are_read_back_from_pictures():
    picture = np.random.default_rng(0).integers(0, 256, (48, 320, 3), np.uint8)
    assert read_time(picture) is None
    for milliseconds in (0, 1, 12345, PERIOD - 1):
        paint_time(picture, milliseconds)
        assert read_time(picture) == milliseconds
    picture[-8:, 20:31] = 255 - picture[-8:, 20:31]  # a bit is wrong
    assert read_time(picture) is None
    assert read_time(np.zeros((4, 4, 3), np.uint8)) is None


def test_addresses():
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "192.168.0.2")] == [
        *(True, True, True, False, False)
    ]
    assert [is_everywhere(host) for host in ("0.0.0.0", "::", "127.0.0.1", "x")] == [True, True, False, False]
    assert url("s", "0.0.0.0", 80) == "http://127.0.0.1:80/s/"
    assert url("s", "::1", 80) == "http://[::1]:80/s/"
