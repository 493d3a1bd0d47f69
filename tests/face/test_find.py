# SPDX-License-Identifier: Apache-2.0
"""Faces found in pictures and videos; the real pictures come from the folder FV2V_MEDIA."""

import clips
import cv2
import numpy as np
import pytest

from fv2v.face.detectors.choice import find_faces
from fv2v.face.find import find_face, find_first_face
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
        find_face(BLANK, "cat.jpg")


def test_a_video_without_a_face_is_refused_after_a_look_ahead():
    shown = iter([BLANK] * 1000)
    with pytest.raises(ValueError, match=r"^dog\.mp4: no face found in the first 150 frames; cut the video"):
        find_first_face(shown, "dog.mp4")
    assert len(list(shown)) == 850


def test_opencv_keeps_the_threads_it_had():
    before = cv2.getNumThreads()
    find_faces(BLANK)
    assert cv2.getNumThreads() == before


@pytest.mark.parametrize("name", ["mona_lisa.jpg", "pearl_earring.jpg", "velata.jpg", "small_face.jpg"])
def test_real_portraits_have_one_face(name):
    assert len(find_faces(read_image(clips.real(name)))) == 1


def test_a_cat_has_none():
    with pytest.raises(ValueError, match=r"no_human_face\.jpg: no face found in 1080 x 1439 pixels"):
        find_face(read_image(clips.real("no_human_face.jpg")), "no_human_face.jpg")
