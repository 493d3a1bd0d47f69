# SPDX-License-Identifier: Apache-2.0
"""Detail finer than the volume: it moves as the surface moves, and models without it are as they were."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY, TINY_DETAIL, TINY_DETAIL_SPADE, TINY_SPADE, lively, pictures

from fv2v import ModelConfig, Reenactor
from fv2v.networks import FaceVid2Vid
from fv2v.networks.detail import moved, surface_flow
from fv2v.presets import PRESETS, completed
from fv2v_kernels import compose_warp


def still(depth: int = 4, side: int = 8) -> torch.Tensor:
    """The identity on the corner lattice, (1, D, H, W, 3)."""
    z, y, x = (torch.linspace(-1, 1, count) for count in (depth, side, side))
    return torch.stack(torch.meshgrid(z, y, x, indexing="ij")[::-1], dim=-1)[None]


def test_the_flow_is_that_of_what_is_seen():
    """Of a surface at depth 1 before another at depth 3, the first; of clear voxels, the last."""
    deformation = still()
    deformation[:, 1, ..., 0] += 0.5
    deformation[:, 3, ..., 1] -= 0.25
    mask = torch.zeros(1, 2, 4, 8, 8)
    mask[:, 0] = 1
    mask[:, 0, 1, :, :4] = 0
    mask[:, 0, 3] = 0.5
    right, down = surface_flow(deformation, mask)[0]
    torch.testing.assert_close(right[:, :4], torch.full((8, 4), 0.5 * 7 / 8), rtol=0, atol=1e-5)
    torch.testing.assert_close(down[:, 4:], torch.full((8, 4), -0.25 * 7 / 8), rtol=0, atol=1e-5)
    assert right[:, 4:].abs().max() < 1e-5
    assert down[:, :4].abs().max() < 1e-5


def test_two_half_opaque_surfaces_share_what_is_seen():
    deformation = still()
    deformation[:, 0, ..., 0] += 0.8
    deformation[:, 2, ..., 0] += 0.4
    mask = torch.ones(1, 2, 4, 8, 8)
    mask[:, 0, 0] = 0.5
    mask[:, 0, 2] = 0.75
    right = surface_flow(deformation, mask)[0, 0] * 8 / 7
    expected = torch.full((8, 8), 0.5 * 0.8 + 0.5 * 0.25 * 0.4)
    torch.testing.assert_close(right, expected, rtol=0, atol=1e-5)


def test_detail_moves_by_whole_pixels():
    """By a quarter of the picture; at rest it is bit for bit what it was but for rounding of places."""
    detail = torch.rand(1, 3, 32, 32)
    flow = torch.zeros(1, 2, 8, 8)
    seen = torch.ones(1, 1, 8, 8)
    torch.testing.assert_close(moved(detail, flow, seen), detail, rtol=0, atol=1e-5)
    flow[:, 0] = 0.5  # of 2 across: read 8 pixels further to the right
    there = moved(detail, flow, 0.5 * seen)
    torch.testing.assert_close(there[..., :24], 0.5 * detail[..., 8:], rtol=0, atol=1e-5)
    assert (there[..., 25:] == 0).all(), "outside the source is nothing"


def test_detail_and_volume_move_alike():
    """A picture in all slices of the volume and the same picture as detail: where the flow is the same."""
    keypoints = torch.tensor([[[-0.4, 0.1, 0.0], [0.3, -0.2, 0.1]]])
    shift = torch.tensor([2 / 15, -4 / 15, 0.0])  # one voxel to the right, two up
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    picture = torch.sin(0.6 * x + 0.5 * y)
    volume = picture.expand(1, 1, 4, 16, 16).contiguous()
    logits = torch.zeros(1, 3, 4, 16, 16)
    logits[:, 0] = -30
    found = compose_warp(
        volume, logits, keypoints + shift, keypoints, align_corners=True, return_flow=True, return_mask=True
    )
    flow = surface_flow(found.deformation, found.mask)
    ours = moved(picture[None, None], flow, torch.ones(1, 1, 16, 16))
    inside = (..., slice(3, 13), slice(3, 13))
    torch.testing.assert_close(ours[inside], found.warped[:, :, 0][inside], rtol=0, atol=1e-4)
    assert (ours[inside] - picture[None, None][inside]).abs().max() > 0.3


@pytest.mark.parametrize("config", [TINY_DETAIL, TINY_DETAIL_SPADE], ids=lambda config: config.name)
def test_what_the_source_has_reaches_the_picture(config):
    """Through the volume alone it does not: with detail, one pixel of the source changes the output."""
    torch.manual_seed(0)
    model = FaceVid2Vid(config).eval().requires_grad_(False)
    for join in model.generator.decoder.detail.joins.values():
        join.conv2.weight.normal_(std=0.3)
    image = torch.rand(1, 3, config.image_size, config.image_size)
    source = model.encode(image)
    assert [each.shape[-1] for each in source.detail] == list(config.detail_sizes) == [32, 16]
    placement = model.place(source, source.motion)
    shown = model.render(source, placement)
    without = replace(source, detail=tuple(torch.zeros_like(each) for each in source.detail))
    assert (model.render(without, placement) - shown).abs().max() > 1e-3
    finest = (source.detail[0] + torch.zeros_like(source.detail[0]).index_fill_(3, torch.tensor([9]), 1.0),)
    touched = model.render(replace(source, detail=finest + source.detail[1:]), placement) - shown
    assert touched[..., 7:12].abs().max() > 1e-3
    several = source.repeat(2)
    both = model.render(several, model.place(several, several.motion))
    torch.testing.assert_close(both, shown.expand_as(both), rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [TINY_DETAIL, TINY_DETAIL_SPADE], ids=lambda config: config.name)
@pytest.mark.parametrize("optimize", [False, True])
def test_a_reenactor_with_detail(config, optimize, tmp_path):
    """Saved and read again, plain and arranged, it shows the same."""
    reenactor = lively(Reenactor(config, weights="random", device="cpu", optimize=False))
    reenactor.save(tmp_path / "detail.safetensors")
    again = Reenactor(weights=tmp_path / "detail.safetensors", device="cpu", optimize=optimize)
    assert again.config == config
    portrait, *driving = pictures(3)
    expected, frames = (
        np.stack(list(each.animate(each.encode(portrait), driving, relative=False)))
        for each in (reenactor, again)
    )
    assert np.abs(frames.astype(int) - expected).max() <= 1
    assert len(np.unique(frames[0])) > 20


def test_models_without_detail_are_as_they_were():
    """No weight more, the same random ones, and configs of files written before."""
    for config in (TINY, TINY_SPADE):
        names = FaceVid2Vid(config).state_dict()
        assert not any("detail" in name for name in names)
    for config in PRESETS.values():
        assert config.generator.detail_channels == 0
        before = json.loads(json.dumps(config.as_dict()))
        del before["generator"]["detail_channels"]
        assert ModelConfig.from_dict(completed(before)) == config


def test_detail_needs_a_stage_to_join():
    with pytest.raises(ValueError, match="or more, for detail"):
        replace(TINY.generator, widths=(16,), detail_channels=4)
    with pytest.raises(ValueError, match="detail_channels from 0"):
        replace(TINY.generator, detail_channels=-1)
