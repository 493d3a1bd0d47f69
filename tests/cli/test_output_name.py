# SPDX-License-Identifier: Apache-2.0
"""`fv2v reenact` without `--output`: a film called as source and driver are; First Order Motion's command."""

import shutil
import sys
from pathlib import Path
from pipes import Typed

import clips
import numpy as np
import pytest
from refusals import assert_refused
from release_weights import write_release
from tiny import TINY_FOMM, TINY_VOX

from fv2v.io.image import write_image
from fv2v.io.video import read_video
from fv2v.reenactor import Reenactor

HABIT = ("--relative", "--adapt-scale", "--anchor", "best")


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """The working folder, with what lies beside each other there."""
    monkeypatch.chdir(tmp_path)
    images = clips.moving_picture(clips.portrait(), 3)
    write_image("portrait.png", images[0])
    clips.write_clip("driving.mp4", images)
    return tmp_path


@pytest.fixture
def tiny(files) -> Path:
    Reenactor(TINY_VOX, weights="random").save("tiny.safetensors")
    return files


def test_the_name_is_of_both(fv2v, tiny):
    typed = ("reenact", "portrait.png", "driving.mp4", "-w", "tiny.safetensors", "--no-crop")
    code, out, err = fv2v(*typed, "-n", 2)
    assert (code, err) == (0, "fv2v: no --output: writes portrait--driving.mp4\n")
    assert out.startswith("portrait--driving.mp4: 2 frames in ")
    there = (tiny / "portrait--driving.mp4").read_bytes()
    code, out, err = fv2v(*typed)
    assert code == 2
    assert (
        "portrait--driving.mp4: is there already; choose another name, or replace it with --overwrite" in err
    )
    assert (tiny / "portrait--driving.mp4").read_bytes() == there
    assert fv2v(*typed, "--overwrite")[0] == 0
    assert sum(1 for _ in read_video("portrait--driving.mp4")) == 3


@pytest.mark.parametrize(
    ("driving", "name"),
    [
        ("smile.png", "portrait--smile.png"),
        ("frames/%04d.png", "portrait--frames.mp4"),
        ("frames", "portrait--frames.mp4"),
        ("../{0}/driving.mp4", "portrait--driving.mp4"),
        ("-", "portrait--stdin.mp4"),
    ],
)
def test_whatever_drives(fv2v, tiny, monkeypatch, driving, name):
    Path("frames").mkdir()
    for number in range(2):
        shutil.copy("portrait.png", f"frames/{number:04d}.png")
    shutil.copy("portrait.png", "smile.png")
    monkeypatch.setattr(sys, "stdin", Typed(Path("driving.mp4").read_bytes()))
    code, _, err = fv2v(
        "reenact", "portrait.png", driving.format(tiny.name), "-w", "tiny.safetensors", "--no-crop"
    )
    assert code == 0, err
    assert Path(name).exists()


def test_a_driver_that_is_not_there(fv2v, tiny):
    assert_refused(fv2v("reenact", "portrait.png", "none.mp4", "-w", "tiny.safetensors"), "none.mp4")
    assert not list(tiny.glob("*--*"))


@pytest.mark.parametrize("weights", [pytest.param("fomm", marks=pytest.mark.slow), "tiny"])
def test_what_users_of_first_order_motion_type(fv2v, files, weights):
    if weights == "tiny":
        Reenactor(TINY_FOMM, weights="random").save("tiny.safetensors")
        Path("tiny.safetensors").rename("vox-cpk.pth.tar")  # what it is, its contents tell
    else:
        [file] = write_release("fomm", files)
        file.rename("vox-cpk.pth.tar")
    code, out, err = fv2v("reenact", "portrait.png", "driving.mp4", "-w", "vox-cpk.pth.tar", *HABIT)
    assert (code, err) == (0, "fv2v: no --output: writes portrait--driving.mp4\n")
    assert out.startswith("portrait--driving.mp4: 3 frames in ")
    made = np.stack(list(read_video("portrait--driving.mp4")))
    assert len(made) == 3
    assert made.std(axis=(1, 2)).min() > 1, "a picture has more than one grey"
