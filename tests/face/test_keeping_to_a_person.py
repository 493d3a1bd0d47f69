# SPDX-License-Identifier: Apache-2.0
"""A tracker keeps to a person: hidden, gone for a while, beside others, over cuts."""

import cv2
import films
import numpy as np
import pytest
from films import SEATS, apart, film, followed, hand, seat, sway

from fv2v.face.detectors.base import Face
from fv2v.face.find import find_first_face
from fv2v.face.tracking import FaceTracker

LEFT, RIGHT = SEATS["left"], SEATS["right"]


def tracker_of(frames: list[np.ndarray], number: int = 1) -> FaceTracker:
    return FaceTracker(find_first_face(frames, number=number))


CUTS = {  # who, where and how large before the cut, and after it
    "the same person, smaller": (("painting", LEFT, 300), ("painting", RIGHT, 200)),
    "the same person, larger": (("5", RIGHT, 200), ("5", LEFT, 320)),
    "another person": (("painting", LEFT, 240), ("8", RIGHT, 280)),
    "another person in the same place": (("5", LEFT, 240), ("painting", LEFT, 260)),
}


@pytest.mark.parametrize("cut", CUTS)
def test_after_a_cut_the_square_is_at_the_face_within_six_frames(cut):
    before, after = CUTS[cut]

    def draw(frame, i):
        name, (x, y), side = before if i < 13 else after
        seat(frame, name, (x + sway(i), y), side)

    frames = film(26, draw)
    tracker = tracker_of(frames)
    squares, visible = followed(tracker, frames)
    assert apart(squares[:13], before[1]) < 0.15
    assert apart(squares[19:], after[1]) < 0.15
    assert all(visible[:13])
    assert all(visible[19:])
    others = tracker.others
    assert bool(others) == (before[0] != after[0])
    assert all(13 <= number < 19 for number in others)


def test_a_cut_that_swaps_two_people_does_not_change_who_is_followed():
    def draw(frame, i):
        seat(frame, "painting", (LEFT, RIGHT)[i >= 10], (280, 240)[i >= 10])
        seat(frame, "8", (RIGHT, LEFT)[i >= 10], (240, 280)[i >= 10])

    frames = film(22, draw)
    tracker = FaceTracker(Face(*LEFT, 140))
    squares, visible = followed(tracker, frames)
    assert apart(squares[:10], LEFT) < 0.15
    assert apart(squares[16:], RIGHT) < 0.15
    assert all(visible[16:])
    assert not tracker.others


def cover_at_once(frame, i, at):
    if 8 <= i < 40:
        hand(frame, at)


def cover_gradually(frame, i, at):
    if 4 <= i < 44:
        away = 240 - min(i - 4, 44 - i, 8) * 30
        hand(frame, (at[0], at[1] + away))


def walk_away(frame, i, at):
    """The wall, where the person was."""
    if 8 <= i < 40:
        x, y = at
        frame[y - 130 : y + 130, x - 130 : x + 130] = films.WALL


HIDDEN = {"a hand": cover_at_once, "a hand that comes slowly": cover_gradually, "the person goes": walk_away}


@pytest.mark.parametrize("hide", HIDDEN)
@pytest.mark.parametrize(
    ("one", "other"), [("painting", "8"), ("5", "painting"), ("0", "9"), ("painting", "painting")]
)
def test_a_hidden_person_is_waited_for_beside_another(one, other, hide):
    def draw(frame, i):
        seat(frame, one, (LEFT[0] + sway(i), LEFT[1]))
        HIDDEN[hide](frame, i, LEFT)
        seat(frame, other, (RIGHT[0] - sway(i), RIGHT[1]))

    frames = film(56, draw)
    tracker = FaceTracker(Face(*LEFT, 120))
    squares, visible = followed(tracker, frames)
    assert apart(squares, LEFT) < 0.15, "it went to the other person"
    assert not any(visible[16:34])
    assert all(visible[:4])
    assert all(visible[48:])
    assert tracker.missing == visible.count(False)
    assert not tracker.others


RETURNS = {
    "where it left": LEFT,
    "elsewhere": RIGHT,
    "larger": (*RIGHT, 320),
}


