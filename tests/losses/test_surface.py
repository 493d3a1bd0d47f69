# SPDX-License-Identifier: Apache-2.0
"""The error of the flow that detail follows, and what it teaches."""

import pytest
import torch
from torch import Tensor

from fv2v.losses import moved_source
from fv2v.networks import Surface

SIDE, CELLS = 32, 8


def surface(right: float, seen: float = 1.0) -> Surface:
    """All of the picture is read so far to the right; the picture is 2 across."""
    flow = torch.zeros(1, 2, CELLS, CELLS)
    flow[:, 0] = right
    return Surface(flow, torch.full((1, 1, CELLS, CELLS), seen))


def picture() -> Tensor:
    x = torch.arange(SIDE) / SIDE
    return x.expand(1, 3, SIDE, SIDE).contiguous()  # brighter by 1/32 a pixel to the right


def test_it_is_the_error_of_the_moved_picture():
    """Two pixels of a ramp of 1/32 a pixel, where the source has them."""
    source = picture()
    target = source + 2 / SIDE
    left = torch.zeros(1, 1, SIDE, SIDE)
    left[..., : SIDE - 4] = 1
    assert moved_source(source, source, surface(0.0)).item() < 1e-6
    assert moved_source(source, target, surface(0.0)).item() == pytest.approx(2 / SIDE)
    assert moved_source(source, target, surface(4 / SIDE), left).item() < 1e-6


def test_what_the_source_does_not_show_does_not_count():
    source = picture()
    target = source.clone()
    target[..., : SIDE // 2] += 1
    hidden = surface(0.0)
    hidden.occlusion[..., : CELLS // 2] = 0
    assert moved_source(source, target, surface(0.0)).item() == pytest.approx(0.5)
    # weights rise from 0 to 1 over four pixels, of which two, of 1/8 and 3/8, are at the wrong side
    assert moved_source(source, target, hidden).item() == pytest.approx(0.5 / 16)


def test_it_teaches_the_flow_and_not_the_occlusion():
    source, found = picture(), surface(0.0)
    flow, occlusion = (each.clone().requires_grad_() for each in found)
    moved_source(source, source + 2 / SIDE, Surface(flow, occlusion)).backward()
    assert (flow.grad[:, 0, 2:-2, 2:-2] < 0).all(), "further to the right"
    assert occlusion.grad is None
