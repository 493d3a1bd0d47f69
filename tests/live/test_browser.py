# SPDX-License-Identifier: Apache-2.0
"""The page in a real Chromium: it shows what a Reenactor makes, says what it lost, and comes back."""

import os
import signal
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
from browser import chromium, grabbed, seen_by_camera, served, write_camera
from waiting import PATIENCE, wait_until

import fv2v
from fv2v.live import Session
from fv2v.live.timecode import paint_time
from fv2v.pipelines.demo import drawn_portrait

pytestmark = pytest.mark.slow

CLOSE = 25.0  # dB: of pictures that went through two encoders
TURNED = 25  # degrees
POSES = [seen_by_camera(-12), seen_by_camera(12, jaw=0.5)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    camera = write_camera(tmp_path_factory.mktemp("camera") / "camera.y4m", POSES, 2.0)
    with chromium(camera) as browser:
        yield browser


@pytest.fixture(scope="module")
def address():
    with served() as (address, _):
        yield address


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1000, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.extend([request.url] * (not is_own(request.url, address))))
    page.goto(address)
    yield page
    context.close()
    assert faults == []


def is_own(url: str, address: str) -> bool:
    return url.startswith((address, f"blob:{address[: address.index('/', 8)]}"))


def psnr(picture: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(picture.astype(float) - other).mean()))


def expected(yaw: float) -> list[list[np.ndarray]]:
    """What the starter makes of the poses, absolutely, in the square of the one that came first."""
    reenactor, portrait, view = fv2v.Reenactor("starter"), drawn_portrait(256), fv2v.View(yaw=yaw)
    made = []
    for first in (0, 1):
        shown = {}
        with Session(reenactor, portrait, crop=False, relative=False, view=view) as session:
            for second, pose in enumerate((first, first, 1 - first, 1 - first, first)):
                picture = POSES[pose].copy()
                paint_time(picture, 1000 * second)
                session.push(picture, second)
                got = session.get()
                assert got is not None
                assert got.seen
                shown[pose] = got.image
        made.append([shown[0], shown[1]])
    return made


def says(page: Any, text: str) -> None:
    """Wait until the page's line begins so."""
    page.wait_for_function("text => document.getElementById('status').textContent.startsWith(text)", arg=text)


def nearest(page: Any, makings: list[list[np.ndarray]]) -> float:
    """How near the page's pictures come to those of one of `makings`: the worst of its poses, dB."""
    found = np.zeros((len(makings), len(makings[0])))
    end = monotonic() + PATIENCE
    while monotonic() < end:
        shown = grabbed(page, "#moved")
        found = np.maximum(found, [[psnr(shown, each) for each in making] for making in makings])
        if found.min(axis=1).max() >= CLOSE:
            break
        page.wait_for_timeout(200)
    return float(found.min(axis=1).max())


def slide(page: Any, name: str, value: float) -> None:
    page.eval_on_selector(
        f"input[name={name}]",
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
        value,
    )


def counted(page: Any) -> int:
    """Frames that the server got."""
    return int(page.inner_text("#dropped").partition(" of ")[2])


def test_live(page, tmp_path):
    page.click("#start")
    says(page, "Live.")
    page.check("input[name=relative][value=false]")
    assert page.is_disabled("#anchor")
    straight, turned = expected(0), expected(TURNED)
    for a, b in zip(straight, turned, strict=True):  # what is close is not what else might be shown
        assert max(psnr(a[0], a[1]), psnr(b[0], b[1]), psnr(a[0], b[0]), psnr(a[1], b[1])) < CLOSE
    assert nearest(page, straight) >= CLOSE  # pixels change as the camera's do
    slide(page, "yaw", TURNED)
    assert nearest(page, turned) >= CLOSE
    before = counted(page)
    page.wait_for_function("() => document.getElementById('p95').textContent.endsWith(' ms')")
    wait_until(lambda: counted(page) > before, "more frames")
    assert 1 < int(page.inner_text("#p50").split()[0]) <= int(page.inner_text("#p95").split()[0]) < 10_000
    assert float(page.inner_text("#fps").split()[0]) > 0
    assert float(page.inner_text("#kbps").split()[0]) > 0
    assert page.inner_text("#face") == "seen"

    page.focus("#stage")  # the keyboard turns, too
    page.keyboard.press("ArrowRight")
    assert page.input_value("input[name=yaw]") == str(TURNED + 3)
    page.keyboard.press("0")
    assert page.input_value("input[name=yaw]") == "0"
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 3 * box["width"] / 4, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert 15 <= int(page.input_value("input[name=yaw]")) <= 30
    screenshots(page, tmp_path, "live")

    end = "each => { each.stop(); each.dispatchEvent(new Event('ended')); }"
    page.eval_on_selector("#own", f"own => own.srcObject.getTracks().forEach({end})")
    says(page, "The camera is lost")
    says(page, "Live.")
    page.click("#start")
    assert page.inner_text("#status") == "Stopped."


def screenshots(page: Any, folder: Path, name: str) -> None:
    """In both themes, wide and narrow; nothing is wider than the page. Kept in FV2V_SCREENSHOTS."""
    folder = Path(os.environ.get("FV2V_SCREENSHOTS", folder))
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in (1000, 360):
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=folder / f"{name}-{theme}-{width}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1000, "height": 900})


def test_films(page, tmp_path):
    fv2v.write_video(tmp_path / "driving.mp4", [POSES[i % 2] for i in range(8)], fps=8)
    fv2v.write_image(tmp_path / "portrait.png", POSES[0])
    page.set_input_files("#portrait-file", tmp_path / "portrait.png")
    page.wait_for_function(
        "() => document.getElementById('status').textContent === 'This is the portrait now.'"
    )
    page.set_input_files("#portrait-file", tmp_path / "driving.mp4")
    says(page, "portrait: not a picture")
    page.click("#tab-film")
    page.set_input_files("#driving", tmp_path / "driving.mp4")
    page.click("#render")
    page.wait_for_selector("#films .download:visible")
    with page.expect_download() as download:
        page.click("#films .download")
    download.value.save_as(tmp_path / "film.mp4")
    frames = list(fv2v.read_video(tmp_path / "film.mp4"))
    assert len(frames) == 8
    assert frames[0].shape == (128, 128, 3)
    page.click("#films .both")
    played = "each => each.videoWidth && each.currentTime > 0"
    page.wait_for_function(f"() => [...document.querySelectorAll('#films video')].every({played})")
    screenshots(page, tmp_path, "film")
    (tmp_path / "bad.mp4").write_bytes(b"no video at all" * 100)
    page.set_input_files("#driving", tmp_path / "bad.mp4")
    page.click("#render")
    page.wait_for_function(
        "() => document.querySelector('#films .text').textContent.includes('driving.mp4: ')"
    )
    assert "/" not in page.inner_text("#films li:first-child .text")


def test_what_is_lost_is_told(browser):
    with served() as (address, process):
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(address)
        page.click("#start")
        says(page, "Live.")
        process.send_signal(signal.SIGSTOP)
        says(page, "The connection is lost")
        process.send_signal(signal.SIGCONT)
        says(page, "Live.")  # it comes back by itself
        process.terminate()
        says(page, "The server does not answer")
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
        page.close()
