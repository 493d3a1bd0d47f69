# SPDX-License-Identifier: Apache-2.0
"""A call from a camera or a film, without a page: what `fv2v call` runs."""

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from fv2v.face.crop import resized
from fv2v.face.portrait import crop_portrait
from fv2v.io.paths import PathLike, check_output
from fv2v.live.call.call import Call, CallOptions
from fv2v.live.call.link import Link
from fv2v.live.call.page import call_page
from fv2v.live.call.reader import MotionReader
from fv2v.live.call.sound import Microphone
from fv2v.live.camera import camera_frames
from fv2v.pipelines.demo import drawn_portrait
from fv2v.pipelines.faces import FaceFinder
from fv2v.pipelines.model import ModelChoice
from fv2v.pipelines.write import paths_given


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a call is: at a link, or here, where the other side is waited for."""

    link: Link | None = None  # None: here
    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one


def call(
    portrait: PathLike | None,
    place: Place,
    model: ModelChoice,
    options: CallOptions,
    *,
    driving: str | None = None,
    seconds: float | None = None,
    crop: bool = True,
    face: Any = 1,
    driving_face: Any = 1,
    steady: bool = True,
    page: Callable[[str], None] | None = None,
    tell: Callable[[str], None] = lambda line: None,
    show_link: Callable[[Link], None] = lambda link: None,
    show_lap: Callable[[dict[str, Any]], None] = lambda lap: None,
) -> str:
    """Take part in a call until it is over, or somebody interrupts. Returns why it is over, in a line.

    Args:
        portrait: a picture with this side's face; None: a drawn one.
        place: whom to call.
        model: as the other side has it.
        options: what is shown, heard and sent.
        driving: a camera's number, or a film that is shown over and over; None: the portrait does not move.
        seconds: hang up after so many; None: never.
        crop, face, driving_face: as `fv2v.reenact` takes them.
        steady: smooth this side's motion.
        page: called with the address of this side's page, whose camera and microphone are then sent; None:
            there is none.
        tell: called with a line for what happens.
        show_link: called with the link, once the other side may join.
        show_lap: called once a second with the log's line.

    Raises:
        FileNotFoundError: a file or a folder is absent.
        OSError: the address cannot be listened at.
        ValueError: what cannot be used, nobody who answers, or a side at fault; one line.
    """
    if seconds is not None and not seconds > 0:
        raise ValueError(f"expected more than 0 seconds of a call, got {seconds}")
    if page is not None and (driving is not None or options.sound is not None):
        raise ValueError("a page brings camera and microphone: expected it, or --driving and --sound")
    microphone = Microphone()
    if page is not None:
        options = replace(options, sound=microphone)
    model.check()
    if options.log is not None:
        check_output(options.log, (options.log.suffix.lower(),), paths_given(portrait))
    faces = FaceFinder(model, crop)
    chosen = faces.choose(face)
    cropped = None if portrait is None else crop_portrait(portrait, faces.crop, chosen).image
    reenactor = model.load()
    config = reenactor.config
    if cropped is None:
        cropped = drawn_portrait(config.image_size)
    picture = resized(cropped, config.image_size, config.resize)

    async def run() -> str:
        _cancel_when_terminated()
        async with Call(reenactor, picture, options, tell, show_lap) as side:
            work = (
                side.listen(place.host, place.port, show_link)
                if place.link is None
                else side.join(place.link)
            )
            if driving is None and page is None:
                return await _for(work, seconds)
            follows = crop or page is not None
            reader = MotionReader(reenactor, side.send, crop=follows, face=driving_face, steady=steady)
            if driving is not None:
                return await _for(_driven(work, driving, reader), seconds)
            try:
                async with call_page(side, reader, microphone) as address:
                    if page is not None:
                        page(address)
                    return await _for(work, seconds)
            finally:
                await asyncio.to_thread(reader.close)

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        return "hung up"


def _cancel_when_terminated() -> None:
    """SIGTERM cancels this task, as Ctrl-C does: the other side is told, and files are finished."""
    task = asyncio.current_task()
    if task is not None and threading.current_thread() is threading.main_thread():
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _for(work: Any, seconds: float | None) -> str:
    try:
        return str(await asyncio.wait_for(work, seconds))
    except asyncio.TimeoutError:
        return f"hung up after {seconds:g} s"


async def _driven(work: Any, driving: str, reader: MotionReader) -> str:
    """The call, while a thread reads the camera; what goes wrong there ends it."""
    stop = threading.Event()

    def read() -> None:
        for frame, taken in camera_frames(driving, stop, again=True):
            reader.push(frame, taken)

    talking = asyncio.ensure_future(work)
    reading = asyncio.ensure_future(asyncio.to_thread(read))
    try:
        await asyncio.wait({talking, reading}, return_when=asyncio.FIRST_COMPLETED)
        if not talking.done():
            reading.result()  # raises: a camera has no end
        return str(await talking)
    finally:
        stop.set()
        talking.cancel()
        await asyncio.gather(talking, reading, return_exceptions=True)
        await asyncio.to_thread(reader.close)
