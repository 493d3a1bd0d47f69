# SPDX-License-Identifier: Apache-2.0
"""LivePortrait's edits against its release's formulas, written out here, with rows where it has rows."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from liveportrait_cases import GEOMETRY, make_motion, make_source
from tiny import TINY_LIVEPORTRAIT, lively, pictures
from torch import Tensor

from fv2v import Edit, Motion, Reenactor, Source, View
from fv2v.geometry import keypoints_of, place, resting
from fv2v.geometry.hull import hull_volume
from fv2v.geometry.liveportrait import LIPS_AT_REST
from fv2v.io.tensors import to_uint8
from fv2v.motion.edit import REGIONS, following
from fv2v.motion.ratios import Openness, read_openness
from fv2v.networks import FaceVid2Vid
from fv2v.reenactor.placement import FrameInputs, place_edited

LIPS, EYES = (6, 12, 14, 17, 19, 20), (11, 13, 15, 16, 18)
OPEN = Openness(0.31, 0.29, 0.22)


@pytest.fixture(scope="module")
def networks() -> FaceVid2Vid:
    torch.manual_seed(0)
    return FaceVid2Vid(TINY_LIVEPORTRAIT).eval().requires_grad_(False)


def by_release(
    source: Source, driver: Motion, first: Motion | None, region: str, multiplier: float = 1.0
) -> Tensor:
    """LivePortrait's keypoints (1, 21, 3), unstitched: relative to `first`, or absolute without one."""
    own = source.motion
    R_s, R_d = own.rotation.mT, driver.rotation.mT  # rows
    R, t, s, exp = R_s, own.translation.clone(), own.scale, own.expression.clone()
    if first is not None:
        moved = own.expression + (driver.expression - first.expression)
        if region in ("all", "pose"):
            R = R_d @ first.rotation @ R_s  # in the middle, rows of the first's transpose
        if region in ("all", "expression"):
            exp = moved
        for k in {"lips": LIPS, "eyes": EYES}.get(region, ()):
            exp[:, k] = moved[:, k]
        if region == "all":
            s = own.scale * (driver.scale / first.scale)
        if region in ("all", "pose"):
            t = own.translation + (driver.translation - first.translation)
    else:
        if region in ("all", "pose"):
            R, t = R_d, driver.translation.clone()
        if region in ("all", "expression"):
            for k in (1, 2, 6, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20):
                exp[:, k] = driver.expression[:, k]
            exp[:, 3:5, 1] = driver.expression[:, 3:5, 1]
            exp[:, 5, 2] = driver.expression[:, 5, 2]
            exp[:, 8, 2] = driver.expression[:, 8, 2]
            exp[:, 9, 1:] = driver.expression[:, 9, 1:]
        for k in {"lips": LIPS, "eyes": EYES}.get(region, ()):
            exp[:, k] = driver.expression[:, k]
    t[:, 2] = 0
    x_d = s[..., None] * (source.canonical @ R + exp) + t[:, None]
    return source.keypoints + multiplier * (x_d - source.keypoints)


def finished(networks: FaceVid2Vid, driver: Motion, first: Motion | None, edit: Edit, **options) -> Tensor:
    frames = FrameInputs(make_source(), driver, first, **options)
    return place_edited(networks, frames, [edit]).kp_driving


@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
@pytest.mark.parametrize("region", REGIONS)
def test_regions_and_the_multiplier_by_hand(networks, region, relative):
    driver, first = make_motion(1), make_motion(2) if relative else None
    for multiplier in (1.0, 1.7):
        edit = Edit(region=region, multiplier=multiplier)
        expected = by_release(make_source(), driver, first, region, multiplier)
        torch.testing.assert_close(finished(networks, driver, first, edit, stitch=False), expected)