@pytest.mark.parametrize("place", RETURNS)
@pytest.mark.parametrize("name", ["painting", "5"])
def test_a_face_that_leaves_is_taken_up_where_it_returns(name, place):
    x, y, side = (*RETURNS[place], 240)[:3]

    def draw(frame, i):
        if i < 8:
            seat(frame, name, (LEFT[0] + sway(i), LEFT[1]))
        elif i < 14:
            seat(frame, name, (LEFT[0] - 55 * (i - 7), LEFT[1]))
        elif i >= 26:
            seat(frame, name, (x, y), side)

    frames = film(44, draw)
    squares, visible = followed(tracker_of(frames), frames)
    assert not any(visible[15:26])
    assert all(visible[34:])
    assert apart(squares[40:], (x, y)) < 0.15
    assert max(np.abs(squares[15:26, :2] - squares[15, :2]).max(axis=1)) < 60, (
        "it wanders while nobody is seen"
    )


def test_a_stranger_who_comes_while_the_person_is_away_is_not_followed():
    def draw(frame, i):
        if i < 10 or i >= 40:
            seat(frame, "painting", LEFT)
        elif i >= 20:
            seat(frame, "8", (700 - 12 * min(i - 20, 18), RIGHT[1]))

    frames = film(46, draw)
    squares, visible = followed(tracker_of(frames), frames)
    assert apart(squares, LEFT) < 0.15
    assert visible == [True] * 10 + [False] * 30 + [True] * 6


def test_two_people_who_pass_each_other_keep_their_squares():
    def draw(frame, i):
        way = 9 * min(i, 44)
        seat(frame, "8", (520 - way, 180), 230)
        seat(frame, "painting", (120 + way, 180), 250)  # in front

    frames = film(60, draw)
    squares, _ = followed(FaceTracker(Face(120, 180, 125)), frames)
    assert apart(squares[-1:], (120 + 9 * 44, 180)) < 0.15


GAPS = {
    "black": lambda frame: np.zeros_like(frame),
    "white": lambda frame: np.full_like(frame, 255),
    "a title": lambda frame: cv2.putText(
        np.zeros_like(frame), "THE END", (160, 200), cv2.FONT_HERSHEY_SIMPLEX, 3, (255, 255, 255), 8
    ),
    "nearly black": lambda frame: (frame * 0.03).astype(np.uint8),
}


@pytest.mark.parametrize("gap", GAPS)
def test_frames_without_a_face_are_known_one_by_one(gap):
    """Also the single ones between two looks of the detector."""
    frames = film(30, lambda frame, i: seat(frame, "painting", (LEFT[0] + sway(i), LEFT[1])))
    hidden = {7, *range(13, 20), 26}
    for i in hidden:
        frames[i] = GAPS[gap](frames[i])
    squares, visible = followed(tracker_of(frames), frames)
    assert {i for i, seen in enumerate(visible) if not seen} == hidden
    assert np.ptp(squares, axis=0).max() == 0


def test_a_light_that_goes_out_for_good_ends_by_being_usual():
    frames = film(90, lambda frame, i: seat(frame, "painting", LEFT))
    frames[10:] = [(frame * 0.2).astype(np.uint8) for frame in frames[10:]]
    _, visible = followed(tracker_of(frames), frames)
    assert all(visible[:10])
    assert not any(visible[12:40])
    assert all(visible[70:])


def test_a_detector_that_is_blind_now_and_then_loses_no_face():
    """A face that is missed and looks as before is still there: a turned head is motion."""
    frames = film(40, lambda frame, i: seat(frame, "5", (LEFT[0] + sway(i), LEFT[1])))
    looks = 0

    def blinking(image, frame=0, near=None):
        nonlocal looks
        looks += 1
        return [Face(*LEFT, 120)] if looks < 4 or looks % 3 == 0 else []

    tracker = FaceTracker(Face(*LEFT, 120), blinking)
    _, visible = followed(tracker, frames)
    assert looks > 8
    assert all(visible)


def test_a_second_face_is_followed_by_its_number():
    def draw(frame, i):
        seat(frame, "painting", (LEFT[0] + sway(i), LEFT[1]), 280)
        seat(frame, "8", (RIGHT[0] + sway(i), RIGHT[1]), 200)

    frames = film(20, draw)
    for number, place in ((1, LEFT), (2, RIGHT)):
        squares, visible = followed(tracker_of(frames, number), frames)
        assert apart(squares, place) < 0.15
        assert all(visible)


def test_a_face_that_stands_is_looked_at_half_as_often():
    looks = []

    def counting(image, frame=0, near=None):
        looks.append(near is None)
        return [Face(*LEFT, 120)]

    still = film(31, lambda frame, i: seat(frame, "5", LEFT))
    followed(FaceTracker(Face(*LEFT, 120), counting), still)
    assert len(looks) == 1 + 6, "one of the whole picture, then one in six frames"
