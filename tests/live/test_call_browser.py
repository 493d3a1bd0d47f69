# SPDX-License-Identifier: Apache-2.0
"""A side's page in a real Chromium, whose camera shows a drawn head; the other side runs without a page."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import chromium, grabbed, seen_by_camera, write_camera
from waiting import PATIENCE, wait_until

from fv2v.io.video import write_video

pytestmark = pytest.mark.slow


def start(*words: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "fv2v", "call", "--preset", "starter", "--absolute", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_page_of_a_call(tmp_path):
    """The camera moves this side's portrait there; the other's is here, turned by dragging; figures move."""
    poses = [seen_by_camera(-12), seen_by_camera(12, jaw=0.5)]
    camera = write_camera(tmp_path / "camera.y4m", poses, 2.0)
    write_video(tmp_path / "driving.mp4", [pose for pose in poses for _ in range(25)], fps=25)
    waiting = start("--listen", "--page")
    said = [waiting.stdout.readline().strip(), waiting.stdout.readline().strip()]
    link = next(line for line in said if line.startswith("fv2v://"))
    address = next(line for line in said if line.startswith("your page: ")).removeprefix("your page: ")
    log = tmp_path / "log.jsonl"
    calling = start(link, "--driving", tmp_path / "driving.mp4", "--sound", "tone", "--log", log)
    try:
        with chromium(camera) as browser:
            page = browser.new_context(viewport={"width": 1000, "height": 800}).new_page()
            page.set_default_timeout(1000 * PATIENCE)
            faults: list[str] = []
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.goto(address)
            page.click("#start")
            page.wait_for_function("() => document.getElementById('status').textContent === 'In the call.'")
            page.wait_for_function("() => parseFloat(document.getElementById('fps').textContent) > 0")
            assert re.fullmatch(r"\d+, \d+ ms", page.text_content("#latency"))
            assert "out" in page.text_content("#rates")
            assert grabbed(page, "#moved").std() > 10
            page.screenshot(path=shot(tmp_path, "light"), full_page=True)
            page.focus("#stage")
            for _ in range(5):
                page.keyboard.press("ArrowRight")
            assert page.text_content("#view") == "15°, 0°"
            box = page.locator("#stage").bounding_box()
            page.mouse.move(box["x"] + 100, box["y"] + 100)
            page.mouse.down()
            page.mouse.move(box["x"] + 140, box["y"] + 100, steps=4)
            page.mouse.up()
            assert int(page.text_content("#view").split("°")[0]) > 15
            page.set_viewport_size({"width": 360, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            page.emulate_media(color_scheme="dark")
            page.screenshot(path=shot(tmp_path, "dark-360"), full_page=True)
            assert faults == []

            def shown() -> float:
                """Pictures a second, all of them together, of the camera's motion on the other side."""
                lines = log.read_text().split("\n")[:-1]  # the last is being written
                return sum(json.loads(line).get("shown", 0) for line in lines)

            wait_until(shown, "what the camera moves on the other side")
            calling.terminate()
            page.wait_for_function("() => document.getElementById('there').textContent === 'not there'")
    finally:
        for process in (waiting, calling):
            process.terminate()
        for process in (waiting, calling):
            process.communicate(timeout=PATIENCE)
    assert waiting.returncode == 0


def shot(folder: Path, name: str) -> Path:
    return folder / f"call-{name}.png"
