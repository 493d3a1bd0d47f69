# SPDX-License-Identifier: Apache-2.0
"""Everybody in a video: who is where in which frames, and a square that stands."""

import numpy as np
import pytest
from films import SEATS, film, hand, seat, sway

from fv2v.face.people import LOOK, Stretch, stretches

LEFT, RIGHT = SEATS["left"], SEATS["right"]


def found(frames: int, draw) -> list[tuple[int, int, str, str]]:
    """First and last frame, which seat, and why it ended, of each stretch; its square is about the face."""
    return [
        (each.first, each.last, seat_of(each), each.ended)
        for each in sorted(stretches(film(frames, draw)), key=lambda each: (each.first, each.square.left))
    ]


def seat_of(stretch: Stretch) -> str:
    square = stretch.square
    x, y = square.left + square.side / 2, square.top + square.side / 2
    name = min(SEATS, key=lambda name: abs(SEATS[name][0] - x))
    assert max(abs(SEATS[name][0] - x), abs(SEATS[name][1] - y)) < 0.15 * square.side
    return name


def test_two_people_and_a_cut():
    """After it one of them sits elsewhere, and another one is larger."""

    def draw(frame, i):
        if i < 20:
            seat(frame, "painting", (LEFT[0] + sway(i), LEFT[1]))
            seat(frame, "8", RIGHT)
        else:
            frame //= 2
            seat(frame, "painting", RIGHT, 280)

    assert found(40, draw) == [
        (0, 19, "left", "cut"),
        (0, 19, "right", "cut"),
        (20, 39, "right", "end"),
    ]


def test_a_dissolve_is_a_cut():
    """Of the same person in the same place, over twelve frames, before another wall."""

    def draw(frame, i):
        light = min(max(i - 20, 0), 12) / 12
        frame[:] = (1 - light) * frame + light * np.array((10, 60, 220))
        seat(frame, "painting", LEFT)

    first, *_, last = found(60, draw)
    assert (first[0], first[2], first[3]) == (0, "left", "cut")
    assert 20 <= first[1] <= 28
    assert (last[1], last[2], last[3]) == (59, "left", "end")
    assert last[0] <= 33


def test_who_is_hidden_and_comes_again_and_who_comes_in_late():
    def draw(frame, i):
        seat(frame, "painting", LEFT)
        if 14 <= i < 30:
            hand(frame, LEFT)
        if i >= 20:
            seat(frame, "8", RIGHT)

    first, late, again = found(60, draw)
    assert (first[0], *first[2:]) == (0, "left", "hidden")
    assert 13 <= first[1] <= 18
    assert late == (24, 59, "right", "end")
    assert (again[1:]) == (59, "left", "end")
    assert 30 <= again[0] <= 30 + LOOK


def test_who_walks_has_a_square_that_stands_for_each_part_of_the_way():
    def draw(frame, i):
        seat(frame, "painting", (170 + 8 * i, 180))

    parts = sorted(stretches(film(40, draw)), key=lambda each: each.first)
    assert [each.ended for each in parts] == ["moved"] * (len(parts) - 1) + ["end"]
    assert 3 <= len(parts) <= 10
    for part in parts:
        for i in (part.first, part.last):
            middle = part.square.left + part.square.side / 2
            assert abs(170 + 8 * i - middle) < 0.25 * part.square.side, "the face, half as wide, is inside"


@pytest.mark.parametrize("frames", [0, 30])
def test_nobody(frames):
    assert list(stretches(film(frames, lambda frame, i: None))) == []
