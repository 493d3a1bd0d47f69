# SPDX-License-Identifier: Apache-2.0
"""A page's end of a session: camera frames come in by WebRTC, pictures go out, figures with them."""

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from fractions import Fraction
from time import monotonic
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from fv2v.live.controls import Controls
from fv2v.live.frames import Decoded, to_frame
from fv2v.live.loopback import on_loopback
from fv2v.live.memory import give_back
from fv2v.live.server import Limits, Refused
from fv2v.live.session import Session
from fv2v.live.timecode import PERIOD, read_time

LOG = logging.getLogger("fv2v.live")
CLOCK = 90_000  # ticks a second of video's time stamps
LARGEST_FRAME = 1 << 22  # pixels of a camera's frame
REPORT_SECONDS = 0.5
BUFFERED = 1 << 16  # bytes that may wait in a data channel; figures beyond are not sent


class Pictures(MediaStreamTrack):
    """A session's pictures as a track, stamped with the time at which the page captured their frames.

    Args:
        session: whose.
        executor: where its pictures are waited for.
        shown: called with the milliseconds of each picture that is sent.
    """

    kind = "video"

    def __init__(self, session: Session, executor: Executor, shown: Callable[[int], None]) -> None:
        super().__init__()
        self._session, self._executor, self._shown = session, executor, shown

    async def recv(self) -> av.VideoFrame:
        loop = asyncio.get_running_loop()
        picture = None
        while picture is None:
            if self.readyState != "live":
                raise MediaStreamError
            try:
                picture = await loop.run_in_executor(self._executor, self._session.get, 0.2)
            except Exception:
                LOG.exception("a session failed")
                raise MediaStreamError from None
        milliseconds = round(1000 * picture.time)
        frame = to_frame(picture.image)
        frame.pts, frame.time_base = milliseconds * CLOCK // 1000, Fraction(1, CLOCK)
        self._shown(milliseconds)
        return frame


class Peer:
    """One page that is connected.

    Args:
        session: its own; closed with it.
        executor: where its pictures are waited for; a thread for each session.
        limits: of messages and silence.
        local: whether media stay on this machine.
        ended: called once, when the page is gone.
    """

    def __init__(
        self, session: Session, executor: Executor, limits: Limits, local: bool, ended: Callable[[], object]
    ) -> None:
        self.session = session
        self._executor, self._limits, self._local, self._ended = executor, limits, local, ended
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._controls = Controls()
        self._channels: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard = monotonic()
        self._fault = ""  # what was wrong with a message; told with the next figures
        self._closed = False

    async def answer(self, offer: str) -> str:
        """The answer (SDP) to a page's offer.

        Raises:
            Refused: no offer of a video and a data channel.
        """
        connection = self._connection
        connection.on("track", self._receive)
        connection.on("datachannel", self._open)
        connection.on("connectionstatechange", self._check_state)
        try:
            if "a=fingerprint:" not in offer or "a=ice-ufrag:" not in offer:
                raise ValueError("nothing to know the page by")
            await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            kinds = sorted(each.kind for each in connection.getTransceivers())
            if kinds != ["video"] or connection.sctp is None:
                raise ValueError(f"media {kinds}")
            with on_loopback(self._local):
                await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:  # damaged descriptions make the parser raise nearly anything
            LOG.info("an offer was refused: %r", error)
            await self.close()
            raise Refused(400, "expected an offer (SDP) of one video and a data channel") from None
        self._start(self._watch())
        return connection.localDescription.sdp

    async def close(self) -> None:
        """End the connection, the tasks and the session. Once is enough; more often does no harm."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        await self._connection.close()
        await asyncio.to_thread(self.session.close)
        await asyncio.to_thread(give_back)
        self._ended()

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _receive(self, track: MediaStreamTrack) -> None:
        self._connection.addTrack(Pictures(self.session, self._executor, self._send_time))
        self._start(self._push(track))

    async def _push(self, track: MediaStreamTrack) -> None:
        """Hand the camera's frames over until they end."""
        decoded = Decoded()
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.VideoFrame)
                if frame.width * frame.height > LARGEST_FRAME:
                    break
                picture = decoded.picture(frame)
                milliseconds = read_time(picture)
                if milliseconds is None:
                    milliseconds = round(1000 * monotonic()) % PERIOD
                self._heard = monotonic()
                self.session.push(picture, milliseconds / 1000)
        except MediaStreamError:
            pass
        self._start(self.close())

    def _open(self, channel: Any) -> None:
        """A data channel: "control" takes messages and gives figures, "times" gives times of pictures."""
        if channel.label in ("control", "times"):
            self._channels[channel.label] = channel
        if channel.label == "control":
            channel.on("message", self._control)
            channel.on("close", lambda: self._start(self.close()))

    def _control(self, message: object) -> None:
        self._heard = monotonic()
        try:
            self._controls.apply(self.session, message)
        except ValueError as error:
            self._fault = str(error)

    def _send_time(self, milliseconds: int) -> None:
        self._send("times", str(milliseconds))

    def _send(self, label: str, text: str) -> None:
        channel = self._channels.get(label)
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount < BUFFERED:
            channel.send(text)

    async def _watch(self) -> None:
        """Send figures, until the page is silent for too long."""
        while monotonic() - self._heard < self._limits.pause_seconds:
            await asyncio.sleep(REPORT_SECONDS)
            report = self.session.report()
            figures: dict[str, Any] = {
                "pushed": report.pushed,
                "shown": report.shown,
                "dropped": report.dropped + report.unseen + report.failed,
                "seen": report.seen,
                "fps": round(report.fps, 1),
                "kbps": round(report.kbps, 2),
                "relative": self.session.options.relative,
                "openness": self.session.openness is not None,
            }
            if self._fault:
                figures["fault"], self._fault = self._fault, ""
            self._send("control", json.dumps(figures))
        LOG.info("a page was silent")
        self._start(self.close())

    def _check_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._start(self.close())
