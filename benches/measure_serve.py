# SPDX-License-Identifier: Apache-2.0
"""Prints what `fv2v serve` does with the starter: speed, its own share of the time, and whether it grows.

`python benches/measure_serve.py [--seconds 30] [--minutes 1] [--opened 5] [--only speed|share|soak]`, with a
Chromium on this machine, whose camera shows a drawn head that moves, 640 x 480 at 25 frames a second.

    speed   the page's own figures after so many seconds: frames shown, latency from capture to display
    share   processor time of the server a frame, sent and shown at 480 x 480, the networks left out
    soak    memory and threads of the server while a page is live for so many minutes, and while pages are
            opened and closed so many times
"""

import argparse
import asyncio
import importlib
import multiprocessing
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

os.environ["PYTHONSAFEPATH"] = "1"  # processes started from a clone run what is installed, not its sources
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from browser import chromium, served, write_camera
from pages import Caller, Client, serving
from shipped_pictures import DRIVER, FPS, acting, draw

import fv2v
from fv2v.engine.stages import Pending

CLIP = 50  # frames of the camera's film
WARM = 6  # pages before memory and threads are counted: pools of threads are full then


def frames(count: int = CLIP) -> list[np.ndarray]:
    """(480, 640, 3) uint8: a drawn head that moves, before a wall."""
    made = []
    for face in draw(DRIVER, *acting(torch.arange(count) / FPS / 4.5)):
        frame = np.full((480, 640, 3), (90, 110, 120), np.uint8)
        frame[48:432, 128:512] = cv2.resize(face, (384, 384), interpolation=cv2.INTER_CUBIC)
        made.append(frame)
    return made


def figures(page: Any) -> dict[str, str]:
    return {name: page.inner_text(f"#{name}") for name in ("fps", "p50", "p95", "dropped", "kbps", "face")}


def begin(browser: Any, address: str) -> Any:
    """A page that is live."""
    page = browser.new_page()
    page.goto(address)
    page.click("#start")
    page.wait_for_function("() => document.getElementById('status').textContent === 'Live.'", timeout=60_000)
    return page


def speed(browser: Any, seconds: float) -> None:
    with served() as (address, _):
        page = begin(browser, address)
        page.wait_for_timeout(1000 * seconds)
        print("speed:", ", ".join(f"{name} {text}" for name, text in figures(page).items()))
        page.close()


def resident(process: int) -> tuple[float, int]:
    """MB of its own in memory, and threads. Pages of files do not count: the system takes and brings them."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1000, int(status["Threads"])


def soak(browser: Any, minutes: float, opened: int) -> None:
    with served() as (address, process):
        for _ in range(WARM):
            begin(browser, address).close()
        time.sleep(15)
        first, threads = resident(process.pid)
        page, sizes = begin(browser, address), []
        for _ in range(max(2, round(6 * minutes))):
            page.wait_for_timeout(10_000)
            sizes.append(resident(process.pid)[0])
        page.close()
        early, late = (
            float(np.median(part)) for part in (sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :])
        )
        print(
            f"soak: live for {minutes:g} minutes: {early:.0f} MB, then {late:.0f} ({late / early - 1:+.1%})"
        )
        for _ in range(opened):
            begin(browser, address).close()
        time.sleep(15)  # silent sessions are closed
        last, left = resident(process.pid)
        print(
            f"soak: opened {opened} times: {first:.0f} MB before, {last:.0f} after ({last / first - 1:+.1%})"
        )
        print(f"soak: {threads} threads before, {left} after")


def call(port: int, secret: str, seconds: float, picture: np.ndarray, counted: Any) -> None:
    """In a process of its own: a page's end of a session for so many seconds."""

    async def run() -> None:
        import aiohttp

        async with aiohttp.ClientSession() as http:
            caller = Caller(picture)
            await caller.call(Client(http, port, secret))
            while not caller.shown:
                await asyncio.sleep(0.01)
            counted.put(len(caller.shown))
            await asyncio.sleep(seconds)
            counted.put(len(caller.shown))
            await caller.connection.close()

    asyncio.run(run())


def cache_by_shape(detect: Any) -> Any:
    """Gives what was found in the first picture of that size."""
    found: dict[Any, Any] = {}

    def detected(picture: np.ndarray) -> Any:
        if picture.shape not in found:
            found[picture.shape] = detect(picture)
        return found[picture.shape]

    return detected


def share(seconds: float) -> None:
    """The networks are left out, the detector's too: every frame has the first one's face and its motion, and
    one picture is always shown."""
    reenactor = fv2v.Reenactor("starter")
    picture = np.ascontiguousarray(frames(1)[0][:, 80:560])
    runner = reenactor.runner
    motion = reenactor.extract(picture[:128, :128])
    runner.extract = lambda batch: motion
    detector = importlib.import_module("yuface.yuface")
    detector.detect = cache_by_shape(detector.detect)
    runner.begin = lambda inputs, edits=(): Pending(torch.from_numpy(picture[None]))

    async def run() -> tuple[int, float]:
        counted: Any = multiprocessing.get_context("spawn").Queue()
        async with serving(reenactor) as client:
            arguments = (client.port, client.secret, seconds, picture, counted)
            caller = multiprocessing.get_context("spawn").Process(target=call, args=arguments)
            caller.start()
            shown = await asyncio.to_thread(counted.get)
            began = time.process_time()
            shown = await asyncio.to_thread(counted.get) - shown
            spent = time.process_time() - began
            await asyncio.to_thread(caller.join)
            return shown, spent

    shown, spent = asyncio.run(run())
    print(f"share: {1000 * spent / shown:.1f} ms of processor time a frame, {shown / seconds:.1f} a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--opened", type=int, default=5)
    parser.add_argument("--only", choices=("speed", "share", "soak"))
    asked = parser.parse_args()
    if asked.only in (None, "share"):
        share(asked.seconds)
    if asked.only == "share":
        return
    with TemporaryDirectory() as folder:
        camera = write_camera(Path(folder) / "camera.y4m", frames(), 1 / FPS)
        with chromium(camera) as browser:
            if asked.only in (None, "speed"):
                speed(browser, asked.seconds)
            if asked.only in (None, "soak"):
                soak(browser, asked.minutes, asked.opened)


if __name__ == "__main__":
    main()
