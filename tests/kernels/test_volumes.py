# SPDX-License-Identifier: Apache-2.0
"""The gradient of features added in order, which GPU backends use where determinism is asked for."""

import math

import pytest
import torch

from fv2v_kernels import warp3d
from fv2v_kernels._volumes import add_in_order


def volume_gradient(features, grid, upstream, align_corners):
    leaf = features.detach().requires_grad_()
    out = warp3d(leaf, grid, align_corners=align_corners, backend="reference")
    return torch.autograd.grad(out, leaf, upstream)[0]


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("size", [(3, 4, 5), (1, 1, 1), (1, 6, 2)], ids=str)
def test_is_the_references_gradient(size, samples, align_corners):
    features = torch.randn(samples, 3, *size, dtype=torch.float64)
    grid = 2.6 * torch.rand(2, 3, 2, 4, 3, dtype=torch.float64) - 1.3
    upstream = torch.randn(2, 3, 3, 2, 4, dtype=torch.float64)
    actual = add_in_order(upstream, features, grid, align_corners)
    assert actual.is_contiguous()
    torch.testing.assert_close(actual, volume_gradient(features, grid, upstream, align_corners))


def test_points_outside_add_nothing_whatever_their_gradient():
    points = torch.tensor([[math.nan, 0, 0], [0, math.inf, 0], [0, 0, 1e30], [0, 0, 0]])
    upstream = torch.tensor([math.inf, math.nan, math.inf, 1.0]).view(1, 1, 1, 1, 4)
    total = add_in_order(upstream, torch.zeros(1, 1, 3, 3, 3), points.view(1, 1, 1, 4, 3), True)
    assert total[0, 0, 1, 1, 1] == 1
    assert total.sum() == 1


def test_half_features_get_a_float_gradient():
    features, grid = torch.zeros(1, 2, 2, 2, 2).half(), torch.rand(3, 1, 1, 5, 3)
    assert add_in_order(torch.ones(3, 2, 1, 1, 5).half(), features, grid, False).dtype == torch.float32
