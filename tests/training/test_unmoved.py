# SPDX-License-Identifier: Apache-2.0
"""Pairs in which nothing moves, and the flow of detail: what training makes of them."""

from dataclasses import replace

import pytest
import torch
from runs import CPU, PIXELS, config, learner, pairs, truth
from tiny import TINY, TINY_DETAIL

from fv2v.data.pairs import Pairs
from fv2v.training.build import starting_model
from fv2v.training.randomness import StepRandomness

CHOSEN = torch.tensor([True, False, True])


def test_a_share_of_pairs_is_drawn():
    def draw(step: int, share: float) -> StepRandomness:
        return StepRandomness.of_step(0, step, 400, 0.5, CPU.device, torch.float32, unmoved=share)

    drawn = draw(0, 0.25)
    assert draw(0, 0.0).unmoved is None
    assert 60 < drawn.unmoved.sum() < 140
    assert not torch.equal(draw(1, 0.25).unmoved, drawn.unmoved)
    assert torch.equal(draw(0, 0.0).teacher_forced, drawn.teacher_forced)  # nothing else is drawn otherwise


def test_the_source_drives_itself():
    """Its picture and its true motion, of the chosen pairs alone."""
    plain = pairs(3)
    known = Pairs(plain.source, plain.driving, truth(3))
    still = known.unmoved(CHOSEN)
    for row, chosen in enumerate(CHOSEN):
        before = known.source if chosen else known.driving
        motion = known.truth.source if chosen else known.truth.driving
        assert torch.equal(still.driving[row], before[row])
        assert torch.equal(still.truth.driving.expression[row], motion.expression[row])
        assert torch.equal(still.truth.driving.rotation[row], motion.rotation[row])
    assert torch.equal(still.source, known.source)
    assert torch.equal(still.truth.canonical, known.truth.canonical)
    assert plain.unmoved(CHOSEN).truth is None


def test_a_step_learns_from_the_source_alone_where_nothing_moves():
    """Whatever the driving frames were, the terms are the same."""
    values = {"model": TINY_DETAIL, "losses": replace(PIXELS, moved_source=1.0), "unmoved": 1.0}
    first, second = (
        learner(**values).step(0, [Pairs(pairs(2).source, pairs(2, seed=seed).source)]).values
        for seed in (1, 2)
    )
    assert first == second
    assert {"reconstruction", "moved_source"} <= set(first)


def test_models_without_detail_have_no_such_flow(tmp_path):
    wanted = config(tmp_path, model=TINY, losses=replace(PIXELS, moved_source=1.0))
    with pytest.raises(ValueError, match=r"losses\.moved_source: expected 0, as 'tiny' has no detail"):
        starting_model(wanted)
