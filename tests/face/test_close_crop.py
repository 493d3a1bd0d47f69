# SPDX-License-Identifier: Apache-2.0
"""PerformRecast's crops: closer than LivePortrait's, and a driver's turns with its face."""

import math

import clips
import numpy as np
import pytest
from release_weights import write_release
from tiny import TINY_PERFORMRECAST

from fv2v import CropChoice
from fv2v.face.crop import box_around
from fv2v.face.cropping import Framing
from fv2v.face.detectors.given import GivenFaces
from fv2v.face.fixed import UprightCrop
from fv2v.face.landmarks import crop_square, square_around, transform
from fv2v.face.portrait import crop_portrait
from fv2v.pipelines.driving import DrivingVideo
from fv2v.pipelines.faces import FaceFinder
from fv2v.pipelines.model import ModelChoice
from fv2v.presets import PERFORMRECAST

FIVE = np.array([[100.0, 100], [140, 100], [120, 120], [105, 145], [135, 145]])
CLOSE = CropChoice(close=True)


def turned(degrees: float, moved: float = 0.0) -> np.ndarray:
    """FIVE, turned clockwise about its nose."""
    a, b = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (FIVE - 120) @ np.array([[a, b], [-b, a]]) + 120 + moved


def noise(frames: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, 240, 240, 3), dtype=np.uint8)


def test_source_and_driver_are_cut_alike():
    source, driver = (CLOSE.framing(drives) for drives in (False, True))
    assert source.by_landmarks == driver.by_landmarks == (1.5, -0.125)
    assert source.rotate
    assert driver.rotate
    usual = CropChoice().framing(True)
    assert (usual.by_landmarks, usual.by_box, usual.rotate) == ((2.2, -0.1), (None, None), False)
    chosen = CropChoice(scale=(None, 2.0), shift=(0.1, None), close=True)
    assert chosen.framing(False).by_landmarks == (1.5, 0.1)
    assert chosen.framing(True).by_landmarks == (2.0, -0.125)


def test_boxes_are_as_much_closer():
    """A detector's box has no landmarks: its square shrinks as a square around landmarks does."""
    picture = clips.portrait()
    wide, close = (crop_portrait(picture, crop) for crop in (True, CLOSE))
    assert close.crop.side / (1.9 * wide.face.side) == pytest.approx(1.5 / 2.3, rel=0.01)
    assert close.crop == box_around(close.face, picture.shape[:2], 1.9 * 1.5 / 2.3)


def test_a_driver_stands_upright_in_every_frame():
    frames = noise(4)
    marks = [turned(0), turned(20), np.full((5, 2), np.nan), turned(-35, moved=9)]
    framing = CLOSE.framing(True)
    cropper = UprightCrop(frames, GivenFaces(marks), framing, 64)
    seen, crops = [], []
    for crop in cropper:
        crops.append(crop)
        seen.append(cropper.visible)
    assert seen == [True, True, False, True]
    for crop, frame, known in zip(crops, frames, (marks[0], marks[1], marks[1], marks[3]), strict=True):
        square = square_around(known, 1.5, -0.125)
        assert np.array_equal(crop, crop_square(frame, square, 64))
        eyes = transform(known, square.to_crop(64))[:2]
        assert eyes[0, 1] == pytest.approx(eyes[1, 1], abs=1e-3), "level"
    still = Framing(True, cut=True, scale=None, shift=None, rotate=False, max_side=None, close=True)
    level = next(iter(UprightCrop(frames[1:2], GivenFaces(turned(20)), still, 64)))
    assert not np.array_equal(level, crops[1])


def test_a_film_that_drives_is_read_so(tmp_path):
    path = clips.write_clip(tmp_path / "driving.mp4", noise(3))
    marks = np.stack([turned(0), turned(15), turned(30)])
    video = DrivingVideo(path, CLOSE, GivenFaces(marks))
    frames = list(DrivingVideo(path, "none", 1).reader)
    crops = list(video.crops(PERFORMRECAST))
    for crop, frame, known in zip(crops, frames, marks, strict=True):
        assert np.array_equal(crop, crop_square(frame, square_around(known, 1.5, -0.125), 256))
    assert np.array_equal(video.first_crop(PERFORMRECAST), crops[video.first.number])


def test_the_weights_ask_for_it(tmp_path):
    from fv2v import Reenactor

    Reenactor(TINY_PERFORMRECAST, weights="random").save(tmp_path / "ours.safetensors")
    for weights in (None, "random", tmp_path / "ours.safetensors"):  # of no release
        assert not FaceFinder(ModelChoice(None, weights, None, "float32"), True).crop.close


@pytest.mark.slow
def test_its_files_ask_for_it(tmp_path):
    files = write_release("performrecast", tmp_path)
    for weights in (tmp_path, files):
        finder = FaceFinder(ModelChoice(None, weights, None, "float32"), CropChoice(scale=1.7))
        assert finder.crop == CropChoice(scale=1.7, close=True)
        assert finder.choose(1).by_points
        assert finder.choose("face.npy") == "face.npy"
        assert finder.notes == ()
