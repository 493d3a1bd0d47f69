# SPDX-License-Identifier: Apache-2.0
"""A real Chromium, whose camera shows a drawn head, and the server that its page comes from."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fv2v.data.synthetic import Expression, Pose, SyntheticHeads, render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
SIZE = (240, 320)  # of the camera: rows and columns
HEADS = SyntheticHeads(size=192, identities=64, seed=500_000_024)


def require_chromium() -> str:
    """Its path. In CI the test fails where there is none; elsewhere it is skipped."""
    if CHROMIUM is None:
        why = "no Chromium: apt-get install chromium"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    return CHROMIUM


def seen_by_camera(yaw: float, jaw: float = 0.0, number: int = 5) -> np.ndarray:
    """(H, W, 3) uint8: a drawn head before a wall, turned by degrees, the mouth open from 0 to 1."""
    expression = Expression.neutral(1)
    expression.jaw[:] = jaw
    zero = torch.zeros(1)
    picture = render(HEADS.identity(number), expression, Pose.at(zero, zero + yaw, zero), HEADS.size)
    frame = np.full((*SIZE, 3), (90, 110, 120), np.uint8)
    top, left = (side - HEADS.size for side in SIZE)
    face = (255 * picture[0] + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    frame[top // 2 : top // 2 + HEADS.size, left // 2 : left // 2 + HEADS.size] = face
    return frame


def write_camera(path: Path, pictures: Sequence[np.ndarray], seconds: float, fps: int = 25) -> Path:
    """A .y4m that shows each picture for so long, over and over."""
    import cv2

    H, W = pictures[0].shape[:2]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{W} H{H} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for picture in pictures:
            planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes()
            for _ in range(round(seconds * fps)):
                file.write(b"FRAME\n" + planes)
    return path


@contextmanager
def served(*options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address that `fv2v serve` prints, and its process."""
    command = [sys.executable, "-m", "fv2v", "serve", "--preset", "starter", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


@contextmanager
def chromium(camera: Path | None = None) -> Iterator[Any]:
    """The browser, by playwright."""
    from playwright.sync_api import sync_playwright

    flags = [*FLAGS, *([f"--use-file-for-fake-video-capture={camera}"] if camera else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=flags)
        try:
            yield browser
        finally:
            browser.close()


GRAB = """video => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth; canvas.height = video.videoHeight;
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return [canvas.width, canvas.height, Array.from(data)];
}"""


def grabbed(page: Any, selector: str) -> np.ndarray:
    """(H, W, 3) uint8: what a video element of the page shows."""
    width, height, numbers = page.eval_on_selector(selector, GRAB)
    return np.array(numbers, np.uint8).reshape(height, width, 4)[..., :3]
