# SPDX-License-Identifier: Apache-2.0
"""No picture ships without a recipe: each is made from drawn heads, the starter and a painting."""

import subprocess

import cv2
import numpy as np
import pytest
from places import ROOT
from shipped_pictures import FRAMES, PICTURES, animation_frames, sha256

from fv2v import read_image

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".svg", ".mp4", ".mov", ".mkv", ".webm")
ANIMATION = "fv2v/starter/animation.webp"


def test_every_picture_has_a_recipe():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a checkout of git's")
    files = [file for file in listed.stdout.splitlines() if file.lower().endswith(SUFFIXES)]
    assert sorted(files) == sorted(PICTURES)


@pytest.mark.parametrize("file", PICTURES)
def test_it_is_the_recorded_one(file):
    assert sha256(ROOT / file) == PICTURES[file].sha256


@pytest.mark.parametrize("name", ["painting.jpg", pytest.param("demo.jpg", marks=pytest.mark.slow)])
def test_a_sheet_again(name, tmp_path):
    file = f"fv2v/starter/{name}"
    PICTURES[file].recipe(tmp_path / name)
    assert_same_picture(read_image(tmp_path / name), read_image(ROOT / file))


def test_a_frame_of_the_animation_again():
    assert (ROOT / ANIMATION).stat().st_size < 1_000_000
    _, animation = cv2.imreadanimation(str(ROOT / ANIMATION))
    assert len(animation.frames) == FRAMES
    assert animation.loop_count == 0, "it never ends"
    number = FRAMES // 3
    [frame] = animation_frames([number])
    assert_same_picture(frame, animation.frames[number][..., 2::-1])


def assert_same_picture(made: np.ndarray, kept: np.ndarray) -> None:
    """But for what lossy encoders and the order of sums change: at most 3 levels of 255 on average."""
    assert made.shape == kept.shape
    assert np.abs(made.astype(int) - kept).mean() < 3