@pytest.mark.parametrize("moved", [(0.3, 0.0), (0.0, -0.2), (-0.15, 0.25)])
@pytest.mark.parametrize(("region", "follows"), [("pose", True), ("expression", False), ("eyes", False)])
def test_the_pose_carries_the_head_along(networks, region, follows, moved):
    """As far as the driver has moved since its first frame, wherever that was."""
    first = make_motion(2)
    shift = torch.tensor([[*moved, 0.0]])
    driver = replace(first, translation=first.translation + shift)
    found = finished(networks, driver, first, Edit(region=region), stitch=False)
    there = make_source().keypoints + (shift[:, None] if follows else 0)
    torch.testing.assert_close(found, there, rtol=0, atol=1e-6)


def test_the_multiplier_comes_after_stitching(networks):
    source, driver, first = make_source(), make_motion(1), make_motion(2)
    stitched = networks.retargeting.stitch(source.keypoints, by_release(source, driver, first, "all"))
    expected = source.keypoints + 0.6 * (stitched - source.keypoints)
    torch.testing.assert_close(finished(networks, driver, first, Edit(multiplier=0.6)), expected)


def test_the_releases_expression_friendly_option_changes_nothing(networks):
    """x = x_s + m (x_d - x_d0), m = sqrt(V(x_s) / V(x_d0)): x_d0 is x_s, so m is 1."""
    source, driver, first = make_source(), make_motion(1), make_motion(2)
    x_d, x_d0 = (by_release(source, motion, first, "all") for motion in (driver, first))
    volumes = [hull_volume(points[0].double().numpy()) for points in (source.keypoints, x_d0)]
    m = math.sqrt(volumes[0] / volumes[1])
    assert m == pytest.approx(1, abs=1e-5)
    found = finished(networks, driver, first, Edit(), stitch=False)
    torch.testing.assert_close(found, source.keypoints + m * (x_d - x_d0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
def test_eyes_and_lips_open_as_asked(networks, relative):
    source, driver = make_source(), make_motion(1)
    first = make_motion(2) if relative else None
    x_s, small = source.keypoints, networks.retargeting
    eyes = small.eye_delta(x_s, torch.tensor([[0.31, 0.29, 0.12]]))
    lips = small.lip_delta(x_s, torch.tensor([[0.22, 0.05]]))
    x_d = x_s if relative else by_release(source, driver, None, "all")  # relative motion is dropped
    for edit, delta in (
        (Edit(portrait=OPEN, eyes=0.12), eyes),
        (Edit(portrait=OPEN, lips=0.05), lips),
        (Edit(portrait=OPEN, eyes=0.12, lips=0.05, normalize_lips=True), eyes + lips),
    ):
        torch.testing.assert_close(finished(networks, driver, first, edit, stitch=False), x_d + delta)
        expected = small.stitch(x_s, x_d + delta)
        torch.testing.assert_close(finished(networks, driver, first, edit), expected)


@pytest.mark.parametrize(("lips", "closes"), [(0.03, True), (0.029, False)])
def test_open_lips_are_closed_first(networks, lips, closes):
    source, driver, first = make_source(), make_motion(1), make_motion(2)
    edit = Edit(normalize_lips=True, portrait=replace(OPEN, lips=lips), multiplier=1.2)
    x_s, small = source.keypoints, networks.retargeting
    x_d = small.stitch(x_s, by_release(source, driver, first, "all"))
    if closes:
        x_d = x_d + small.lip_delta(x_s, torch.tensor([[lips, 0.0]]))
    torch.testing.assert_close(finished(networks, driver, first, edit), x_s + 1.2 * (x_d - x_s))
    absolute = finished(networks, driver, None, edit)
    torch.testing.assert_close(absolute, finished(networks, driver, None, Edit(multiplier=1.2)))


@pytest.mark.parametrize(
    ("region", "keypoints", "rest"),
    [
        ("lips", LIPS, torch.tensor(LIPS_AT_REST)),
        ("eyes", EYES, torch.zeros(21, 3)),  # the release subtracts nothing there
        ("expression", range(21), torch.tensor(LIPS_AT_REST)),
        ("all", range(21), torch.tensor(LIPS_AT_REST)),
        ("pose", (), torch.tensor(LIPS_AT_REST)),
    ],
)
def test_a_picture_drives_a_region(networks, region, keypoints, rest):
    source, picture = make_source(), make_motion(1)
    own, anchor = source.motion, resting(picture, GEOMETRY, region)
    expression = own.expression.clone()
    for k in keypoints:
        expression[:, k] += picture.expression[:, k] - rest[k]
    found = finished(networks, picture, anchor, Edit(region=region), stitch=False)
    expected = keypoints_of(source.canonical, replace(own, expression=expression))
    torch.testing.assert_close(found, expected)


def test_an_imitated_picture_is_measured_against_what_its_region_has():
    reenactor = lively(Reenactor(TINY_LIVEPORTRAIT, weights="random"))
    source, picture = reenactor.encode(pictures(1)[0]), pictures(1, seed=1)[0]
    motion = reenactor.extract(picture)
    for region, rest in (("eyes", torch.zeros(1, 21, 3)), ("lips", torch.tensor(LIPS_AT_REST)[None])):
        edit = Edit(region=region, strength=4.0)
        shown = reenactor.imitate(source, picture, edit=edit)
        expected = reenactor.render(source, motion, replace(motion, expression=rest), edit=edit)
        assert np.abs(shown.astype(int) - to_uint8(expected)[0].numpy()).max() <= 1


def test_opened_eyes_can_be_seen_from_the_side(networks):
    source, edit, view = make_source(), Edit(portrait=OPEN, eyes=0.1), View(yaw=20)
    turned = place(source, source.motion, view=view, geometry=GEOMETRY).kp_driving
    still = replace(source.motion, scale=source.motion.scale)
    frames = FrameInputs(source, make_motion(1), still, view, stitch=False)
    found = place_edited(networks, frames, [edit]).kp_driving
    delta = networks.retargeting.eye_delta(source.keypoints, torch.tensor([[0.31, 0.29, 0.1]]))
    torch.testing.assert_close(found, turned + delta)


def ratio(face: np.ndarray, *points: int) -> float:
    top, bottom, left, right = face[list(points)]
    return math.dist(top, bottom) / (math.dist(left, right) + 1e-6)


def test_a_driver_opens_eyes_and_lips(tmp_path):
    faces = np.random.default_rng(0).uniform(0, 256, (2, 203, 2))
    np.save(tmp_path / "faces.npy", faces)
    driver = read_openness(tmp_path / "faces.npy")
    for now, face in zip(driver, faces, strict=True):
        assert now.left_eye == pytest.approx(ratio(face, 6, 18, 0, 12))
        assert now.right_eye == pytest.approx(ratio(face, 30, 42, 24, 36))
        assert now.lips == pytest.approx(ratio(face, 90, 102, 48, 66))
    edits = list(following(Edit(portrait=OPEN, lips=0.4), driver, lips=False))
    assert [(edit.eyes, edit.lips) for edit in edits] == [(now.left_eye, 0.4) for now in driver]
    edits = list(following(Edit(portrait=OPEN), driver, eyes=False))
    assert [(edit.eyes, edit.lips) for edit in edits] == [(None, now.lips) for now in driver]


def test_openness_in_files(tmp_path):
    np.save(tmp_path / "one.npy", [0.25, 0.5, 0.125])
    assert read_openness(tmp_path / "one.npy") == [Openness(0.25, 0.5, 0.125)]
    np.save(tmp_path / "more.npy", np.zeros((2, 3)))
    assert read_openness(tmp_path / "more.npy") == [Openness(0, 0, 0)] * 2
    np.save(tmp_path / "few.npy", np.zeros((68, 2)))
    with pytest.raises(ValueError, match=r"few.npy: expected landmarks \(203, 2\) or .*; got \(68, 2\)"):
        read_openness(tmp_path / "few.npy")
    (tmp_path / "text.npy").write_text("no numbers")
    with pytest.raises(ValueError, match=r"text.npy: no .npy file of numbers"):
        read_openness(tmp_path / "text.npy")
