# SPDX-License-Identifier: Apache-2.0
"""Taps in channels are the mask convolution: in float64 they differ by rounding alone."""

import pytest
import torch
from engine_cases import CONFIGS, trained_like
from torch import nn

from fv2v.engine import CPU_PASSES, GPU_PASSES, PASSES
from fv2v.engine.passes.taps_in_channels import TapsInChannels, taps_in_channels
from fv2v.geometry import place
from fv2v_kernels import available, compose_warp, mask_head


@pytest.mark.parametrize("backend", available("mask_head", "cpu"))
@pytest.mark.parametrize("kernel", [3, 7])
@pytest.mark.parametrize("flows", [6, 16])
def test_the_same_warp_from_the_same_weights(kernel, flows, backend):
    """Where neither sizes nor channels divide; a row of five is shorter than the kernel, too."""
    torch.manual_seed(0)
    conv = nn.Conv3d(5, flows, kernel, padding=kernel // 2).double()
    hidden, features = torch.randn(2, 5, 3, 9, 5).double(), torch.randn(2, 7, 3, 9, 5).double()
    points = torch.rand(2, 2, flows - 1, 3).double() - 0.5
    with torch.no_grad():
        logits, taps = conv(hidden), TapsInChannels(conv)(hidden)
    assert taps.shape == (2, kernel, flows, 3, 9, 5)
    plain = compose_warp(features, logits, *points, align_corners=False, backend="reference")
    ours = mask_head(features, taps, *points, align_corners=False, backend=backend)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_picture(name):
    config, model = CONFIGS[name], trained_like(CONFIGS[name])
    with torch.inference_mode():
        pictures = torch.rand(2, 3, config.image_size, config.image_size, dtype=torch.float64)
        seen = pictures
        if config.head.window:
            seen = torch.randn(2, config.head.inputs, config.head.window, dtype=torch.float64)
        source = model.encode(pictures[:1], seen[:1] if config.head.window else None)
        placed = place(source, model.extract(seen[1:]), geometry=config.geometry)
        plain = model.render(source, placed)
        taps_in_channels(model)
        torch.testing.assert_close(model.render(source, placed), plain, rtol=0, atol=1e-10)


def test_channels_fill_tensor_cores():
    conv = TapsInChannels(nn.Conv3d(3, 22, 7, padding=3)).conv
    assert conv.out_channels == 160
    assert not conv.weight[154:].any()
    assert conv.bias is None, "it would be added to all taps"


def test_where_it_is_used():
    """On a GPU; a CPU's convolutions are faster as they were trained."""
    assert taps_in_channels in GPU_PASSES
    assert taps_in_channels not in (*PASSES, *CPU_PASSES)
