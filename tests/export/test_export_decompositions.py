# SPDX-License-Identifier: Apache-2.0
"""What stands for an operator in an exported graph is that operator, in float64 to rounding."""

import pytest
import torch
from keypoints import AFFINES, make_keypoints
from torch.testing import assert_close

from fv2v.export.decompositions import decompositions, gather
from fv2v_kernels.ops import compose_warp, warp3d, warp_candidates

OPERATORS = torch.ops.fv2v
PLAIN = decompositions(gather)
CORNERS = pytest.mark.parametrize("align_corners", [True, False], ids=["corner", "face"])


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@CORNERS
@pytest.mark.parametrize("samples", [1, 3])
def test_gather_reads_as_warp3d(samples, align_corners):
    features, points = random(samples, 5, 3, 4, 7), 1.2 * random(3, 50, 3, seed=1)
    centres = torch.tensor([[-1, -1, -1], [1, 1, 1], [0, 0, 0]]) * torch.ones(3, 1, 1)
    strange = torch.tensor([[torch.nan, 0, 0], [0, torch.inf, 0], [0, 0, -torch.inf], [1e30, 0, 0]])
    points = torch.cat((points, centres.double(), strange.double().expand(3, -1, -1)), dim=1)
    read = gather(features, points, align_corners)
    expected = warp3d.reference(features, points[:, :, None, None], align_corners).flatten(2)
    inside = expected.abs().amax(1) > 0
    assert inside[:, :50].any()
    assert not inside[:, :50].all()
    assert_close(read, expected, rtol=0, atol=1e-12)


@CORNERS
@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("samples", [1, 2])
def test_warp_candidates(samples, affine, align_corners):
    keypoints = make_keypoints(torch.float64, 2, 3, affine, torch.Generator().manual_seed(2))
    arguments = random(samples, 4, 3, 5, 6), *keypoints, align_corners, 0.02, False
    written = PLAIN[OPERATORS.warp_candidates.default](*arguments, "cpu")
    assert_close(written, warp_candidates.reference(*arguments), rtol=0, atol=1e-12)


@CORNERS
@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("threshold", [0.0, 0.2])
def test_compose_warp(threshold, affine, align_corners):
    keypoints = make_keypoints(torch.float64, 2, 3, affine, torch.Generator().manual_seed(2))
    features, logits = random(1, 4, 3, 5, 6), random(2, 4, 3, 5, 6, seed=1)
    arguments = features, logits, *keypoints, align_corners, threshold, False, False, False
    written, *_ = PLAIN[OPERATORS.compose_warp.default](*arguments, "cpu")
    assert_close(written, compose_warp.reference(*arguments)[0], rtol=0, atol=1e-12)
