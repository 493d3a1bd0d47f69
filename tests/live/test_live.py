# SPDX-License-Identifier: Apache-2.0
"""`fv2v live`: a film as the camera, a file, a virtual camera, keys."""

import sys
import threading
from itertools import cycle
from types import ModuleType
from typing import Any, ClassVar

import clips
import cv2
import numpy as np
import pytest
from tiny import TINY_VOX, lively, pictures

from fv2v import Reenactor, View
from fv2v.io.image import write_image
from fv2v.live import play, screen
from fv2v.live.camera import camera_frames
from fv2v.live.session import Session

NO_WINDOW = "this OpenCV was built without any"


@pytest.fixture(scope="module")
def reenactor() -> Reenactor:
    return lively(Reenactor(TINY_VOX, weights="random"))


@pytest.fixture(scope="module")
def files(tmp_path_factory, reenactor) -> Any:
    folder = tmp_path_factory.mktemp("live")
    clips.write_clip(folder / "driving.mp4", clips.moving_picture(clips.portrait(), 20, size=64))
    for name, picture in zip("ab", pictures(2, seed=3), strict=True):
        write_image(folder / f"{name}.png", np.asarray(picture))
    reenactor.save(folder / "tiny.safetensors")
    return folder


class Device:
    """What pyvirtualcam's camera does, and what it was given."""

    made: ClassVar["list[Device]"] = []

    def __init__(self, width: int, height: int, fps: float) -> None:
        self.size, self.fps, self.frames, self.closed = (width, height), fps, [], False
        Device.made.append(self)

    def send(self, frame: np.ndarray) -> None:
        assert frame.shape == (*self.size[::-1], 3)
        assert frame.dtype == np.uint8
        self.frames.append(frame)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def virtual_camera(monkeypatch) -> type[Device]:
    module = ModuleType("pyvirtualcam")
    module.Camera = Device
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    monkeypatch.setattr(Device, "made", [])
    return Device


def test_a_film_as_camera_a_film_out(fv2v, files, tmp_path, virtual_camera):
    """The command, as somebody without a display runs it; the virtual camera sees the same pictures."""
    import fv2v as package

    code, out, err = fv2v(
        *("live", files / "a.png", files / "b.png", "--camera", files / "driving.mp4", "--no-crop"),
        *("-o", tmp_path / "out.mp4", "--virtual", "-w", files / "tiny.safetensors"),
    )
    assert code == 0, err
    assert "no window is shown: " in err
    assert "20 frames pushed" in out
    (device,) = virtual_camera.made
    assert device.closed
    assert device.size == (32, 32)
    assert 1 < len(device.frames) <= 20  # the first and the last at least, however slow the networks are
    film = list(package.read_video(tmp_path / "out.mp4"))
    assert film[0].shape == (32, 32, 3)
    assert np.abs(film[-1].astype(float) - device.frames[-1]).mean() < 8
    assert len(np.unique(np.stack(device.frames), axis=0)) > 1, "nothing moved"


def test_without_a_place_to_show_it(fv2v, files, monkeypatch):
    monkeypatch.setattr(play, "no_window", lambda: NO_WINDOW)
    code, _, err = fv2v("live", files / "a.png", "--camera", files / "driving.mp4", "-p", "starter")
    assert code == 2
    assert err == f"fv2v: no window can be shown: {NO_WINDOW}; write a film with -o, or give --virtual\n"


def test_the_headless_opencv_is_named():
    if "headless" in cv2.__file__ or screen.no_window():
        assert screen.no_window() in (
            "this OpenCV was built without any (opencv-python has them, opencv-python-headless has not)",
            "there is no display",
        )


def test_pyvirtualcam_is_not_ours(fv2v, files, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    code, _, err = fv2v("live", files / "a.png", "--virtual", "-p", "starter", "-o", tmp_path / "o.mp4")
    assert code == 2
    assert "needs pyvirtualcam, which is no part of fv2v (its licence is GPL-2)" in err


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ("nothing.mp4", "nothing.mp4: no such file"),
        ("97", "camera 97: there is none, or another program uses it"),
    ],
)
def test_cameras_that_are_not_there(fv2v, files, tmp_path, camera, message):
    code, _, err = fv2v(
        *("live", files / "a.png", "--camera", camera, "--no-crop", "-o", tmp_path / "o.mp4"),
        *("-w", files / "tiny.safetensors"),
    )
    assert code == 2
    assert message in err
    assert not (tmp_path / "o.mp4").exists()


def test_keys(reenactor, files):
    with Session(reenactor, files / "a.png", crop=False, relative=True) as session:
        others = cycle([files / "b.png", files / "a.png"])
        first = session.portrait.copy()
        for key in "lllik?":
            play.press(session, key, others)
        assert session.view == View(pitch=0.0, yaw=15.0, roll=0.0)
        for _ in range(30):
            play.press(session, "u", others)
        assert session.view.roll == -90.0
        play.press(session, "0", others)
        assert session.view is None
        play.press(session, "n", others)
        assert not np.array_equal(session.portrait, first)
        play.press(session, "n", others)
        assert np.array_equal(session.portrait, first)
        motions = [reenactor.extract(picture) for picture in pictures(2, seed=1)]
        session.change(steady=None)
        session.push(motions[0])
        before = session.get().image
        session.push(motions[1])
        assert not np.array_equal(session.get().image, before)
        play.press(session, "a", others)
        session.push(motions[1])
        assert np.abs(session.get().image.astype(int) - before).max() <= 1, "the frame is no new anchor"


def test_a_film_keeps_its_own_pace(files):
    stop = threading.Event()
    taken = [time for _, time in camera_frames(str(files / "driving.mp4"), stop)]
    assert len(taken) == 20
    assert np.allclose(np.diff(taken), 0.04, atol=1e-3)
    again = camera_frames(str(files / "driving.mp4"), stop, again=True)
    for number, _ in enumerate(again):
        if number == 24:
            stop.set()
        assert number < 26
