# SPDX-License-Identifier: Apache-2.0
"""How two sides find each other: one offer and one answer over HTTP, both signed with the link's secret."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from fv2v.live.call.link import Link, is_signed, sign
from fv2v.live.call.messages import PeerError
from fv2v.live.server import (
    Limits,
    Refused,
    add_route,
    guarded_app,
    is_everywhere,
    listening,
    new_secret,
    read_body,
)

LARGEST = 1 << 16  # bytes of an offer or an answer
SLOW = 10.0  # seconds for an answer to come
REACH = 1.5  # seconds for a connection to come about
HEADER = "X-Fv2v-Signature"

Answer = Callable[[str], Awaitable[str]]


class Busy(Exception):
    """Another one is being answered."""


class NoAnswer(Exception):
    """Nobody answers there: another try may find somebody."""


@asynccontextmanager
async def doorbell(answer: Answer, host: str, port: int) -> AsyncIterator[Link]:
    """Listens for offers while the block runs; port 0 takes a free one. Yields the link for the other side.

    The link of a host that stands for all addresses has the one by which others are reached.

    Args:
        answer: makes the answer to an offer; raises PeerError for one that cannot be answered, `Busy` while
            another is.

    Raises:
        OSError: the address cannot be listened on.
    """
    secret = new_secret()

    async def ring(request: web.Request) -> web.Response:
        body = await read_body(request, LARGEST)
        signature = request.headers.get(HEADER, "")
        if not is_signed(secret, "offer", body, signature):
            raise Refused(403, "expected an offer signed with the link's secret")
        try:
            made = await answer(_sdp(body))
        except Busy:
            raise Refused(429, "somebody else is being answered") from None
        reply = json.dumps({"sdp": made}).encode()
        headers = {HEADER: sign(secret, "answer", signature.encode() + reply)}
        return web.Response(body=reply, headers=headers, content_type="application/json")

    app = guarded_app(sign(secret, "path", b""), host, Limits(message=LARGEST))
    add_route(app, "POST", "/offer", ring)
    async with listening(app, host, port) as port:
        yield Link(_reachable(host), port, secret)


async def ring(link: Link, offer: str) -> str:
    """The answer of who listens.

    Raises:
        NoAnswer: nobody, in `SLOW` seconds; or busy.
        PeerError: who is there has another secret, or says what cannot be.
    """
    body = json.dumps({"sdp": offer}).encode()
    signature = sign(link.secret, "offer", body)
    url = f"{link.origin}/{sign(link.secret, 'path', b'')}/offer"
    headers = {HEADER: signature, "Origin": link.origin}
    timeout = aiohttp.ClientTimeout(total=SLOW, sock_connect=REACH)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
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
    if not is_everywhere(host):
        return host
    family, outside = (socket.AF_INET6, "2001:db8::1") if host == "::" else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((outside, 9))  # sends nothing: the system chooses the interface
        except OSError:  # no network
            return "::1" if host == "::" else "127.0.0.1"
        return str(probe.getsockname()[0])
