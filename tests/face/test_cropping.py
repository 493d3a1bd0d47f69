# SPDX-License-Identifier: Apache-2.0
"""Crops as the user wants them: whose, how large, where, and whether they turn with the face."""

import math

import clips
import cv2
import numpy as np
import parity
import pytest
from refusals import assert_refused
from tiny import TINY_VOX

from fv2v.cli.crop_options import CropOptions, with_whose
from fv2v.cli.rows import call_of, read_values
from fv2v.face.crop import Box, box_around, cut, middle_square
from fv2v.face.cropping import CropChoice
from fv2v.face.detectors.base import Face
from fv2v.face.landmarks import EYES_AND_LIP, Square
from fv2v.face.portrait import crop_portrait
from fv2v.io.timing import WHOLE
from fv2v.io.video import read_video
from fv2v.pipelines.driving import DrivingVideo
from fv2v.pipelines.extract import extract
from fv2v.pipelines.reenact import reenact
from fv2v.pipelines.source_film import SourceFilm
from fv2v.presets import LIVEPORTRAIT
from fv2v.reenactor import Reenactor

POINTS = parity.fake_landmarks(68).astype(np.float64)
BOX = [100, 60, 180, 160]
SCENE = parity.scene()


def releases_matrix(points: np.ndarray, scale: float, vy: float, rotate: bool, size: int = 512) -> np.ndarray:
    """(2, 3): LivePortrait's similarity from picture to crop, of the parameters of its command line."""
    eyes, mouth = EYES_AND_LIP[len(points)]
    eye, lip = points[list(eyes)].mean(axis=0), points[list(mouth)].mean(axis=0)
    uy = (lip - eye) / np.linalg.norm(lip - eye)
    ux = np.array([uy[1], -uy[0]])
    turned = (points - points.mean(axis=0)) @ np.stack([ux, uy], axis=1)
    low, high = turned.min(axis=0), turned.max(axis=0)
    side = scale * (high - low).max()
    middle = points.mean(axis=0) + (low + high) / 2 @ np.stack([ux, uy]) + vy * side * uy
    angle = math.copysign(math.acos(min(ux[0], 1.0)), ux[1]) if rotate else 0.0
    turn = size / side * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return np.concatenate([turn, (size / 2 - turn @ middle)[:, None]], axis=1)


@pytest.mark.parametrize("scale", [None, 1.6, (2.8, 1.5)])
@pytest.mark.parametrize("shift", [None, 0.05, (-0.2, -0.25)])
@pytest.mark.parametrize("rotate", [True, False])
def test_a_portraits_crop_has_the_releases_parameters(scale, shift, rotate):
    made = crop_portrait(SCENE, CropChoice("both", scale, shift, rotate), POINTS)
    first = [numbers[0] if isinstance(numbers, tuple) else numbers for numbers in (scale, shift)]
    wanted = releases_matrix(POINTS, first[0] or 2.3, -0.125 if first[1] is None else first[1], rotate)
    assert np.abs(made.crop.to_crop(512)[:2] - wanted).max() < 1e-9
    assert (made.image == cv2.warpAffine(SCENE, made.crop.to_crop(512)[:2], (512, 512))).all()
    pasted = made.with_face(made.image)
    assert pasted.shape == SCENE.shape


