# SPDX-License-Identifier: Apache-2.0
"""How two sides find each other: one offer and one answer over HTTP, both signed with the link's secret."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

from fv2v.live.call.link import Link, is_signed, sign
from fv2v.live.call.messages import PeerError

LARGEST = 1 << 16  # bytes of an offer or an answer
SLOW = 10.0  # seconds in which a request has to be over, from the first byte to the last
HEADER = "X-Fv2v-Signature"

Answer = Callable[[str], Awaitable[str]]


class Busy(Exception):
    """Another one is being answered."""


class NoAnswer(Exception):
    """Nobody answers there: another try may find somebody."""


class Doorbell:
    """Listens for offers.

    Args:
        answer: makes the answer to an offer; raises PeerError for one that cannot be answered, `Busy` while
            another is.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._secret = ""
        application = web.Application(client_max_size=LARGEST)
        application.router.add_post("/call", self._ring)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, keepalive_timeout=0)
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> Link:
        """Listens from now on; 0 takes a free port. OSError for an address that cannot be had.

        The link of a host that stands for all addresses has the one by which others are reached.
        """
        await self._runner.setup()
        make = self._runner.server
        assert make is not None
        loop = asyncio.get_running_loop()

        def limited() -> asyncio.Protocol:
            protocol = make()
            loop.call_later(SLOW, _cut, protocol)
            return protocol

        self._server = await loop.create_server(limited, host, port)
        link = Link.new(_reachable(host), self._server.sockets[0].getsockname()[1])
        self._secret = link.secret
        return link

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    async def _ring(self, request: web.Request) -> web.Response:
        body = await request.read()
        signature = request.headers.get(HEADER, "")
        if not is_signed(self._secret, "offer", body, signature):
            return web.Response(status=403, text="wrong secret")
        try:
            answer = await self._answer(_sdp(body))
        except Busy:
            return web.Response(status=429, text="somebody else is being answered")
        except PeerError as error:
            return web.Response(status=400, text=str(error))
        reply = json.dumps({"sdp": answer}).encode()
        headers = {HEADER: sign(self._secret, "answer", signature.encode() + reply)}
        return web.Response(body=reply, headers=headers, content_type="application/json")


async def ring(link: Link, offer: str) -> str:
    """The answer of who listens.

    Raises:
        NoAnswer: nobody, in `SLOW` seconds; or busy.
        PeerError: who is there has another secret, or says what cannot be.
    """
    body = json.dumps({"sdp": offer}).encode()
    signature = sign(link.secret, "offer", body)
    timeout = aiohttp.ClientTimeout(total=SLOW, sock_connect=2)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(link.url, data=body, headers={HEADER: signature}, allow_redirects=False) as response,
        ):
            reply = await _bounded(response)
            if response.status == 429:
                raise NoAnswer(f"{link.host}:{link.port} is busy")
            if response.status == 403:
                raise PeerError("the link is not that of the call which runs there: its secret is another")
            if response.status != 200:
                raise PeerError(f"{link.host}:{link.port} refuses the call (HTTP status {response.status})")
            if not is_signed(
                link.secret, "answer", signature.encode() + reply, response.headers.get(HEADER, "")
            ):
                raise PeerError(f"who answers at {link.host}:{link.port} does not know the link's secret")
            return _sdp(reply)
    except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
        raise NoAnswer(f"nobody answers at {link.host}:{link.port}") from None


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(LARGEST):
        data += chunk
        if len(data) > LARGEST:
            raise PeerError(f"an answer of more than {LARGEST} bytes")
    return bytes(data)


def _sdp(body: bytes) -> str:
    try:
        sdp = json.loads(body)["sdp"]
    except (ValueError, TypeError, KeyError, RecursionError):
        sdp = None
    if not isinstance(sdp, str):
        raise PeerError("an offer or answer without SDP")
    return sdp


def _reachable(host: str) -> str:
    """An address of this machine in place of one that stands for all of them."""
    if host not in ("0.0.0.0", "::"):
        return host
    family, outside = (socket.AF_INET6, "2001:db8::1") if host == "::" else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((outside, 9))  # sends nothing: the system chooses the interface
        except OSError:  # no network
            return "::1" if host == "::" else "127.0.0.1"
        return str(probe.getsockname()[0])


def _cut(protocol: Any) -> None:
    """The end of a connection that is still there, whatever it is at."""
    if protocol.transport is not None:
        protocol.transport.abort()
