# SPDX-License-Identifier: Apache-2.0
"""LivePortrait's own detector and landmarks, by stand-ins for its files: all numbers before and after."""

import math

import clips
import cv2
import numpy as np
import parity
import pytest
import standin_faces

from fv2v.face.detectors.base import Face
from fv2v.face.detectors.liveportrait import LivePortraitFaces
from fv2v.face.landmarks import crop_by_landmarks, eye_and_lip, square_around, upright_square
from fv2v.face.portrait import FaceChoice, crop_portrait
from fv2v.io.image import write_image
from fv2v.io.timing import Span
from fv2v.io.video import read_video
from fv2v.motion.ratios import Openness
from fv2v.pipelines.driving import DrivingVideo
from fv2v.presets import LIVEPORTRAIT


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return standin_faces.write_faces(tmp_path_factory.mktemp("pretrained_weights"))


@pytest.fixture(scope="module")
def faces(folder) -> LivePortraitFaces:
    return LivePortraitFaces(folder)


def picture(size: tuple[int, int], *patches: tuple[int, int, int, int]) -> np.ndarray:
    """(H, W, 3): noise without red, and red patches (left, top, side, level)."""
    image = np.random.default_rng(0).integers(0, 100, (*size, 3), np.uint8)
    image[..., 0] = 20
    for left, top, side, level in patches:
        image[top : top + side, left : left + side, 0] = level
    return image


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def expected_faces(image: np.ndarray) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Score, box and points in the picture's pixels, largest first, by the release's rules."""
    H, W = image.shape[:2]
    height, width = (512, int(512 / (H / W))) if H > W else (int(512 * (H / W)), 512)
    canvas = np.zeros((512, 512, 3), np.uint8)
    canvas[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    found = standin_faces.detections((canvas.astype(np.float64) - 127.5) / 128)
    kept: list[tuple[float, np.ndarray, np.ndarray]] = []
    for each in sorted((each for each in found if each[0] >= 0.1), key=lambda each: -each[0]):
        if all(overlap(each[1], other[1]) <= 0.4 for other in kept):
            kept.append(each)
    scale = height / H
    kept = [(score, box / scale, points / scale) for score, box, points in kept]
    return sorted(kept, key=lambda each: -np.prod(each[1][2:] - each[1][:2]))


PICTURES = {
    "wide": picture((300, 400), (100, 60, 90, 250), (280, 150, 40, 200)),
    "high": picture((700, 333), (100, 310, 120, 255), (10, 30, 70, 160)),
    "large": picture((1080, 1920), (900, 200, 300, 240)),
    "small": picture((64, 64), (20, 20, 8, 230)),
    "square": picture((512, 512), (64, 64, 64, 255), (288, 320, 8, 250), (448, 400, 50, 150)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_detector_sees_and_is_read_as_in_the_release(faces, name):
    made, expected = faces(PICTURES[name]), expected_faces(PICTURES[name])
    assert len(made) == len(expected) >= 1
    for face, (score, box, points) in zip(made, expected, strict=True):
        sides = box[2:] - box[:2]
        assert face.score == pytest.approx(score, abs=1e-5)
        assert (face.x, face.y) == pytest.approx((box[:2] + box[2:]) / 2, abs=2e-3)
        assert face.side**2 == pytest.approx(np.prod(sides), rel=1e-4)
        assert face.longest == pytest.approx(max(sides), abs=2e-3)
        assert np.abs(face.points - points).max() < 2e-3


def similarity(points: np.ndarray, scale: float, vy: float, size: int) -> np.ndarray:
    """(3, 3), picture to crop, of the square around landmarks that is turned with the face."""
    eye, lip = eye_and_lip(points)
    down = (lip - eye) / math.dist(lip, eye)
    axes = np.stack([(down[1], -down[0]), down])
    turned = points @ axes.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    side = scale * (high - low).max()
    centre = (low + high) / 2 + (0, vy * side)
    there = np.eye(3)
    there[:2, :2] = axes * size / side
    there[:2, 2] = size / 2 - centre * size / side
    return there


def warped(image: np.ndarray, there: np.ndarray, size: int) -> np.ndarray:
    return cv2.warpAffine(image, there[:2], (size, size), flags=cv2.INTER_LINEAR).astype(np.float64)


def back(points: np.ndarray, there: np.ndarray) -> np.ndarray:
    return (np.linalg.inv(there) @ np.c_[points, np.ones(len(points))].T)[:2].T


def expected_106(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    scale = 192 / (1.5 * max(box[2:] - box[:2]))
    x, y = (box[:2] + box[2:]) / 2
    there = np.array([[scale, 0, 96 - scale * x], [0, scale, 96 - scale * y], [0, 0, 1]])
    return back((standin_faces.coarse(warped(image, there, 192)) + 1) * 96, there)


def expected_203(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    there = similarity(points, 1.5, -0.1, 224)
    return back(standin_faces.fine(warped(image, there, 224) / 255) * 224, there)


@pytest.mark.parametrize("name", ["wide", "high", "large"])
def test_landmarks_are_asked_for_and_read_as_in_the_release(faces, name):
    """Pixels that fall on other fractions move the points by hundredths."""
    image = PICTURES[name]
    _, box, _ = expected_faces(image)[0]
    coarse = faces.landmarks(image, faces(image)[0])
    assert np.abs(coarse - expected_106(image, box)).max() < 0.05
    assert np.abs(faces.refined(image, coarse) - expected_203(image, coarse)).max() < 0.05


@pytest.mark.parametrize("name", ["wide", "high"])
def test_a_portrait_is_cropped_by_106_landmarks_and_a_driving_picture_by_203(faces, tmp_path, name):
    image, path = PICTURES[name], tmp_path / "picture.png"
    write_image(path, image)
    marks = faces.landmarks(image, faces(image)[0])
    framed = crop_portrait(path, face=faces)
    assert (framed.image == crop_by_landmarks(image, marks, 512).image).all()
    assert framed.crop == square_around(marks, 2.3, -0.125)
    assert (framed.landmarks == faces.refined(image, marks)).all()
    driver = crop_portrait(path, face=faces, drives=True)
    assert driver.crop == upright_square([framed.landmarks], 2.2, -0.1)


@pytest.mark.parametrize("seed", ["lmk", "a", "b"])
def test_recorded_landmarks_give_the_recorded_crop(tmp_path, seed):
    """A network that gives a set as the release's crops were recorded by: the crop is as from that set."""
    marks, box = parity.fake_landmarks(106, seed), (150, 90, 250, 190)
    found = LivePortraitFaces(standin_faces.write_faces(tmp_path, box, marks))
    write_image(tmp_path / "scene.png", parity.scene())
    framed = crop_portrait(tmp_path / "scene.png", face=found)
    expected = crop_by_landmarks(parity.scene(), marks, 512)
    assert np.abs(framed.crop.to_crop(512) - expected.to_crop).max() < 1e-2
    assert np.abs(framed.image.astype(int) - expected.image).max() <= 8
    assert np.abs(framed.image.astype(int) - expected.image).mean() < 0.5


