# SPDX-License-Identifier: Apache-2.0
"""Faces that the user knows, in arrays and files, and which face of several is meant."""

import json
import re
from dataclasses import replace

import clips
import cv2
import numpy as np
import parity
import pytest
from tiny import TINY_VOX

from fv2v.face.crop import box_around, cut
from fv2v.face.detectors.base import Face
from fv2v.face.detectors.choice import find_faces
from fv2v.face.detectors.given import GivenFaces, read_faces
from fv2v.face.find import find_face, find_first_face
from fv2v.face.landmarks import (
    RELEASE_SIZE,
    Square,
    crop_by_landmarks,
    eye_and_lip,
    square_around,
    upright_square,
)
from fv2v.face.portrait import FaceChoice, choose_face, crop_portrait
from fv2v.face.steady_crop import SteadyCrop
from fv2v.io.image import read_image, write_image
from fv2v.io.timing import Span
from fv2v.io.video import read_video
from fv2v.pipelines.driving import DrivingVideo
from fv2v.pipelines.reenact import reenact
from fv2v.presets import LIVEPORTRAIT
from fv2v.reenactor import Reenactor

BOX = [100, 60, 180, 160]
POINTS = parity.fake_landmarks(68)
NOTHING = np.zeros((300, 400, 3), np.uint8)
FORMS = {
    "a box for all": np.array(BOX),
    "a box a frame": np.array([BOX, np.add(BOX, 7), [np.nan] * 4]),
    "landmarks for all": POINTS,
    "landmarks a frame": np.stack([POINTS, POINTS + 7, POINTS * np.nan]),
    "landmarks a row": np.stack([POINTS, POINTS + 7, POINTS * np.nan]).reshape(3, -1),
}


@pytest.fixture(scope="module")
def tiny() -> Reenactor:
    return Reenactor(TINY_VOX, weights="random")


