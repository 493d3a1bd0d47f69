# SPDX-License-Identifier: Apache-2.0
"""The square around a face."""

import clips
import numpy as np
import pytest

from fv2v.face.crop import Box, box_around, cut
from fv2v.face.detectors.base import Face
from fv2v.face.find import find_face


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
    crop = clips.crop_face(clips.portrait(), 128)
    assert crop.shape == (128, 128, 3)
    face = find_face(crop)
    assert abs(face.x - 64) < 13
    assert abs(face.y - 64) < 13
    assert 0.45 < face.side / 128 < 0.65
