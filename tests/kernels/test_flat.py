# SPDX-License-Identifier: Apache-2.0
"""Flat pictures as volumes of depth 1: the operators are First Order Motion's own formulas in two dimensions.

Written here in stock PyTorch on (B, C, H, W), with `grid_sample` of pictures.
"""

import pytest
import torch
from keypoints import FLAT, make_keypoints
from op_contract import PLACES_HERE, require
from torch import Tensor
from torch.nn.functional import grid_sample

from fv2v_kernels import (
    compose_flow,
    compose_warp,
    keypoint_flow,
    mask_head,
    soft_argmax3d,
    warp3d,
    warp_candidates,
)

B, C, K, H, W = 2, 3, 4, 6, 9
OURS = pytest.mark.parametrize("place", PLACES_HERE, ids="-".join)
BOTH = pytest.mark.parametrize("align_corners", [True, False], ids=["corners", "faces"])


class Case:
    """Seeded inputs in two dimensions, and as the operators take them."""

    def __init__(self, place: tuple[str, str]) -> None:
        self.device, self.backend = place
        generator = torch.Generator().manual_seed(0)
        self.picture = torch.rand(B, C, H, W, generator=generator, dtype=torch.float64)
        self.logits = torch.randn(B, K + 1, H, W, generator=generator, dtype=torch.float64)
        self.points = make_keypoints(torch.float64, B, K, FLAT, generator)

    def given(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """With a depth, where the kernels run."""
        return tuple(each.unsqueeze(2).to(self.device) for each in tensors)

    @property
    def moved(self) -> tuple[Tensor, ...]:
        return tuple(each.to(self.device) for each in self.points)

    def flows(self) -> Tensor:
        """(B, K+1, H, W, 2): J (z - d) + s; of the background z."""
        y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in (H, W)), indexing="ij")
        z = torch.stack([x, y], dim=-1)
        source, driving, affine = self.points
        offset = (z - driving[..., None, None, :2]).unsqueeze(-1)
        turned = (affine[..., None, None, :2, :2] @ offset).squeeze(-1)
        flows = turned + source[..., None, None, :2]
        return torch.cat([z.expand(B, 1, H, W, 2), flows], dim=1)

    def deformation(self) -> Tensor:
        return (self.logits.softmax(1).unsqueeze(-1) * self.flows()).sum(1)


def close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours.cpu(), expected, rtol=0, atol=1e-12)


@OURS
def test_flows_stay_in_the_picture(place):
    require("keypoint_flow", *place)
    case = Case(place)
    flows = keypoint_flow(*case.moved, size=(1, H, W), backend=place[1])[:, :, 0]
    close(flows[..., :2], case.flows())
    assert not flows[..., 2].any(), "z is 0, exactly"
    require("compose_flow", *place)
    flow = compose_flow(*case.given(case.logits), *case.moved, backend=place[1])[:, 0]
    close(flow[..., :2], case.deformation())
    assert not flow[..., 2].any()


@BOTH
@OURS
def test_warps_are_grid_samples_of_pictures(place, align_corners):
    require("compose_warp", *place)
    case = Case(place)
    expected = grid_sample(case.picture, case.deformation(), align_corners=align_corners)
    options = {"align_corners": align_corners, "backend": place[1]}
    picture, logits = case.given(case.picture, case.logits)
    close(compose_warp(picture, logits, *case.moved, **options)[:, :, 0], expected)
    require("mask_head", *place)
    close(mask_head(picture, logits.unsqueeze(1), *case.moved, **options)[:, :, 0], expected)
    require("warp3d", *place)
    (flow,) = case.given(torch.nn.functional.pad(case.deformation(), (0, 1)).movedim(-1, 1))
    close(warp3d(picture, flow.movedim(1, -1), **options)[:, :, 0], expected)


@BOTH
@OURS
def test_candidates_are_heatmaps_and_pictures(place, align_corners):
    require("warp_candidates", *place)
    case = Case(place)
    (picture,) = case.given(case.picture)
    slots = warp_candidates(picture, *case.moved, align_corners=align_corners, backend=place[1])
    slots = slots[:, :, 0].unflatten(1, (K + 1, C + 1))
    flows = case.flows()
    source, driving, _ = (each[..., None, None, :2] for each in case.points)
    square = [(flows[:, :1] - each).square().sum(-1) for each in (driving, source)]
    heat = torch.exp(-square[0] / 0.02) - torch.exp(-square[1] / 0.02)
    close(slots[:, 1:, 0], heat)
    assert not slots[:, 0, 0].any()
    for k in range(K + 1):
        warped = grid_sample(case.picture, flows[:, k], align_corners=align_corners)
        close(slots[:, k, 1:], warped)


@OURS
def test_keypoints_are_expectations_in_the_picture(place):
    require("soft_argmax3d", *place)
    case = Case(place)
    (logits,) = case.given(case.logits)
    points = soft_argmax3d(logits, temperature=0.1, backend=place[1])
    heat = (case.logits.flatten(2) / 0.1).softmax(-1)
    lattice = case.flows()[0, 0].flatten(0, 1)
    close(points[..., :2], heat @ lattice)
    assert not points[..., 2].any()