@pytest.mark.parametrize(("scale", "shift"), [((None, 3.0), None), (None, (None, 0.1)), ((1.0, 1.7), (0, 0))])
def test_a_drivers_crop_has_its_own(tmp_path, scale, shift):
    own = [(None, None) if numbers is None else numbers for numbers in (scale, shift)]
    wanted = releases_matrix(POINTS, own[0][1] or 2.2, -0.1 if own[1][1] is None else own[1][1], False)
    choice = CropChoice("both", scale, shift)
    picture = crop_portrait(SCENE, choice, POINTS, drives=True)
    assert np.abs(picture.crop.to_crop(512)[:2] - wanted).max() < 1e-9
    path = clips.write_clip(tmp_path / "driving.mp4", np.stack([SCENE] * 2))
    crops = list(DrivingVideo(path, choice, POINTS).crops(LIVEPORTRAIT))
    for frame, crop in zip(read_video(path), crops, strict=True):
        expected = cv2.warpAffine(frame, wanted, (512, 512))
        expected = cv2.resize(expected, (256, 256), interpolation=cv2.INTER_AREA)
        assert np.abs(crop.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("scale", "shift", "box"),
    [
        (1.5, None, Box(65, 35, 150)),
        (1.5, 0.0, Box(65, 35, 150)),
        (1.5, -0.5, Box(65, -40, 150)),
        (3.0, 0.1, Box(0, -10, 300)),
    ],
)
def test_a_detectors_box_has_scale_and_shift(scale, shift, box):
    assert box_around(Face(140, 110, 100), (400, 400), scale, shift) == box
    assert box_around(Face(140, 110, 100), (120, 120), scale, shift).side == box.side


def test_whose():
    """A side that is not cropped is its middle square."""
    square = middle_square(SCENE)
    for crop, cropped in (("both", (1, 1)), ("source", (1, 0)), ("driving", (0, 1)), ("none", (0, 0))):
        for drives in (False, True):
            made = crop_portrait(SCENE, crop, BOX if cropped[drives] else 1, drives=drives)
            assert (made.crop != square) == cropped[drives]
    assert CropChoice.of(True) == CropChoice("both")
    assert CropChoice.of(False) == CropChoice("none")


@pytest.mark.parametrize("face", [POINTS, BOX])
def test_a_source_is_reduced_first_and_given_faces_with_it(tmp_path, face):
    large = cv2.resize(SCENE, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    longest, given = max(SCENE.shape), np.multiply(face, 3.0)
    whole = crop_portrait(SCENE, face=face)
    made = crop_portrait(large, CropChoice(source_max_side=longest), given)
    assert made.picture.shape == SCENE.shape
    if isinstance(whole.crop, Square):
        assert made.crop.side == pytest.approx(whole.crop.side)
    else:
        assert made.crop == whole.crop
    assert np.abs(made.image.astype(int) - whole.image).mean() < 8  # of noise, enlarged and reduced
    assert crop_portrait(SCENE, CropChoice(source_max_side=longest + 1), face).picture is SCENE
    assert crop_portrait(large, CropChoice(source_max_side=longest), given, drives=True).picture is large
    clips.write_clip(tmp_path / "film.mp4", np.stack([large] * 2))
    choice = CropChoice(source_max_side=longest)
    film = SourceFilm(tmp_path / "film.mp4", choice, given, WHOLE, False, None)
    frames = list(film.frames())
    assert [frame.picture.shape for frame in frames] == [SCENE.shape] * 2
    assert frames[0].crop.side == pytest.approx(whole.crop.side, abs=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"whose": "both sides"}, "crop: expected source, driving, both or none, got 'both sides'"),
        ({"scale": 0.0}, "crop scale: expected above 0 to 20, got 0"),
        ({"scale": (2.0, math.nan)}, "crop scale: expected above 0 to 20, got nan"),
        ({"shift": -3.0}, "crop shift: expected at most 2 sides, got -3"),
        ({"whose": "driving", "scale": 2.0}, "for the source, expected it to be cropped; got 'driving'"),
        (
            {"whose": "source", "shift": (0.1, 0.1)},
            "for the driving, expected it to be cropped; got 'source'",
        ),
        ({"source_max_side": 10}, "source max side: expected 64 pixels or more, got 10"),
    ],
)
def test_what_cannot_be_wanted(given, message):
    with pytest.raises(ValueError, match=message):
        CropChoice(**given)


def test_words_that_stand_alone():
    """As they did when `--crop` was a switch."""
    words = ["a.png", "--crop", "b.mp4", "--no-crop", "--crop", "source", "--crop=none", "--", "--crop"]
    expected = "a.png --crop=both b.mp4 --crop=none --crop source --crop=none -- --crop"
    assert " ".join(with_whose(words)) == expected
    assert [*with_whose(["--crop"])] == ["--crop=both"]


