# SPDX-License-Identifier: Apache-2.0
"""The first good frame of a driver: a face, bright, with open eyes."""

import clips
import films
import numpy as np
import parity
import pytest
from films import SEATS, film, seat, sway

from fv2v.face.detectors.given import GivenFaces
from fv2v.face.first import find_first_good_face
from fv2v.pipelines.driving import DrivingVideo

LEFT = SEATS["left"]


def talk(frames: int = 12) -> list[np.ndarray]:
    return film(frames, lambda frame, i: seat(frame, "painting", (LEFT[0] + sway(i), LEFT[1])))


def dimmed(frame: np.ndarray, gain: float) -> np.ndarray:
    return np.rint(frame * gain).astype(np.uint8)


LEADS = {  # what comes before; the number of the first good frame
    "nothing": ([], 0),
    "black": ([0.0] * 4, 4),
    "a fade": ([0.0, 0.02, 0.05, 0.1, 0.3, 0.5], 6),
    "a slow fade": (list(np.linspace(0, 0.95, 20)), 17),
    "light that wavers": ([0.9, 0.85, 0.95, 1.0], 0),
}


@pytest.mark.parametrize("lead", LEADS)
def test_the_first_good_frame_is_the_first_bright_one(lead):
    gains, good = LEADS[lead]
    shot = talk()
    first = find_first_good_face([*(dimmed(shot[0], gain) for gain in gains), *shot])
    assert first.number == good
    assert first.begin <= good
    assert max(abs(first.face.x - LEFT[0]), abs(first.face.y - LEFT[1])) < 25


def test_a_title_before_the_film_is_not_driven_by():
    title = [films.wall()] * 5
    first = find_first_good_face([*title, *talk()])
    assert (first.number, first.begin) == (5, 5)


def test_a_film_that_stays_dark_begins_at_once():
    first = find_first_good_face([dimmed(frame, 0.3) for frame in talk()])
    assert first.number == 0


def test_without_a_face_it_is_an_error():
    with pytest.raises(ValueError, match=r"^dark\.mp4: no face found in the first 3 frames"):
        find_first_good_face([films.wall()] * 3, "dark.mp4")


@pytest.mark.parametrize(("closed", "first"), [([], 0), ([0, 1, 2], 3), ([3, 4], 0)])
def test_eyes_that_are_known_to_be_closed_do_not_begin(closed, first, tmp_path):
    """Of the set of 203 landmarks: the eyes' heights are points 6 and 18, 30 and 42."""
    marks = np.stack([parity.fake_landmarks(203, "a")] * 8)
    for top, bottom in ((6, 18), (30, 42)):
        marks[closed, top] = marks[closed, bottom] + 0.01
    path = clips.write_clip(tmp_path / "driving.mp4", np.stack([parity.scene()] * 8))
    video = DrivingVideo(path, True, GivenFaces(marks))
    assert video.first is not None
    assert video.first.number == first