def film(places: list[tuple[int, int] | None], side: int = 60) -> np.ndarray:
    """(T, 240, 320, 3): a red patch at each place, on still noise; None: no patch."""
    return np.stack([picture((240, 320), *([(*place, side, 250)] if place else ())) for place in places])


def test_later_frames_start_from_the_frame_before(faces):
    frames = film([(100 + 4 * i, 80 + i) for i in range(8)])
    made = list(faces.follow(frames))
    points = faces.refined(frames[0], faces.landmarks(frames[0], faces(frames[0])[0]))
    assert (made[0] == points).all()
    for frame, marks in zip(frames[1:], made[1:], strict=True):
        points = faces.refined(frame, points)
        assert (marks == points).all()
    centre = (made[-1].min(axis=0) + made[-1].max(axis=0)) / 2
    assert np.abs(centre - (100 + 28 + 30, 80 + 7 + 30)).max() < 15, "the stand-in follows the patch"


def test_a_face_that_comes_late_leaves_and_jumps_is_found_again(faces):
    places = [None] * 3 + [(60, 60)] * 22 + [None] * 14 + [(200, 120)] * 12
    made = list(faces.follow(film(places)))
    assert [marks is None for marks in made[:4]] == [True, True, True, False]
    lost = [index for index, marks in enumerate(made) if marks is None]
    assert lost[3:] == list(range(36, 39)), "noticed when the detector looks again, at frame 36"
    cut = list(faces.follow(film([(20, 20)] * 6 + [(240, 160)] * 20)))
    centre = (cut[-1].min(axis=0) + cut[-1].max(axis=0)) / 2
    assert np.abs(centre - (270, 190)).max() < 25


def test_landmarks_that_leap_to_where_no_face_is_are_dropped_at_once(faces):
    """To a patch that draws them although it is too dark for a face, long before the next look."""
    dark = picture((240, 320), (125, 95, 60, 130))
    assert not faces(dark)
    made = list(faces.follow([*film([(60, 60)] * 3), *[dark] * 4, *film([(60, 60)] * 2)]))
    assert [marks is None for marks in made] == [False] * 3 + [True] * 4 + [False] * 2


def test_a_video_is_cropped_by_the_mean_of_203_landmarks(faces, tmp_path):
    path = clips.write_clip(tmp_path / "driving.mp4", film([(100 + 3 * i, 80) for i in range(6)]))
    frames = np.stack(list(read_video(path)))
    marks = np.stack(list(faces.follow(frames)))
    video, given = (DrivingVideo(path, True, face) for face in (faces, marks))
    made, expected = (np.stack(list(each.crops(LIVEPORTRAIT))) for each in (video, given))
    assert (made == expected).all()
    opened = video.openness_of_frames()
    assert opened == [Openness.of(each) for each in marks]
    first = DrivingVideo(path, True, faces, Span(frames=3))
    assert np.abs(first.openness(3) - given.openness(3)).max() == 0


def test_any_detector_of_landmarks_serves_a_driver_too(tmp_path):
    """`FaceChoice(landmarks=...)`: 68 points of a face that is away in a frame, where another one is not."""
    shape = parity.fake_landmarks(68) / 4
    here = [(20 + 5 * i, 60) for i in range(6)]

    def detector(image, frame=0, near=None):
        own = [Face(*here[frame], 50)] if frame != 3 else []
        return [Face(260, 120, 40 + 4 * frame), *own]

    def landmarks(image, face, frame=0):
        return shape + np.array([face.x, face.y])

    path = clips.write_clip(tmp_path / "driving.mp4", film(here))
    video = DrivingVideo(path, True, FaceChoice(1, detector, landmarks))
    marks = np.stack([shape + place if i != 3 else shape * np.nan for i, place in enumerate(here)])
    expected = DrivingVideo(path, True, marks)
    assert (np.stack(list(video.crops(LIVEPORTRAIT))) == np.stack(list(expected.crops(LIVEPORTRAIT)))).all()
    assert video.lost == expected.lost == [3]
    with pytest.raises(ValueError, match=r"driving\.mp4: no face 3 found in any of 6 frames"):
        DrivingVideo(path, True, FaceChoice(3, detector, landmarks))