@pytest.fixture(scope="module")
def two_faces() -> np.ndarray:
    """(512, 656, 3): a small one to the left of a large one."""
    small = cv2.resize(clips.portrait(), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    both = np.zeros((512, 410 + small.shape[1], 3), np.uint8)
    both[:, -410:] = clips.portrait()
    both[: small.shape[0], : small.shape[1]] = small
    return both


def written(path, array: np.ndarray):
    """The array in a file, in the way of its suffix."""
    rows = array.reshape(len(array), -1) if array.ndim == 3 else np.atleast_2d(array)
    match path.suffix:
        case ".npy":
            np.save(path, array)
        case ".npz":
            np.savez(path, faces=array)
        case ".json":
            faces = json.loads(json.dumps(array.tolist()).replace("NaN", "null"))
            whole = array.ndim == 1 or not np.isnan(array).any()
            path.write_text(json.dumps(faces if whole else [*faces[:-1], None]))
        case ".csv":
            names = ",".join(f"n{i}" for i in range(rows.shape[1]))
            lines = [",".join("" if np.isnan(x) else repr(float(x)) for x in row) for row in rows]
            path.write_text("\n".join([names, *lines]) + "\n")
    return path


@pytest.mark.parametrize("suffix", [None, ".npy", ".npz", ".json", ".csv"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_in_every_file(form, suffix, tmp_path):
    array = FORMS[form]
    faces = GivenFaces(array) if suffix is None else read_faces(written(tmp_path / f"faces{suffix}", array))
    marked, each = "landmarks" in form, "all" not in form
    assert (faces.marked, faces.frames) == (marked, 3 if each else None)
    (first,) = faces(NOTHING)
    if marked:
        square = upright_square([POINTS])
        assert (first.x, first.y) == pytest.approx(square.centre)
        assert first.side * 1.9 == pytest.approx(square.side)
        assert (faces.landmarks(NOTHING, first) == POINTS).all()
    else:
        assert first == Face(140, 110, 100)
    if each:
        (second,) = faces(NOTHING, 1, first)
        assert (second.x, second.y, second.side) == pytest.approx((first.x + 7, first.y + 7, first.side))
        assert faces(NOTHING, 2) == []
        with pytest.raises(ValueError, match="one for all; got 3, and the video has more frames"):
            faces(NOTHING, 3)
    else:
        assert faces(NOTHING, 1000) == [first]


BAD_ARRAYS = {
    r"expected \(4,\) or .*, got \(3,\)": [1, 2, 3],
    r"expected .*, got \(2, 6\)": np.zeros((2, 6)),
    r"expected .*, got \(1, 2, 3, 4\)": np.zeros((1, 2, 3, 4)),
    "expected numbers": ["left", "top", "right", "bottom"],
    "expected numbers, ": [[1, 2, 3, 4], [1, 2]],
    "a box as left, top, right, bottom": [100, 60, 80, 160],
    "finite pixels, or a whole frame of NaN": [100, 60, np.nan, 160],
    "finite pixels, or": [100, 60, np.inf, 160],
    "expected a face in some frame, got none": np.full((3, 4), np.nan),
    r"got 7$": np.zeros((7, 2)),
    "68 points in one place": np.ones((68, 2)),
}


@pytest.mark.parametrize("message", BAD_ARRAYS)
def test_arrays_that_are_no_faces_are_refused(message):
    with pytest.raises(ValueError, match=message):
        GivenFaces(BAD_ARRAYS[message])


BAD_FILES = {
    "faces.txt": (b"1,2,3,4", r"expected faces in \.csv, \.npy, \.npz, \.json, got '\.txt'"),
    "ragged.csv": (b"1,2,3,4\n1,2\n", "rows of one length"),
    "named.csv": (b"left,top,right,bottom\n", "rows of one length, at least one"),
    "words.csv": (b"1,2,3,four\n", "could not convert string to float"),
    "broken.json": (b"[1, 2", "cannot be read as numbers"),
    "object.json": (b'{"box": [1, 2, 3, 4]}', "expected a list"),
    "null.json": (b"[null, null]", "expected"),
    "broken.npy": (b"\x93NUMPY\x01\x00", "cannot be read as numbers"),
    "broken.npz": (b"PK\x03\x04", "cannot be read as numbers"),
    "empty.csv": (b"", r"the file is empty"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_hold_no_faces_are_refused(name, tmp_path):
    content, message = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{re.escape(name)}: .*{message}"):
        read_faces(tmp_path / name)


def test_nothing_in_a_file_is_executed(tmp_path):
    np.save(tmp_path / "faces.npy", np.array([{"left": 1}]), allow_pickle=True)
    np.savez(tmp_path / "faces.npz", a=np.zeros(4), b=np.zeros(4))
    with pytest.raises(ValueError, match=r"faces\.npy: cannot be read as numbers \(.*got one of object"):
        read_faces(tmp_path / "faces.npy")
    with pytest.raises(ValueError, match=r"faces\.npz: .*expected one array, got a, b"):
        read_faces(tmp_path / "faces.npz")
    with pytest.raises(FileNotFoundError):
        read_faces(tmp_path / "absent.csv")


def test_faces_are_counted_by_size(two_faces):
    large, small = find_faces(two_faces)
    assert find_face(two_faces) == find_face(two_faces, number=1) == large
    assert find_face(two_faces, number=2) == small
    assert find_first_face([two_faces * 0, two_faces], number=2) == small
    with pytest.raises(ValueError, match=r"^us\.png: asked for face 3, found 2$"):
        find_face(two_faces, "us.png", 3)
    with pytest.raises(ValueError, match=r"asked for face 0 \(they count from 1, the largest\), found 2$"):
        find_face(two_faces, "us.png", 0)
    with pytest.raises(
        ValueError, match=r"^us\.mp4: asked for face 3, found 2 at once in the first 4 frames$"
    ):
        find_first_face([two_faces] * 4, "us.mp4", 3)


def test_a_detector_may_name_faces_in_any_order(two_faces):
    def other_way_round(image, frame=0, near=None):
        return find_faces(image, frame, near)[::-1]

    assert find_face(two_faces, detector=other_way_round) == find_face(two_faces)


def test_the_chosen_face_is_followed(two_faces):
    frames = [np.roll(two_faces, shift, axis=1) for shift in range(12)]
    start = find_first_face(frames, number=2)
    boxes = [box for _, box in SteadyCrop(frames, start, 64).boxes()]
    assert set(boxes) == {box_around(start, two_faces.shape[:2])}


def test_given_boxes_place_the_crops_without_a_look():
    frames = np.random.default_rng(0).integers(0, 256, (9, 300, 400, 3), np.uint8)
    still = GivenFaces(BOX)
    crops = SteadyCrop(frames, find_first_face(frames, detector=still), 64, still)
    box = box_around(Face(140, 110, 100), (300, 400))
    expected = [cut(frame, box, 64) for frame in frames]
    assert (np.stack(list(crops)) == expected).all()
    assert crops.missing == 0


def test_boxes_that_tremble_leave_the_square_where_it_is_and_gaps_are_counted():
    noise = np.random.default_rng(0).normal(scale=4, size=(30, 4))
    boxes = np.add(BOX, noise)
    boxes[12:18] = np.nan
    given, frames = GivenFaces(boxes), [NOTHING] * 30
    crops = SteadyCrop(frames, find_first_face(frames, detector=given), 64, given)
    assert len({box for _, box in crops.boxes()}) == 1
    assert crops.missing == 6


def test_landmarks_turn_the_portraits_crop_as_the_release_does(tmp_path):
    picture, path = parity.scene(), tmp_path / "scene.png"
    write_image(path, picture)
    expected = crop_by_landmarks(picture, POINTS, RELEASE_SIZE)
    framed = crop_portrait(path, face=POINTS)
    assert isinstance(framed.crop, Square)
    assert framed.crop.angle != 0
    assert (framed.image == expected.image).all()
    detected = FaceChoice(
        detector=lambda image, frame=0, near=None: [Face(9, 9, 9)],
        landmarks=lambda image, face, frame=0: POINTS + (face.x - 9),
    )
    assert (crop_portrait(path, face=detected).image == expected.image).all()


def releases_crops(frames: np.ndarray, marks: np.ndarray, size: int) -> np.ndarray:
    """LivePortrait's crops of a driving video: one box, the mean of all frames', black past the border."""
    corners = []
    for points in marks:
        side, eye, lip = square_around(points, 2.2, -0.1).side, *eye_and_lip(points)
        down = (lip - eye) / np.hypot(*(lip - eye))
        across = np.array([down[1], -down[0]])
        turned = points @ np.stack([across, down], axis=1)
        middle = (turned.min(axis=0) + turned.max(axis=0)) / 2
        assert side == pytest.approx(2.2 * np.ptp(turned, axis=0).max())
        centre = middle @ np.stack([across, down]) - 0.1 * side * down
        corners.append([*(centre - side / 2), *(centre + side / 2)])
    left, top, right, _ = np.mean(corners, axis=0)
    scale = 512 / (right - left)
    there = np.array([[scale, 0, -scale * left], [0, scale, -scale * top]])
    crops = [cv2.warpAffine(frame, there, (512, 512), flags=cv2.INTER_LINEAR) for frame in frames]
    return np.stack([cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) for crop in crops])


DRIVERS = {  # landmarks of each frame of a video, or of all; how far from where the picture has room
    "in the middle": np.stack([POINTS] * 4),
    "for all frames": POINTS[None],
    "on the move": np.stack([POINTS + np.array([12 * i, -5 * i]) for i in range(4)]),
    "past the border": np.stack([POINTS - (150, 90), POINTS - (160, 80), POINTS - 120, POINTS - (155, 85)]),
    "larger than the picture": (POINTS - POINTS.mean(axis=0)) * 2.4
    + np.array([210, 160])
    + np.zeros((4, 1, 1)),
    "hidden at times": np.stack([POINTS * np.nan, POINTS, POINTS + 9, POINTS * np.nan]),
    "of 203 points": np.stack([parity.fake_landmarks(203, seed) for seed in "abcd"]),
    "of 5 points": np.stack([parity.fake_landmarks(5, seed) for seed in "abcd"]),
}


@pytest.mark.parametrize("driver", DRIVERS)
def test_landmarks_place_a_drivers_square_as_the_release_does(driver, tmp_path):
    """Scale 2.2, shift -0.1, averaged, neither shrunk nor moved to stay inside; reduced from 512 pixels."""
    marks = DRIVERS[driver]
    images = np.stack([np.roll(parity.scene(), 7 * i, axis=1) for i in range(4)])
    path = clips.write_clip(tmp_path / "driving.mp4", images)
    known = marks[~np.isnan(marks).any(axis=(1, 2))]
    video = DrivingVideo(path, True, marks)
    made = np.stack(list(video.crops(LIVEPORTRAIT, "drive")))
    expected = releases_crops(np.stack(list(read_video(path))), known, 256)
    assert np.abs(made.astype(int) - expected).max() <= 1
    assert video.lost == ([0, 3] if "hidden" in driver else [])
    if "border" in driver or "larger" in driver:
        assert (made[:, 0, 0] == 0).all()
    half = replace(LIVEPORTRAIT, image_size=128)
    if len(known) == 4:  # of a part of the video, the part's mean
        first = np.stack(list(DrivingVideo(path, True, marks, Span(frames=2)).crops(half)))
        expected = releases_crops(np.stack(list(read_video(path, frames=2))), known[:2], 128)
        assert np.abs(first.astype(int) - expected).max() <= 1


def test_a_face_that_fills_its_video_has_the_releases_square():
    """693 pixels in a video of 512, where 584 were cut once."""
    points = (POINTS - POINTS.mean(axis=0)) * 693 / upright_square([POINTS]).side + 256
    assert GivenFaces(points).square() == upright_square([points])
    assert GivenFaces(points).square().side == pytest.approx(693, abs=0.1)
    assert GivenFaces(BOX).square() is None


def test_a_driving_picture_is_not_turned_upright(tmp_path):
    write_image(tmp_path / "scene.png", parity.scene())
    driver = crop_portrait(tmp_path / "scene.png", face=POINTS, drives=True)
    assert driver.crop == upright_square([POINTS])
    expected = cv2.warpAffine(parity.scene(), driver.crop.to_crop(512)[:2], (512, 512))
    assert (driver.image == expected).all()
    boxed = crop_portrait(tmp_path / "scene.png", face=BOX, drives=True)
    assert boxed.crop == crop_portrait(tmp_path / "scene.png", face=BOX).crop


def test_what_chooses_a_face(tmp_path):
    assert choose_face(2) == FaceChoice(2)
    assert choose_face(find_faces) == FaceChoice()
    assert choose_face(BOX).landmarks is None
    assert choose_face(str(written(tmp_path / "a.csv", np.array(BOX)))).detector(NOTHING) == [
        Face(140, 110, 100)
    ]
    given = GivenFaces(POINTS)
    assert choose_face(given) == FaceChoice(1, given, given.landmarks)
    for wrong in (True, None, "absent.png", 1.5):
        with pytest.raises((ValueError, FileNotFoundError)):
            choose_face(wrong)
    with pytest.raises(ValueError, match=r"crop=False[)] is its middle square: expected no face"):
        choose_face(2, crop=False)


def test_a_command_takes_a_number_or_a_file(fv2v, tiny, two_faces, tmp_path):
    weights, both, boxes = (tmp_path / name for name in ("tiny.safetensors", "both.png", "faces.csv"))
    tiny.save(weights)
    write_image(both, two_faces)
    small = find_face(two_faces, number=2)
    half = small.side / 2
    written(boxes, np.array([small.x - half, small.y - half, small.x + half, small.y + half]))
    made = []
    for name, face in (("second", 2), ("given", boxes), ("first", 1)):
        output = tmp_path / f"{name}.png"
        code, _, err = fv2v("frontalize", both, "-o", output, "-w", weights, "--face", face, "--paste-back")
        assert (code, err) == (0, "")
        made.append(read_image(output).astype(int))
    assert (made[0] == made[1]).all()
    assert made[0].shape == made[2].shape == two_faces.shape
    assert (made[0] != two_faces).any()
    assert (made[0][:, -300:] == two_faces[:, -300:]).all()
    assert (made[2] != made[0]).any()
    code, _, err = fv2v("frontalize", both, "-o", tmp_path / "out.png", "-w", weights, "--face", 3)
    assert (code, err) == (2, f"fv2v: {both}: asked for face 3, found 2\n")
    assert not (tmp_path / "out.png").exists()


def test_a_video_is_driven_by_the_face_that_was_given(tiny, tmp_path):
    """A detector would find none in noise; and a list of faces that ends before the video is an error."""
    frames = np.random.default_rng(0).integers(0, 256, (8, 300, 400, 3), np.uint8)
    driving = clips.write_clip(tmp_path / "noise.mp4", frames)
    boxes = np.tile(BOX, (8, 1))
    report = reenact(
        clips.PORTRAIT, driving, tmp_path / "out.mp4", reenactor=tiny, driving_face=boxes, steady=True
    )
    assert (report.frames, report.missing) == (8, 0)
    with pytest.raises(ValueError, match="got 5, and the video has more frames"):
        reenact(clips.PORTRAIT, driving, tmp_path / "no.mp4", reenactor=tiny, driving_face=boxes[:5])
    assert not (tmp_path / "no.mp4").exists()
    with pytest.raises(ValueError, match=r"noise\.mp4: no face found"):
        reenact(clips.PORTRAIT, driving, tmp_path / "no.mp4", reenactor=tiny)
