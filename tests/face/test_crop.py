"""Faces and the square around them; the real pictures come from the folder FV2V_MEDIA."""

import clips
import cv2
import numpy as np
import pytest

from fv2v.face.crop import Box, box_around, crop_face, cut
from fv2v.face.find import Face, find_face, find_faces
from fv2v.io.image import read_image

BLANK = np.full((240, 240, 3), 127, np.uint8)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """(30, 256, 256, 3): the portrait, swaying."""
    return clips.moving_picture(clips.portrait(), 30)


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
