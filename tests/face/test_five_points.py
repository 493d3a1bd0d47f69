# SPDX-License-Identifier: Apache-2.0
"""The release's crop by five points of a face, where 106 landmarks are not to be had."""

import math

import numpy as np
import pytest
import torch

from fv2v.data.synthetic import LANDMARKS, Expression, Identity, Pose, truth
from fv2v.face.detectors.base import Face
from fv2v.face.landmarks import (
    DRIVING_SCALE,
    DRIVING_VY,
    FIVE_DOWN,
    FIVE_EXTENT,
    SCALE,
    VY,
    eye_and_lip,
    square_around,
    square_by_five,
)
from fv2v.face.portrait import FaceChoice, crop_portrait
from fv2v.io.image import write_image

# In pixels of each picture: five points as libfacedetection marks them; and, marked by eye, what of the set
# of 106 lies outermost: the outline beside the eyes, the highest point of the brows, the chin.
PAINTINGS = {
    "Mona Lisa": (
        [(303, 297), (391, 293), (333, 351), (310, 393), (380, 390)],
        [(270, 315), (467, 325), (372, 268), (345, 459)],
    ),
    "Girl with a Pearl Earring": (
        [(379, 510), (498, 515), (396, 595), (385, 663), (481, 663)],
        [(343, 533), (661, 640), (363, 453), (464, 456), (446, 768)],
    ),
    "La Velata": (
        [(201, 271), (266, 271), (212, 322), (205, 363), (262, 356)],
        [(171, 295), (356, 320), (280, 244), (182, 247), (255, 421)],
    ),
}
# How much closer together than the truth libfacedetection's points are, in the mean of ten drawn heads.
CLOSER = 1.07
OF_FIVE = ["iris_left", "iris_right", "nose", "lip_left", "lip_right"]
OF_HEIGHT = ["brow_inner_left", "brow_inner_right", "brow_outer_left", "brow_outer_right", "chin"]


def box(five: np.ndarray, outline: np.ndarray) -> tuple[float, float]:
    """Side of the box around the outline, and how far down its middle is, in sides of the box around five."""
    eye, lip = eye_and_lip(five)
    down = (lip - eye) / math.dist(lip, eye)
    axes = np.stack([(down[1], -down[0]), down], axis=1)
    few, many = five @ axes, outline @ axes
    side = np.ptp(few, axis=0).max()
    shift = (many.max(axis=0) + many.min(axis=0) - few.max(axis=0) - few.min(axis=0)) / 2
    return float(np.ptp(many, axis=0).max() / side), float(shift[1] / side)


def drawn_heads(yaw: float) -> list[tuple[float, float]]:
    """Of 40 drawn heads. Their ears stand out farther than any outline of landmarks: heights alone count."""
    count = 40
    identity = Identity.sample(np.random.default_rng(0), count)
    pose = Pose.at(*torch.tensor([[0.0], [yaw], [0.0]]).repeat(1, count))
    canonical, motion = truth(identity, Expression.neutral(count), pose)
    points = (canonical @ motion.rotation.mT + motion.translation[:, None] + motion.expression)[..., :2]
    five, outline = (
        points[:, [LANDMARKS.index(name) for name in names]].double().numpy()
        for names in (OF_FIVE, OF_HEIGHT)
    )
    return [box(*each) for each in zip(five, outline, strict=True)]


def test_the_factors_are_those_of_drawn_heads_and_paintings():
    painted = np.array([box(*map(np.array, marks)) for marks in PAINTINGS.values()])
    drawn = np.array([*drawn_heads(0), *drawn_heads(25)]) * (CLOSER, 1)
    means = (painted.mean(axis=0) + drawn.mean(axis=0)) / 2
    assert means == pytest.approx((FIVE_EXTENT, FIVE_DOWN), abs=0.04)
    for each in (*painted, *drawn):
        assert each[0] == pytest.approx(FIVE_EXTENT, rel=0.2)
        assert each[1] == pytest.approx(FIVE_DOWN, abs=0.15)


@pytest.mark.parametrize("turned", [0.0, 0.4, -2.5])
@pytest.mark.parametrize("name", PAINTINGS)
def test_the_square_is_about_that_of_the_outline_and_turned_as_it(name, turned):
    turn = np.array([[math.cos(turned), math.sin(turned)], [-math.sin(turned), math.cos(turned)]])
    five, outline = (np.array(marks) @ turn for marks in PAINTINGS[name])
    made = square_by_five(five)
    assert made.angle == pytest.approx(square_around(five).angle)
    extent, _ = box(five, outline)
    assert made.side == pytest.approx(SCALE * extent * square_around(five, 1.0, 0.0).side, rel=0.1)
    eye, lip = eye_and_lip(five)
    axis = (lip - eye) / math.dist(lip, eye)
    along = (outline @ axis).max() / 2 + (outline @ axis).min() / 2
    assert np.array(made.centre) @ axis == pytest.approx(along + VY * made.side, abs=0.05 * made.side)


def test_a_portrait_is_cut_by_the_points_that_a_detector_gives(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (800, 700, 3), np.uint8)
    write_image(tmp_path / "picture.png", picture)
    five = np.array(PAINTINGS["Girl with a Pearl Earring"][0], float)

    def detector(image, frame=0, near=None):
        return [Face(330, 620, 400, points=points) for points in found]

    choice = FaceChoice(detector=detector, by_points=True)
    found = [five]
    framed = crop_portrait(tmp_path / "picture.png", face=choice)
    assert framed.crop == square_by_five(five)
    assert framed.image.shape == (512, 512, 3)
    driver = crop_portrait(tmp_path / "picture.png", face=choice, drives=True).crop
    wanted = square_by_five(five, DRIVING_SCALE, DRIVING_VY)
    assert (driver.centre, driver.side, driver.angle) == (wanted.centre, wanted.side, 0)
    found = [None]
    boxed = crop_portrait(tmp_path / "picture.png", face=choice)
    assert boxed.crop == crop_portrait(tmp_path / "picture.png", face=FaceChoice(detector=detector)).crop
