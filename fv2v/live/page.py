# SPDX-License-Identifier: Apache-2.0
"""The page of `fv2v serve`: yourself in a browser, moving a portrait; and films, one after the other."""

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
from aiohttp import web

from fv2v.face.portrait import CroppedPortrait, crop_portrait
from fv2v.live.films import DONE, Films
from fv2v.live.memory import keep_giving_back, share_heaps
from fv2v.live.peer import Peer
from fv2v.live.server import (
    Limits,
    Refused,
    add_files,
    add_route,
    guarded_app,
    is_loopback,
    read_body,
    read_json,
)
from fv2v.live.session import Session, cut_portrait
from fv2v.pipelines.demo import drawn_portrait
from fv2v.reenactor import Reenactor

DRAWN = "drawn"  # the portrait that ships
KEPT = 8  # portraits that were uploaded
DECODE_SECONDS = 20.0


class Page:
    """What the page asks of the server.

    Args:
        reenactor: of a preset that pictures drive.
        folder: private, for uploads and films.
        local: whether media stay on this machine.
        limits: of sessions and uploads.
    """

    def __init__(self, reenactor: Reenactor, folder: Path, local: bool, limits: Limits) -> None:
        self._reenactor, self._folder, self._local, self._limits = reenactor, folder, local, limits
        drawn = drawn_portrait(max(256, reenactor.config.output_size))
        self._portraits = {DRAWN: crop_portrait(drawn, crop=False)}
        self._peers: dict[str, Peer] = {}
        self._starting = 0
        self._waiters = ThreadPoolExecutor(limits.sessions, thread_name_prefix="fv2v-page")
        self._films = Films(reenactor, folder)

    def add_to(self, app: web.Application) -> None:
        """Declare the routes."""
        add_files(app, "static", "serve.html")
        add_route(app, "GET", "/state", self._state)
        add_route(app, "POST", "/portraits", self._add_portrait)
        add_route(app, "GET", "/portraits/{name}", self._show_portrait)
        add_route(app, "POST", "/sessions", self._begin)
        add_route(app, "POST", "/sessions/{name}/portrait", self._change_portrait)
        add_route(app, "POST", "/films", self._add_film)
        add_route(app, "GET", "/films", self._list_films)
        add_route(app, "GET", "/films/{name}", self._send_film)
        add_route(app, "DELETE", "/films/{name}", self._remove_film)

    async def close(self) -> None:
        """End all sessions and films."""
        for peer in list(self._peers.values()):
            await peer.close()
        await self._films.close()
        await asyncio.to_thread(self._waiters.shutdown)

    async def _state(self, request: web.Request) -> web.Response:
        config = self._reenactor.config
        return web.json_response(
            {
                "preset": config.name,
                "size": config.output_size,
                "relative": config.geometry.relative,
                "retargets": config.retargeting is not None,
                "upload": self._limits.upload,
            }
        )

    async def _add_portrait(self, request: web.Request) -> web.Response:
        encoded = await read_body(request, self._limits.upload)
        try:
            portrait = await asyncio.wait_for(asyncio.to_thread(self._decoded, encoded), DECODE_SECONDS)
        except (TimeoutError, asyncio.TimeoutError):
            raise Refused(400, "the picture took too long to read") from None
        name = secrets.token_urlsafe(8)
        self._portraits[name] = portrait
        uploaded = [each for each in self._portraits if each != DRAWN]
        for old in uploaded[:-KEPT]:
            del self._portraits[old]
        return web.json_response({"portrait": name})

    def _decoded(self, encoded: bytes) -> CroppedPortrait:
        """The square around the face in a picture's file."""
        with TemporaryDirectory(dir=self._folder) as folder:
            path = Path(folder) / "portrait"
            path.write_bytes(encoded)
            portrait = cut_portrait(self._reenactor, path)
        return portrait._replace(picture=portrait.image)  # what is around it may be large

    async def _show_portrait(self, request: web.Request) -> web.Response:
        picture = self._portrait(request.match_info["name"]).image
        shown = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
        return web.Response(body=shown.tobytes(), content_type="image/png")

    async def _begin(self, request: web.Request) -> web.Response:
        asked = await read_json(request)
        offer, portrait = asked.get("sdp"), self._portrait(asked.get("portrait", DRAWN))
        if not isinstance(offer, str):
            raise Refused(400, "expected an offer (SDP)")
        if len(self._peers) + self._starting >= self._limits.sessions:
            raise Refused(429, f"all {self._limits.sessions} sessions are taken; close another page")
        self._starting += 1
        try:
            session = await asyncio.to_thread(partial(Session, self._reenactor, portrait))
            name = secrets.token_urlsafe(8)
            ended = partial(self._peers.pop, name, None)
            peer = self._peers[name] = Peer(session, self._waiters, self._limits, self._local, ended)
        finally:
            self._starting -= 1
        return web.json_response({"sdp": await peer.answer(offer), "session": name})

    async def _change_portrait(self, request: web.Request) -> web.Response:
        peer = self._peers.get(request.match_info["name"])
        if peer is None:
            raise Refused(404, "there is no such session")
        portrait = self._portrait((await read_json(request)).get("portrait"))
        await asyncio.to_thread(partial(setattr, peer.session, "portrait", portrait))
        return web.json_response({})

    async def _add_film(self, request: web.Request) -> web.Response:
        portrait = self._portrait(request.query.get("portrait", DRAWN)).image
        driving = await read_body(request, self._limits.upload)
        return web.json_response({"film": await asyncio.to_thread(self._films.add, portrait, driving)})

    async def _list_films(self, request: web.Request) -> web.Response:
        return web.json_response(self._films.facts())

    async def _send_film(self, request: web.Request) -> web.StreamResponse:
        film = self._films.get(request.match_info["name"])
        if film.state != DONE:
            raise Refused(409, f"the film is {film.state}")
        return web.FileResponse(film.output, headers={"Content-Type": "video/mp4"})

    async def _remove_film(self, request: web.Request) -> web.Response:
        self._films.remove(request.match_info["name"])
        return web.json_response({})

    def _portrait(self, name: object) -> CroppedPortrait:
        if not isinstance(name, str) or name not in self._portraits:
            raise Refused(404, "there is no such portrait; it may be too old: upload it again")
        return self._portraits[name]


@asynccontextmanager
async def page_app(
    reenactor: Reenactor, secret: str, host: str = "127.0.0.1", limits: Limits | None = None
) -> AsyncIterator[web.Application]:
    """The page's application, for `listening`; its sessions, films and files end with the block."""
    limits = limits or Limits()
    share_heaps()
    cv2.setNumThreads(1)  # its threads wait by spinning, for pictures so small that one is done sooner
    with TemporaryDirectory(prefix="fv2v-serve-") as folder:
        page = await asyncio.to_thread(partial(Page, reenactor, Path(folder), is_loopback(host), limits))
        app = guarded_app(secret, host, limits)
        page.add_to(app)
        tidying = asyncio.ensure_future(keep_giving_back())
        try:
            yield app
        finally:
            tidying.cancel()
            await page.close()
            del page, app
            gc.collect()  # circles hold codecs, which would wait for their threads when Python ends, for ever
