# SPDX-License-Identifier: Apache-2.0
"""What a report tells of driving frames in which the face is turned away or covered."""

import clips
import numpy as np
import pytest
from posed_faces import covered, drawn, placed
from tiny import TINY_VOX

from fv2v.extras import installed
from fv2v.pipelines.driving import DrivingVideo

pytestmark = pytest.mark.skipif(not installed("yuface"), reason="yuface, which gives points, is absent")
FRONT, SIDE, BOARD = placed(drawn(1)), placed(drawn(1, 75)), covered(placed(drawn(1)))


def notes(path, *shots):
    clips.write_clip(path, np.stack([shot.picture for shot, frames in shots for _ in range(frames)]))
    driver = DrivingVideo(path, True, 1)
    frames = sum(1 for _ in driver.crops(TINY_VOX))
    assert frames == sum(frames for _, frames in shots)
    return driver.notes


def test_a_face_that_is_plain_to_see_has_no_note(tmp_path):
    assert notes(tmp_path / "plain.mp4", (FRONT, 15)) == []


@pytest.mark.parametrize(
    ("shot", "told"),
    [
        (SIDE, "turned by more than 60 degrees in {} frames (at {}): half of it is guessed"),
        (BOARD, "partly covered in {} frames (at {}): what covers it moves as skin does"),
    ],
    ids=["turned", "covered"],
)
def test_when_it_is_not_is_told(shot, told, tmp_path):
    (note,) = notes(tmp_path / "hidden.mp4", (FRONT, 12), (shot, 25), (FRONT, 12))
    count = int(note.split(" frames")[0].split()[-1])
    assert 15 <= count <= 32
    begin, end = map(float, note.split("(at ")[1].split(" s)")[0].split("-"))
    assert begin == pytest.approx(12 / 25, abs=0.3)
    assert end == pytest.approx(37 / 25, abs=0.4)
    assert note.endswith(told.format(count, note.split("(at ")[1].split("):")[0]))
