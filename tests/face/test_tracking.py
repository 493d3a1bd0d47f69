# SPDX-License-Identifier: Apache-2.0
"""The face followed over a video; the real clips come from the folder FV2V_MEDIA."""

import clips
import cv2
import numpy as np
import pytest

from fv2v.face.crop import box_around
from fv2v.face.detectors.choice import find_faces
from fv2v.face.find import find_face, find_first_face
from fv2v.face.steady_crop import SteadyCrop
from fv2v.face.tracking import FaceTracker
from fv2v.io.video import read_video

BLANK = np.full((240, 240, 3), 127, np.uint8)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """(30, 256, 256, 3): the portrait, swaying."""
    return clips.moving_picture(clips.portrait(), 30)


def steps(tracker: FaceTracker, frames) -> np.ndarray:
    """(T, 3): the box after each frame."""
    boxes = (box_around(tracker.update(frame), frame.shape[:2]) for frame in frames)
    return np.array([(box.left, box.top, box.side) for box in boxes])


def test_the_box_does_not_move_a_pixel_while_the_face_stays_about(clip):
    boxes = steps(FaceTracker(find_first_face(clip)), clip)
    assert (boxes == boxes[0]).all()


def test_the_box_follows_a_face_that_leaves_smoothly_and_stands_again():
    base = cv2.resize(clips.portrait(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    wide = cv2.copyMakeBorder(base, 0, 0, 150, 150, cv2.BORDER_REPLICATE)
    shifts = np.concatenate([np.zeros(20), np.linspace(0, 100, 40), np.full(60, 100)]).astype(int)
    frames = [np.roll(wide, shift, axis=1) for shift in shifts]
    boxes = steps(FaceTracker(find_first_face(frames)), frames)
    left = boxes[:, 0]
    assert (left[:20] == left[0]).all()
    assert (np.diff(left) >= 0).all()  # never back
    assert np.diff(left).max() <= 8  # nor in a jump
    assert abs(left[-1] - left[0] - 100) < 12
    assert (boxes[-20:] == boxes[-1]).all()
    assert np.ptp(boxes[:, 2]) <= 4


def test_a_lost_face_leaves_the_box_where_it_is_and_is_counted(clip):
    frames = [*clip[:9], *[BLANK] * 12, *clip[9:15]]
    crops = SteadyCrop(frames, find_first_face(frames), 64)
    tracker = FaceTracker(find_first_face(frames))
    boxes = steps(tracker, frames)
    assert (boxes == boxes[0]).all()
    assert tracker.missing == 12
    assert len(list(crops)) == len(frames)
    assert crops.missing == 12


def test_frames_before_the_first_face_take_its_box(clip):
    frames = [*[BLANK] * 6, *clip[:6]]
    start = find_first_face(frames)
    assert start == find_face(clip[0])
    tracker = FaceTracker(start)
    boxes = steps(tracker, frames)
    assert (boxes == boxes[0]).all()
    assert tracker.missing == 6


def test_a_second_face_beside_it_does_not_draw_the_box_away():
    base = cv2.resize(clips.portrait(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    alone = cv2.copyMakeBorder(base, 0, 256, 0, 410, cv2.BORDER_CONSTANT)
    joined = alone.copy()
    joined[:, -410:] = clips.portrait()  # larger, too
    frames = [alone] * 4 + [joined] * 30
    boxes = steps(FaceTracker(find_first_face(frames)), frames)
    assert (boxes == boxes[0]).all()


@pytest.mark.parametrize("name", ["talk_480_30fps.mp4", "room_480_25fps.mp4", "close_512_30fps.mp4"])
def test_real_clips_keep_a_steady_box_round_the_face(name):
    reader = read_video(clips.real(name))
    tracker = FaceTracker(find_first_face(reader, name))
    boxes, around = [], []
    for i, frame in enumerate(reader):
        box = box_around(tracker.update(frame), frame.shape[:2])
        boxes.append((box.left, box.top, box.side))
        if i % 10 == 0:
            (face,) = find_faces(frame)
            middle = np.array([face.x - box.left, face.y - box.top]) / box.side
            around.append((*middle, face.side / box.side))
    moves = np.abs(np.diff(boxes, axis=0)).max(1)
    assert tracker.missing == 0
    assert moves.max() <= 5
    assert np.abs(np.array(around)[:, :2] - 0.5).max() < 0.25
    assert np.array(around)[:, 2].min() > 0.4
    assert np.array(around)[:, 2].max() < 0.75
