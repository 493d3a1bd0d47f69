"""Faces and the square around them; the real pictures and clips come from the folder FV2V_MEDIA."""

import clips
import cv2
import numpy as np
import pytest

from fv2v.face.crop import Box, FaceTracker, SteadyCrop, box_around, crop_face, cut
from fv2v.face.find import Face, find_face, find_faces, find_first_face
from fv2v.io.image import read_image
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


def test_the_portrait_has_one_face_and_noise_has_none():
    (face,) = find_faces(clips.portrait())
    assert abs(face.x - 198) < 15  # between the eyes and over the mouth
    assert abs(face.y - 183) < 20
    assert 100 < face.side < 170
    assert find_faces(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)) == []


def test_every_frame_of_a_clip_made_from_it_has_one(clip):
    assert [len(find_faces(frame)) for frame in clip] == [1] * len(clip)


def test_the_largest_face_comes_first():
    small = cv2.resize(clips.portrait(), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    both = np.zeros((512, 410 + small.shape[1], 3), np.uint8)
    both[:, -410:] = clips.portrait()
    both[: small.shape[0], : small.shape[1]] = small
    first, second = find_faces(both)
    assert first.side > 1.4 * second.side
    assert find_face(both) == first
    assert first.x > small.shape[1]


def test_a_picture_without_a_face_is_refused():
    with pytest.raises(
        ValueError, match=r"^cat\.jpg: no face found in 240 x 240 pixels; expected one seen from"
    ):
        crop_face(BLANK, 64, name="cat.jpg")


@pytest.mark.parametrize(
    ("face", "size", "box"),
    [
        (Face(300, 300, 100), (600, 600), Box(205, 205, 190)),  # room on all sides
        (
            Face(300, 300, 100),
            (600, 370),
            Box(205 - 19, 205, 190),
        ),  # moved by a tenth, and over the border still
        (Face(80, 300, 100), (600, 600), Box(0, 205, 190)),  # moved until it is inside
        (Face(90, 100, 100), (180, 190), Box(0, 0, 180)),  # the small picture decides
        (
            Face(50, 50, 100),
            (110, 120),
            Box(-30, -30, 160),
        ),  # but no more than leaves the head whole
    ],
)
def test_the_square_gives_way_to_the_border(face, size, box):
    assert box_around(face, size) == box


def test_beyond_the_border_the_outermost_pixels_repeat():
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    padded = np.pad(image, ((40, 40), (40, 40), (0, 0)), mode="edge")
    for left, top in (
        (-5, -7),
        (12, 4),
        (5, 15),
        (-30, 3),
        (33, 24),
    ):  # the last two see no pixel of their rows
        expected = padded[top + 40 : top + 66, left + 40 : left + 66]
        np.testing.assert_array_equal(cut(image, Box(left, top, 26), 26), expected)


def test_cropping_a_portrait_centres_the_face():
    crop = crop_face(clips.portrait(), 128)
    assert crop.shape == (128, 128, 3)
    face = find_face(crop)
    assert abs(face.x - 64) < 13
    assert abs(face.y - 64) < 13
    assert 0.45 < face.side / 128 < 0.65


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


def test_a_video_without_a_face_is_refused_after_a_look_ahead():
    shown = iter([BLANK] * 1000)
    with pytest.raises(ValueError, match=r"^dog\.mp4: no face found in the first 150 frames; cut the video"):
        find_first_face(shown, "dog.mp4")
    assert len(list(shown)) == 850


def test_a_new_shot_is_taken_up_after_a_while():
    base = cv2.resize(clips.portrait(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    left = cv2.copyMakeBorder(base, 0, 0, 0, 300, cv2.BORDER_CONSTANT)
    right = cv2.copyMakeBorder(base, 0, 0, 300, 0, cv2.BORDER_CONSTANT)
    frames = [left] * 6 + [right] * 100
    tracker = FaceTracker(find_first_face(frames))
    boxes = steps(tracker, frames)
    assert (boxes[:30] == boxes[0]).all()
    assert abs(boxes[-1, 0] - boxes[0, 0] - 300) < 20


def test_a_second_face_beside_it_does_not_draw_the_box_away():
    base = cv2.resize(clips.portrait(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    alone = cv2.copyMakeBorder(base, 0, 256, 0, 410, cv2.BORDER_CONSTANT)
    joined = alone.copy()
    joined[:, -410:] = clips.portrait()  # larger, too
    frames = [alone] * 4 + [joined] * 30
    boxes = steps(FaceTracker(find_first_face(frames)), frames)
    assert (boxes == boxes[0]).all()


def test_opencv_keeps_the_threads_it_had():
    before = cv2.getNumThreads()
    find_faces(BLANK)
    assert cv2.getNumThreads() == before


@pytest.mark.parametrize("name", ["mona_lisa.jpg", "pearl_earring.jpg", "velata.jpg", "small_face.jpg"])
def test_real_portraits_have_one_face(name):
    assert len(find_faces(read_image(clips.real(name)))) == 1


def test_a_cat_has_none():
    with pytest.raises(ValueError, match=r"no_human_face\.jpg: no face found in 1080 x 1439 pixels"):
        crop_face(read_image(clips.real("no_human_face.jpg")), 256, "no_human_face.jpg")


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
