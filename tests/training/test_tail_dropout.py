# SPDX-License-Identifier: Apache-2.0
"""Ordered keypoints: the last ones of a drawn share do not move while a model trains."""

import pytest
import torch
from runs import CPU, learner, pairs
from tiny import TINY, TINY_LIVEPORTRAIT

from fv2v.geometry import Placement
from fv2v.training.objective import without_last
from fv2v.training.randomness import StepRandomness


def test_shares_are_drawn_up_to_the_largest():
    def draw(step: int, largest: float) -> StepRandomness:
        return StepRandomness.of_step(0, step, 400, 0.0, CPU.device, torch.float32, largest)

    drawn = draw(0, 0.75)
    assert draw(0, 0.0).dropped is None
    assert drawn.dropped.min() >= 0
    assert 0.7 < drawn.dropped.max() <= 0.75
    assert torch.equal(draw(0, 0.75).dropped, drawn.dropped)
    assert not torch.equal(draw(1, 0.75).dropped, drawn.dropped)
    assert torch.equal(draw(0, 0.0).warp.linear, drawn.warp.linear)  # nothing else is drawn otherwise


@pytest.mark.parametrize("shape", [None, (3, 3, 3), (3, 5, 3, 3)], ids=["none", "shared", "each"])
def test_the_last_keypoints_stay(shape):
    source, driving = torch.randn(2, 3, 5, 3)
    affine = None if shape is None else torch.randn(shape)
    held = without_last(Placement(driving, affine), source, torch.tensor([0.0, 0.5, 0.75]))
    every = None if affine is None else affine.view(3, -1, 3, 3).expand(3, 5, 3, 3)
    for row, kept in enumerate((5, 3, 2)):  # shares of 5 keypoints, rounded down
        assert torch.equal(held.kp_driving[row, :kept], driving[row, :kept])
        assert torch.equal(held.kp_driving[row, kept:], source[row, kept:])
        if every is not None:
            assert torch.equal(held.affine[row, :kept], every[row, :kept])
            assert torch.equal(held.affine[row, kept:], torch.eye(3).expand(5 - kept, 3, 3))


@pytest.mark.parametrize("config", [TINY, TINY_LIVEPORTRAIT], ids=lambda config: config.name)
def test_a_step_renders_without_them(monkeypatch, config):
    learning = learner(model=config, tail_dropout=0.75)
    batch = pairs(2, config.output_size)
    drawn = learning._randomness(0, 2, 0)
    seen = []
    render = learning.model.render

    def watched(source, placement):
        seen.append((source, placement))
        return render(source, placement)

    monkeypatch.setattr(learning.model, "render", watched)
    learning.objective(batch.scaled(CPU.device), drawn)
    (source, placement), K = seen[0], config.keypoints
    for row, share in enumerate(drawn.dropped.tolist()):
        kept = K - int(share * K)
        assert torch.equal(placement.kp_driving[row, kept:], source.keypoints[row, kept:])
        assert not torch.equal(placement.kp_driving[row, :kept], source.keypoints[row, :kept])
