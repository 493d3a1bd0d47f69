# SPDX-License-Identifier: Apache-2.0
"""Batches of pairs, and the order in which they are drawn."""

from collections import Counter

import pytest
import torch

from fv2v.data.pairs import Pairs, Truth, draws
from fv2v.geometry import Motion


def pair(seed: int, *, truth: bool = False) -> Pairs:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(256, (2, 1, 3, 4, 4), generator=generator, dtype=torch.uint8)
    shapes = ((1, 3, 3), (1, 3), (1, 5, 3), (1, 1))
    source, driving = (Motion(*(torch.randn(s, generator=generator) for s in shapes)) for _ in range(2))
    return Pairs(*pictures, Truth(torch.randn(1, 5, 3), source, driving) if truth else None)


def test_pairs_become_a_batch_and_travel_with_their_truth():
    singles = [pair(seed, truth=True) for seed in range(3)]
    batch = Pairs.cat(singles).scaled(torch.device("cpu"), torch.float64)
    assert len(batch) == 3
    for i, each in enumerate(singles):
        torch.testing.assert_close(batch.source[i : i + 1], each.source.double() / 255)
        torch.testing.assert_close(batch.driving[i : i + 1], each.driving.double() / 255)
        assert torch.equal(batch.truth.canonical[i : i + 1], each.truth.canonical)
        assert torch.equal(batch.truth.source.expression[i : i + 1], each.truth.source.expression)
        assert torch.equal(batch.truth.driving.rotation[i : i + 1], each.truth.driving.rotation)


def test_pictures_that_are_floats_stay_as_they_are():
    pictures = torch.rand(2, 3, 4, 4)
    assert torch.equal(Pairs(pictures, pictures).scaled(torch.device("cpu")).source, pictures)


def test_a_truth_for_some_is_refused():
    with pytest.raises(ValueError, match="truth in all 3 parts or in none, got 1"):
        Pairs.cat([pair(0), pair(1, truth=True), pair(2)])


@pytest.mark.parametrize(("batch", "length"), [(4, 10), (8, 3), (1, 7)])
def test_an_epoch_draws_every_item_once(batch, length):
    steps = 3 * length
    drawn = [draw for step in range(steps) for draw in draws(step, batch, length, seed=1)]
    epochs = [[draw.index for draw in drawn[i : i + length]] for i in range(0, len(drawn), length)]
    assert all(Counter(epoch) == Counter(range(length)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert len({draw.seed for draw in drawn}) == len(drawn)


def test_a_step_is_what_it_is_whatever_came_before():
    forward = [draws(step, 4, 10, seed=1) for step in range(12)]
    assert [draws(step, 4, 10, seed=1) for step in reversed(range(12))] == forward[::-1]
    assert draws(5, 4, 10, seed=2) != forward[5]
