# SPDX-License-Identifier: Apache-2.0
"""A guarded web application for pages of one's own machine: who may ask, how much, and what comes back.

The address that is printed holds a random secret, the first part of every path. A request is refused unless
it has the secret, a Host that is this machine's (a stranger's page may have its name resolved to 127.0.0.1:
DNS rebinding) and, where it changes anything, the Origin of the page itself.
"""

import asyncio
import hmac
import ipaddress
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from aiohttp import web

from fv2v.io.limits import shown

LOG = logging.getLogger("fv2v.live")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; media-src 'self' blob:; form-action 'none'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self)",
    "Cache-Control": "no-store",
    "Server": "fv2v",
}
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
FOLDERS = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][^\s/\\:'\"]+)+[/\\](?=[^\s/\\])")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server gives to whoever asks."""

    upload: int = 25 << 20  # bytes of one file
    message: int = 1 << 16  # bytes of a message or of a description of media (SDP)
    sessions: int = 4  # at the same time
    request_seconds: float = 10.0  # until a new connection's request has arrived, without its body
    pause_seconds: float = 10.0  # between two pieces of a body, and of silence of a session's page
    upload_seconds: float = 120.0  # for a whole body


class Refused(Exception):
    """A request that is answered with an error: a status of HTTP and one line."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def new_secret() -> str:
    """32 random bytes, in letters that a URL takes as they are."""
    return secrets.token_urlsafe(32)


def guarded_app(secret: str, host: str = "127.0.0.1", limits: Limits | None = None) -> web.Application:
    """An application without routes (`add_route`), whose every request is checked first.

    A handler's `Refused` and ValueError become JSON, {"error": one line without folders}; what else it raises
    becomes "the server failed" there, and a line in the log.

    Args:
        secret: from `new_secret`.
        host: the address that it listens on, as the user gave it.
        limits: what uploads may take.
    """
    limits = limits or Limits()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        request.app[WAITING].discard(request.protocol)
        try:
            _check(request, secret, host)
            return await handler(request)
        except Refused as error:
            return error_response(error.status, str(error))
        except web.HTTPException as error:
            return error_response(error.status, error.reason)
        except ValueError as error:
            return error_response(400, str(error))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            LOG.exception("a request failed")
            return error_response(500, "the server failed; its own messages say more")

    app = web.Application(middlewares=[guard], client_max_size=limits.message)
    app[WAITING], app[LIMITS] = set(), limits
    app.on_response_prepare.append(_harden)
    return app


WAITING: web.AppKey[set[Any]] = web.AppKey("WAITING", set)  # connections without a request so far
LIMITS = web.AppKey("LIMITS", Limits)


def add_route(app: web.Application, method: str, path: str, handler: Handler) -> None:
    """Add a handler under the secret: `path` is "/offer", or "/" for the page."""
    app.router.add_route(method, "/{secret}" + path, handler)


def add_files(app: web.Application, folder: str, index: str) -> None:
    """Serve the pages, scripts and styles in a folder of `fv2v.live`, and no other file; `index` is "/"."""
    for file in files("fv2v.live").joinpath(folder).iterdir():
        kind = KINDS.get("." + file.name.rpartition(".")[2])
        if kind is not None:
            path = "/" if file.name == index else f"/{file.name}"
            add_route(app, "GET", path, _file(file.read_bytes(), kind))


def error_response(status: int, text: str) -> web.Response:
    """{"error": text} as `told` has it."""
    return web.json_response({"error": told(text)}, status=status)


def told(text: str) -> str:
    """A message as others may read it: on one line, with no folder's name in it."""
    return FOLDERS.sub("", shown(text))


async def read_body(request: web.Request, most: int) -> bytes:
    """The body of a request, of at most so many bytes.

    Raises:
        Refused: it is larger, empty, or too slow.
    """
    size = request.content_length or 0
    body = bytearray()
    limits = request.app[LIMITS]
    loop = asyncio.get_running_loop()
    end = loop.time() + limits.upload_seconds
    while size <= most and len(body) <= most:
        seconds = min(limits.pause_seconds, end - loop.time())
        try:
            piece = await asyncio.wait_for(request.content.readany(), max(seconds, 0))
        except (TimeoutError, asyncio.TimeoutError):
            raise Refused(408, "the upload took too long") from None
        if not piece:
            break
        body += piece
    if max(size, len(body)) > most:
        raise Refused(413, f"expected at most {most} bytes, got more")
    if not body:
        raise Refused(400, "expected a body, got none")
    return bytes(body)


async def read_json(request: web.Request) -> dict[str, object]:
    """An object from a request's body; Refused for anything else."""
    try:
        value = json.loads(await read_body(request, request.app[LIMITS].message))
    except (ValueError, RecursionError):
        raise Refused(400, "expected a body of JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, f"expected an object of JSON, got {type(value).__name__}")
    return value


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the block runs; port 0 takes a free one. Yields the port.

    Raises:
        OSError: the address cannot be listened on.
    """
    limits = app[LIMITS]
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=limits.pause_seconds,
        lingering_time=1.0,  # for what is left of a body that was refused
        shutdown_timeout=1.0,
    )
    await runner.setup()
    loop = asyncio.get_running_loop()

    def connect() -> asyncio.BaseProtocol:
        assert runner.server is not None
        protocol = runner.server()
        app[WAITING].add(protocol)
        loop.call_later(limits.request_seconds, _drop_silent, app[WAITING], protocol)
        return protocol

    try:
        sockets = await loop.create_server(connect, host, port)
        try:
            yield int(sockets.sockets[0].getsockname()[1])
        finally:
            sockets.close()
    finally:
        await runner.cleanup()


def url(secret: str, host: str, port: int) -> str:
    """The address of the page, for a browser on this machine where `host` is loopback or all addresses."""
    if is_everywhere(host):
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/{secret}/"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_everywhere(host: str) -> bool:
    """Whether it stands for all addresses of this machine."""
    address = _address(host)
    return address is not None and address.is_unspecified


def _check(request: web.Request, secret: str, host: str) -> None:
    """Refused unless the request comes from the page, or from who was given its address."""
    if not _is_ours(request.host, host):
        raise Refused(403, "expected the Host that was printed")
    given = request.match_info.get("secret") or request.path.split("/")[1]
    if not hmac.compare_digest(given.encode(errors="surrogateescape"), secret.encode()):
        raise Refused(403, "expected the secret of the address that was printed")
    origin = request.headers.get("Origin")
    if origin is None and request.method in ("GET", "HEAD"):
        return
    if origin != f"http://{request.host}":
        raise Refused(403, "expected the Origin of the page itself")


def _is_ours(given: str, host: str) -> bool:
    """Whether a Host header may name this server; its port may be forwarded from another."""
    name = re.sub(r":\d*$", "", given).strip("[]").lower()
    address = _address(name)
    if is_everywhere(host):
        return name == "localhost" or address is not None  # no name that a stranger may have resolved
    if is_loopback(host):
        return name == "localhost" or (address is not None and address.is_loopback)
    return name == host.lower()


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _file(content: bytes, kind: str) -> Handler:
    async def send(request: web.Request) -> web.Response:
        return web.Response(body=content, content_type=kind, charset="utf-8")

    return send


async def _harden(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _drop_silent(waiting: set[Any], protocol: web.RequestHandler) -> None:
    """Close a connection whose first request has not arrived in time."""
    if protocol in waiting:
        waiting.discard(protocol)
        if protocol.transport is not None:
            protocol.transport.abort()