def test_options_become_a_choice():
    options = CropOptions("source", "2.5", "-0.2", no_rotate=True)
    assert options.crops(source_max_side=1280) == CropChoice("source", 2.5, -0.2, False, 1280)
    assert CropOptions("both", "2.5,2").crops() == CropChoice(scale=(2.5, 2.0))
    assert CropOptions("both", "2.5", "0.1").crops(driver_alone=True) == CropChoice(
        "both", (None, 2.5), (None, 0.1)
    )
    for wrong in ("1,2,3", "", "a", "1;2"):
        with pytest.raises(ValueError, match=r"--crop-scale: expected one number, or two, as 2\.3,2\.2; got"):
            CropOptions("both", wrong).crops()


def test_a_batchs_rows_have_them(tmp_path):
    row = {"portrait": "p.png", "driving": "d.mp4", "weights": "random"}
    for value, whose in ((True, "both"), (False, "none"), ("false", "none"), ("driving", "driving")):
        call = call_of(read_values(row | {"crop": value}, tmp_path / "a.mp4").words)
        assert call.arguments["crop"] == CropChoice(whose)
    call = call_of(read_values(row | {"crop-scale": 2.5, "no_rotate": True}, tmp_path / "a.mp4").words)
    assert call.arguments["crop"] == CropChoice(scale=2.5, rotate=False)


def test_commands_take_them(fv2v, tmp_path, monkeypatch):
    """`reenact`, and `extract` with `render`, are what the functions make of the same choice."""
    monkeypatch.chdir(tmp_path)
    Reenactor(TINY_VOX, weights="random").save("vox.safetensors")
    clips.write_clip(tmp_path / "driving.mp4", clips.moving_picture(clips.portrait(), 3, size=192))
    known = ("-w", "vox.safetensors")
    wanted = CropChoice("both", (1.5, 1.7), (0.1, -0.1), source_max_side=256)
    options = (
        "--crop-scale",
        "1.5,1.7",
        "--crop-shift",
        "0.1,-0.1",
        "--source-max-side",
        "256",
        "--paste-back",
    )
    given = {"weights": "vox.safetensors", "paste_back": True}
    code, _, err = fv2v("reenact", clips.PORTRAIT, "driving.mp4", "-o", "typed", *options, *known)
    assert code == 0, err
    reenact(clips.PORTRAIT, "driving.mp4", "called", crop=wanted, **given)
    reenact(clips.PORTRAIT, "driving.mp4", "default", crop=CropChoice(source_max_side=256), **given)
    typed, called, default = (np.stack(list(read_video(name))) for name in ("typed", "called", "default"))
    assert typed.shape == default.shape
    assert max(typed.shape[1:]) == 256
    assert (typed == called).all()
    assert (typed != default).any()
    assert fv2v("extract", "driving.mp4", "-o", "typed.npz", "--crop-scale", "1.7", *known)[0] == 0
    extract("driving.mp4", "called.npz", weights="vox.safetensors", crop=CropChoice(scale=(None, 1.7)))
    arrays = [np.load(f"{name}.npz", allow_pickle=False) for name in ("typed", "called")]
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0].files)
    refused = fv2v("reenact", clips.PORTRAIT, "driving.mp4", "-o", "o.mp4", "--crop", "driver", *known)
    # a word that `--crop` does not know is an argument, as it was
    assert_refused(refused, "unexpected extra argument")


def test_rare_options_stand_in_the_full_help_alone(fv2v):
    for command in ("reenact", "render", "imitate"):
        short, full = (fv2v(command, option)[1] for option in ("--help", "--help-all"))
        for name in ("crop-scale", "crop-shift", "no-rotate", "source-max-side"):
            assert f"--{name}" not in short
            assert f"--{name}" in full


def test_a_square_that_is_cut_is_the_pictures(tmp_path):
    made = crop_portrait(SCENE, CropChoice(scale=1.5), BOX)
    assert (made.image == cut(SCENE, made.crop, made.crop.side)).all()
    assert made.crop.side == 150
