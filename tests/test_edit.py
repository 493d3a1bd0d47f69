"""Edits: regions, strength, still expressions, opened eyes and lips, the multiplier, for every preset.

LivePortrait's formulas are written out here from its release, number by number, as rows where it has rows.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_liveportrait import GEOMETRY, make_motion, make_source
from tiny import (
    TINIES,
    TINY,
    TINY_LIVEPORTRAIT,
    TINY_VOX,
    assert_frames_close,
    driving,
    encoded,
    lively,
    pictures,
)
from torch import Tensor

from fv2v import Edit, Motion, Reenactor, Source, View
from fv2v.edit import DRIVING_OPTIONS, REGIONS, Openness, check_edit, edited, following, placed
from fv2v.geometry import keypoints_of, place, resting
from fv2v.hull import hull_volume
from fv2v.networks import FaceVid2Vid

LIPS, EYES = (6, 12, 14, 17, 19, 20), (11, 13, 15, 16, 18)
OPEN = Openness(0.31, 0.29, 0.22)


@pytest.fixture(scope="module")
def networks() -> FaceVid2Vid:
    torch.manual_seed(0)
    return FaceVid2Vid(TINY_LIVEPORTRAIT).eval().requires_grad_(False)


@pytest.fixture(scope="module", params=[config.name for config in TINIES])
def reenactor(request) -> Reenactor:
    config = next(config for config in TINIES if config.name == request.param)
    return lively(Reenactor(config, weights="random"))


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
            R = R_d @ first.rotation @ R_s  # whose rows are those of the first's transpose
        if region in ("all", "expression"):
            exp = moved
        for k in {"lips": LIPS, "eyes": EYES}.get(region, ()):
            exp[:, k] = moved[:, k]
        if region == "all":
            s = own.scale * (driver.scale / first.scale)
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
    return placed(networks, make_source(), driver, first, None, [edit], **options).kp_driving


# LivePortrait's ways


@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
@pytest.mark.parametrize("region", REGIONS)
def test_regions_and_the_multiplier_by_hand(networks, region, relative):
    driver, first = make_motion(1), make_motion(2) if relative else None
    for multiplier in (1.0, 1.7):
        edit = Edit(region=region, multiplier=multiplier)
        expected = by_release(make_source(), driver, first, region, multiplier)
        torch.testing.assert_close(finished(networks, driver, first, edit, stitch=False), expected)


def test_the_multiplier_comes_after_stitching(networks):
    source, driver, first = make_source(), make_motion(1), make_motion(2)
    stitched = networks.retargeting.stitch(source.keypoints, by_release(source, driver, first, "all"))
    expected = source.keypoints + 0.6 * (stitched - source.keypoints)
    torch.testing.assert_close(finished(networks, driver, first, Edit(multiplier=0.6)), expected)


def test_expression_friendly_is_what_it_is_without(networks):
    """x = x_s + m (x_d - x_d0), m = sqrt(V(x_s) / V(x_d0)): x_d0 is x_s, so m is 1."""
    source, driver, first = make_source(), make_motion(1), make_motion(2)
    x_d, x_d0 = (by_release(source, motion, first, "all") for motion in (driver, first))
    volumes = [hull_volume(points[0].double().numpy()) for points in (source.keypoints, x_d0)]
    m = math.sqrt(volumes[0] / volumes[1])
    assert m == pytest.approx(1, abs=1e-5)
    for option in DRIVING_OPTIONS:
        found = finished(networks, driver, first, Edit(driving_option=option), stitch=False)
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


@pytest.mark.parametrize(("region", "keypoints"), [("lips", LIPS), ("eyes", EYES)])
def test_a_picture_drives_a_region(networks, region, keypoints):
    source, picture = make_source(), make_motion(1)
    own, anchor = source.motion, resting(picture, GEOMETRY)
    expression = own.expression.clone()
    for k in keypoints:
        expression[:, k] += picture.expression[:, k] - anchor.expression[:, k]
    found = finished(networks, picture, anchor, Edit(region=region), stitch=False)
    expected = keypoints_of(source.canonical, replace(own, expression=expression))
    torch.testing.assert_close(found, expected)


def test_opened_eyes_can_be_seen_from_the_side(networks):
    source, edit, view = make_source(), Edit(portrait=OPEN, eyes=0.1), View(yaw=20)
    turned = place(source, source.motion, view=view, geometry=GEOMETRY).kp_driving
    still = replace(source.motion, scale=source.motion.scale)
    found = placed(networks, source, make_motion(1), still, view, [edit], stitch=False).kp_driving
    delta = networks.retargeting.eye_delta(source.keypoints, torch.tensor([[0.31, 0.29, 0.1]]))
    torch.testing.assert_close(found, turned + delta)


def test_a_driver_opens_eyes_and_lips():
    points = np.random.default_rng(0).uniform(0, 256, (2, 203, 2))
    edits = list(following(Edit(portrait=OPEN, lips=0.4), points))
    for edit, face in zip(edits, points, strict=True):
        assert edit.eyes == pytest.approx(math.dist(face[6], face[18]) / math.dist(face[0], face[12]))
        assert edit.lips == 0.4
    edits = list(following(Edit(portrait=OPEN), points))
    assert edits[1].lips == pytest.approx(
        math.dist(points[1, 90], points[1, 102]) / math.dist(points[1, 48], points[1, 66])
    )
    now = Openness.of(points[0])
    assert now.right_eye == pytest.approx(
        math.dist(points[0, 30], points[0, 42]) / math.dist(points[0, 24], points[0, 36])
    )


# Every preset


def motions(reenactor: Reenactor) -> tuple[Source, Motion, Motion]:
    """A source, two frames, and an anchor."""
    motion = reenactor.extract(driving(reenactor.config, 3, seed=1))
    return encoded(reenactor), motion[:2], motion[2:]


@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
def test_an_edit_of_nothing_changes_nothing(reenactor, relative):
    source, motion, anchor = motions(reenactor)
    first = anchor if relative else None
    same = edited(motion, source.motion, first, Edit(), reenactor.config)
    for name in ("rotation", "translation", "expression", "scale"):
        assert torch.equal(getattr(same, name), getattr(motion, name))
    plain = reenactor.render(source, motion, first)
    assert torch.equal(reenactor.render(source, motion, first, edit=Edit()), plain)


def test_strength_of_groups_of_keypoints(reenactor):
    source, motion, anchor = motions(reenactor)
    edit = Edit(strength={(0, 2): 0.5, (2, 3): 0.0})
    for before in (anchor, source.motion):
        first = None if before is source.motion else anchor
        found = edited(motion, source.motion, first, edit, reenactor.config)
        change = motion.expression - before.expression
        change[:, 0] *= 0.5
        change[:, 2:4] = 0
        torch.testing.assert_close(found.expression, before.expression + change)
        assert torch.equal(found.rotation, motion.rotation)
    double = edited(motion, source.motion, anchor, Edit(strength=2.0), reenactor.config)
    torch.testing.assert_close(double.expression, 2 * motion.expression - anchor.expression)


def test_a_still_expression_is_blended_in(reenactor):
    source, motion, still = motions(reenactor)
    found = edited(motion, source.motion, None, Edit(still=still, blend=0.25), reenactor.config)
    torch.testing.assert_close(found.expression, 0.75 * motion.expression + 0.25 * still.expression)
    found = edited(motion, source.motion, None, Edit(still=still, blend={(1,): 1.0}), reenactor.config)
    expected = motion.expression.clone()
    expected[:, 1] = still.expression[:, 1]
    torch.testing.assert_close(found.expression, expected)


def test_pose_and_expression_are_what_there_is(reenactor):
    """Each alone leaves the other where the anchor, or the source, has it."""
    source, motion, anchor = motions(reenactor)
    for first in (anchor, None):
        before = source.motion if first is None else anchor
        face, head = (
            edited(motion, source.motion, first, Edit(region=region), reenactor.config)
            for region in ("expression", "pose")
        )
        assert torch.equal(face.expression, motion.expression)
        assert torch.equal(face.rotation, before.rotation.expand_as(face.rotation))
        assert torch.equal(face.translation, before.translation.expand_as(face.translation))
        assert torch.equal(head.expression, before.expression.expand_as(head.expression))
        assert torch.equal(head.rotation, motion.rotation)
        stays = reenactor.config.name == "tiny-liveportrait" and first is not None
        place = before.translation.expand_as(head.translation) if stays else motion.translation
        assert torch.equal(head.translation, place)


def test_animated_frames_are_edited(reenactor):
    source, frames = encoded(reenactor), driving(reenactor.config, 3, seed=1)
    edits = [Edit(), Edit(strength=3.0), Edit(multiplier=0.0)]
    plain = list(reenactor.animate(source, frames))
    mixed = list(reenactor.animate(source, frames, edit=iter(edits), batch_size=2))
    assert_frames_close(mixed[:1], plain[:1])
    for i, edit in enumerate(edits):
        alone = list(reenactor.animate(source, frames, edit=edit))
        assert_frames_close(mixed[i : i + 1], alone[i : i + 1])
    assert not np.array_equal(mixed[1], plain[1])
    with pytest.raises(
        ValueError, match=r"an edit for each frame, but the edits ended after 1; give one Edit"
    ):
        list(reenactor.animate(source, frames, edit=iter(edits[:1])))


def test_a_multiplier_of_zero_is_the_portrait():
    reenactor = lively(Reenactor(TINY_VOX, weights="random"))
    source, motion, _ = motions(reenactor)
    still = reenactor.render(source, source.motion)
    shown = reenactor.render(source, motion, edit=Edit(multiplier=0.0))
    torch.testing.assert_close(shown, still.expand_as(shown), rtol=0, atol=1e-5)


def test_a_picture_is_imitated_by_halves():
    reenactor = lively(Reenactor(TINY_LIVEPORTRAIT, weights="random"))
    source, picture = reenactor.encode(pictures(1)[0]), pictures(1, seed=1)[0]
    none = reenactor.imitate(source, picture, edit=Edit(strength=0.0))
    still = reenactor.imitate(source, picture, edit=Edit(region="pose"))
    assert_frames_close([none], [still])
    assert not np.array_equal(none, reenactor.imitate(source, picture))


# What does not fit


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"region": "nose"}, "expected a region, one of all, expression, pose, lips, eyes; got 'nose'"),
        ({"strength": math.nan}, "expected finite strength"),
        ({"blend": {"lips": math.inf}}, "expected finite strength"),
        ({"multiplier": math.inf}, "expected finite"),
        ({"eyes": 0.3}, r"expected portrait=Openness\(left_eye, right_eye, lips\)"),
        ({"normalize_lips": True}, "expected portrait=Openness"),
        ({"lips": -0.1, "portrait": OPEN}, r"at least 0; got \(-0\.1,\)"),
        ({"driving_option": "friendly"}, "'expression-friendly' or 'pose-friendly', got 'friendly'"),
    ],
)
def test_an_edit_that_means_nothing_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        Edit(**wrong)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (Edit(eyes=0.3, portrait=OPEN), "'tiny' has no networks that open eyes and lips, as liveportrait"),
        (Edit(region="lips"), r"'tiny' has no keypoints known as 'lips': give their numbers, as \(0, 3\)"),
        (Edit(strength={(0, 5): 1.0}), r"expected keypoints from 0 to 4, got \(0, 5\)"),
        (Edit(still=make_motion(1)), r"one frame with 5 keypoints, got expression \(1, 21, 3\)"),
        (View(), "expected an Edit, got View"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(edit, told):
    with pytest.raises(ValueError, match=told):
        check_edit(edit, TINY)


def test_edits_are_looked_at_before_a_frame_is_read():
    reenactor = Reenactor(TINY_LIVEPORTRAIT, weights="random")
    source, motion, _ = motions(reenactor)
    with pytest.raises(ValueError, match="one of lips, eyes, brows; got 'ears'"):
        reenactor.animate(source, pictures(1), edit=Edit(strength={"ears": 0.0}))
    with pytest.raises(ValueError, match="expected an Edit, or an iterable of them, got 3"):
        reenactor.animate(source, pictures(1), edit=3)
    with pytest.raises(ValueError, match="one for each of 2 frames of one source, got 3"):
        reenactor.render(source, motion, edit=[Edit()] * 3)
