# SPDX-License-Identifier: Apache-2.0
"""Edits of motion, for every preset: strength, still expressions, regions; and what is refused."""

import math

import numpy as np
import pytest
import torch
from liveportrait_cases import make_motion
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

from fv2v import Edit, Motion, Reenactor, Source, View
from fv2v.motion.edit import check_edit
from fv2v.motion.ratios import Openness
from fv2v.motion.smoothing import SteadyMotion
from fv2v.reenactor.placement import apply_edit

OPEN = Openness(0.31, 0.29, 0.22)


@pytest.fixture(scope="module", params=[config.name for config in TINIES])
def reenactor(request) -> Reenactor:
    config = next(config for config in TINIES if config.name == request.param)
    return lively(Reenactor(config, weights="random"))


def motions(reenactor: Reenactor) -> tuple[Source, Motion, Motion]:
    """A source, two frames, and an anchor."""
    motion = reenactor.extract(driving(reenactor.config, 3, seed=1))
    return encoded(reenactor), motion[:2], motion[2:]


@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
def test_an_edit_of_nothing_changes_nothing(reenactor, relative):
    source, motion, anchor = motions(reenactor)
    first = anchor if relative else None
    same = apply_edit(motion, source.motion, first, Edit(), reenactor.config)
    for name in ("rotation", "translation", "expression", "scale"):
        assert torch.equal(getattr(same, name), getattr(motion, name))
    plain = reenactor.render(source, motion, first)
    assert torch.equal(reenactor.render(source, motion, first, edit=Edit()), plain)


def test_strength_of_groups_of_keypoints(reenactor):
    source, motion, anchor = motions(reenactor)
    edit = Edit(strength={(0, 2): 0.5, (2, 3): 0.0})
    for before in (anchor, source.motion):
        first = None if before is source.motion else anchor
        found = apply_edit(motion, source.motion, first, edit, reenactor.config)
        change = motion.expression - before.expression
        change[:, 0] *= 0.5
        change[:, 2:4] = 0
        torch.testing.assert_close(found.expression, before.expression + change)
        assert torch.equal(found.rotation, motion.rotation)
    double = apply_edit(motion, source.motion, anchor, Edit(strength=2.0), reenactor.config)
    torch.testing.assert_close(double.expression, 2 * motion.expression - anchor.expression)


def test_a_still_expression_is_blended_in(reenactor):
    source, motion, still = motions(reenactor)
    found = apply_edit(motion, source.motion, None, Edit(still=still, blend=0.25), reenactor.config)
    torch.testing.assert_close(found.expression, 0.75 * motion.expression + 0.25 * still.expression)
    found = apply_edit(motion, source.motion, None, Edit(still=still, blend={(1,): 1.0}), reenactor.config)
    expected = motion.expression.clone()
    expected[:, 1] = still.expression[:, 1]
    torch.testing.assert_close(found.expression, expected)


def test_pose_and_expression_are_what_there_is(reenactor):
    """Each alone leaves the other where the anchor, or the source, has it."""
    source, motion, anchor = motions(reenactor)
    for first in (anchor, None):
        before = source.motion if first is None else anchor
        face, head = (
            apply_edit(motion, source.motion, first, Edit(region=region), reenactor.config)
            for region in ("expression", "pose")
        )
        assert torch.equal(face.expression, motion.expression)
        assert torch.equal(face.rotation, before.rotation.expand_as(face.rotation))
        assert torch.equal(face.translation, before.translation.expand_as(face.translation))
        assert torch.equal(head.expression, before.expression.expand_as(head.expression))
        assert torch.equal(head.rotation, motion.rotation)
        assert torch.equal(head.translation, motion.translation)


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


def test_motion_in_place_of_frames_and_steady_motion_are_edited(reenactor):
    source, frames = encoded(reenactor), driving(reenactor.config, 3, seed=1)
    motion, edit = reenactor.extract(frames), Edit(strength=3.0)
    assert_frames_close(
        list(reenactor.animate(source, motion, edit=edit)), list(reenactor.animate(source, frames, edit=edit))
    )
    steady = reenactor.animate(source, frames, edit=edit, steady=SteadyMotion())
    expected = reenactor.animate(source, SteadyMotion().run(motion), edit=edit)
    assert_frames_close(list(steady), list(expected))


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
    ("wrong", "message"),
    [
        ({"region": "nose"}, "expected a region, one of all, expression, pose, lips, eyes; got 'nose'"),
        ({"strength": math.nan}, "expected finite strength"),
        ({"blend": {"lips": math.inf}}, "expected finite strength"),
        ({"multiplier": math.inf}, "expected finite"),
        ({"eyes": 0.3}, r"expected portrait=Openness\(left_eye, right_eye, lips\)"),
        ({"normalize_lips": True}, "expected portrait=Openness"),
        ({"lips": -0.1, "portrait": OPEN}, r"at least 0; got \(-0\.1,\)"),
    ],
)
def test_an_edit_that_means_nothing_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Edit(**wrong)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit(eyes=0.3, portrait=OPEN), "'tiny' has no networks that open eyes and lips, as liveportrait"),
        (Edit(region="lips"), r"'tiny' has no keypoints known as 'lips': give their numbers, as \(0, 3\)"),
        (Edit(strength={(0, 5): 1.0}), r"expected keypoints from 0 to 4, got \(0, 5\)"),
        (Edit(still=make_motion(1)), r"one frame with 5 keypoints, got expression \(1, 21, 3\)"),
        (View(), "expected an Edit, got View"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(edit, message):
    with pytest.raises(ValueError, match=message):
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
