# SPDX-License-Identifier: Apache-2.0
"""What is told of faces that are turned, covered or cut off; and nothing of those that are plain to see."""

import clips
import numpy as np
import pytest
from posed_faces import WALL, covered, cut_off, drawn, painted, placed

from fv2v.extras import installed
from fv2v.face import visibility
from fv2v.face.detectors.base import Face
from fv2v.face.detectors.choice import find_faces
from fv2v.face.portrait import crop_portrait
from fv2v.io.image import read_image, write_image
from fv2v.pipelines.inspect import inspect

SIZE = (100, 200)
needs_points = pytest.mark.skipif(not installed("yuface"), reason="yuface, which gives points, is absent")


def test_the_share_outside_the_picture():
    assert visibility.outside(Face(100, 50, 60), SIZE) == 0
    assert visibility.outside(Face(0, 50, 60), SIZE) == pytest.approx(0.5)
    assert visibility.outside(Face(200, 100, 60), SIZE) == pytest.approx(0.75)
    assert visibility.outside(Face(100, 50, 200), SIZE) == pytest.approx(0.5)


def test_a_box_alone_tells_little():
    face = Face(100, 50, 60, 0.5)
    assert visibility.yaw(face) is None
    assert visibility.covered(face) is None
    assert visibility.remarks(face, SIZE) == []


@needs_points
@pytest.mark.parametrize("yaw", [0, -40, 60])
def test_how_far_a_head_is_turned(yaw):
    found = [find_faces(placed(drawn(number, yaw)).picture)[0] for number in range(4)]
    assert np.mean([visibility.yaw(face) for face in found]) == pytest.approx(abs(yaw), abs=8)


@needs_points
def test_profiles_and_covered_faces_are_told_of():
    profiles = [find_faces(placed(drawn(number, -80)).picture)[0] for number in range(4)]
    assert all("the head is turned by about" in visibility.remarks(face, (480, 640))[0] for face in profiles)
    hidden = [find_faces(covered(placed(drawn(number))).picture)[0] for number in range(4)]
    shares = [visibility.covered(face) for face in hidden]
    bare = [visibility.covered(find_faces(placed(drawn(number)).picture)[0]) for number in range(4)]
    assert np.mean(shares) > 0.2
    assert max(bare) < 0.1


@needs_points
@pytest.mark.parametrize("name", ["mona_lisa.jpg", "pearl_earring.jpg", "velata.jpg", "small_face.jpg"])
def test_nothing_is_told_of_portraits(name):
    assert crop_portrait(clips.real(name)).remarks == ()


@pytest.mark.slow
@needs_points
def test_inspect_tells_of_both_faces(tmp_path, fv2v):
    portrait, driving, sheet = (tmp_path / name for name in ("portrait.png", "driving.png", "sheet.png"))
    write_image(portrait, cut_off(placed(painted()), 0.4).picture)
    write_image(driving, placed(drawn(0, -80)).picture)
    report = inspect(portrait, driving, sheet, "starter")
    assert (report.output, report.frames, report.missing) == (sheet, 1, 0)
    first, second = report.notes
    assert first.startswith("the portrait: ")
    assert first.endswith("of the face lies outside the picture: that part is guessed")
    assert second.startswith("driving: the head is turned by about ")
    code, out, err = fv2v("inspect", portrait, driving, "-o", sheet, "--overwrite", "-p", "starter")
    assert (code, out) == (0, f"{sheet}: written\n")
    assert f"fv2v: note: {first}\n" in err
    write_image(driving, np.full((64, 64, 3), WALL, np.uint8))
    report = inspect(portrait, driving, sheet, "starter", crop=False)
    assert report.missing == 1
    assert "driving: no face found" in report.notes
    assert read_image(sheet).size
