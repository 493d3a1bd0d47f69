# SPDX-License-Identifier: Apache-2.0
"""Batched: what dataclasses of tensors with a common first axis can do."""

import pickle
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from fv2v.batch import Batched


@dataclass(frozen=True, slots=True)
class Place(Batched):
    point: Tensor  # (B, 3)
    size: Tensor  # (B,)


@dataclass(frozen=True, slots=True)
class Scene(Batched):
    here: Place
    number: Tensor  # (B,)
    there: Place | None = None


def scene(*numbers: float, there: bool = False) -> Scene:
    number = torch.tensor(numbers)
    place = Place(number[:, None] * torch.tensor([1.0, 2.0, 3.0]), 10 * number)
    return Scene(place, number, place if there else None)


def test_rows_go_together_through_all_levels():
    batch = scene(1, 2, 3, there=True)
    assert len(batch) == 3
    assert batch[1:].there.point.tolist() == [[2, 4, 6], [3, 6, 9]]
    assert scene(1, 2)[:1].there is None
    joined = Scene.cat([batch[2:], batch[:2]])
    assert joined.number.tolist() == [3, 1, 2]
    assert joined.here.size.tolist() == [30, 10, 20]
    assert batch[:2].repeat(2).here.size.tolist() == [10, 10, 20, 20]
    assert batch.columns().there.point.shape == (3, 3, 1)


def test_where_chooses_whole_rows():
    chosen = scene(1, 2, 3, there=True).where(torch.tensor([True, False, True]), scene(7, 8, 9, there=True))
    assert chosen.number.tolist() == [1, 8, 3]
    assert chosen.there.point[:, 0].tolist() == [1, 8, 3]


def test_what_some_parts_lack_is_an_error():
    with pytest.raises(ValueError, match="expected there in all 3 parts or in none, got 1"):
        Scene.cat([scene(1), scene(2, there=True), scene(3)])


def test_to_keeps_the_dtype_unless_it_is_given():
    batch = scene(1, 2, there=True)
    assert batch.to("cpu").there.point.dtype == torch.float32
    assert batch.to(torch.device("cpu"), torch.float64).there.point.dtype == torch.float64


def test_workers_can_send_them():
    sent = pickle.loads(pickle.dumps(scene(1, 2, there=True)))
    assert sent.there.point.tolist() == [[1, 2, 3], [2, 4, 6]]
