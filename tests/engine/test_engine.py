# SPDX-License-Identifier: Apache-2.0
"""The inference form is the trained modules' function: in float64 they differ by rounding alone."""

from copy import deepcopy

import pytest
import torch
from engine_cases import CONFIGS, trained_like
from torch import nn
from torch.nn.functional import interpolate

from fv2v.engine import arrange
from fv2v.engine.passes.double_in_phases import DoublingConv
from fv2v.geometry import place
from fv2v.networks import blocks
from fv2v.networks.spade import SpectralConv2d

CPU = torch.device("cpu")


CPU = (torch.device("cpu"), torch.float64)


@pytest.mark.parametrize("where", [(), CPU], ids=["anywhere", "cpu"])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_numbers_from_other_operations(name, where):
    config = CONFIGS[name]
    model = trained_like(config)
    fast = arrange(deepcopy(model), *where)
    pictures = torch.rand(2, 3, config.image_size, config.image_size, dtype=torch.float64)
    seen = [pictures[:1], pictures[1:]]
    if config.head.window:
        seen = list(torch.randn(2, 1, config.head.inputs, config.head.window, dtype=torch.float64))
    results = []
    for each in (model, fast):
        with torch.inference_mode():
            source = each.encode(pictures[:1], seen[0] if config.head.window else None)
            placed = each.stitch(source, place(source, each.extract(seen[1]), geometry=config.geometry))
            image = each.render(source, placed)
        results.append((source.features, source.compressed, source.keypoints, placed.kp_driving, image))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-10)


@pytest.mark.parametrize("where", [(), CPU], ids=["anywhere", "cpu"])
@pytest.mark.parametrize("name", CONFIGS)
def test_nothing_is_left_to_fold(name, where):
    fast = arrange(trained_like(CONFIGS[name]), *where)
    kinds = (SpectralConv2d, blocks.UpBlock2d, blocks.UpBlock3d)
    norms = [
        name for name, module in fast.named_modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d)
    ]
    if where and fast.canonical is not None and fast.canonical.flat:
        fast.canonical = None  # whose convolutions are left as they are
    left = [name for name, module in fast.named_modules() if isinstance(module, kinds)]
    assert not left
    assert all(name.endswith("norm1") and "residual" in name for name in norms), norms
    if where:
        plain = [each for each in fast.modules() if type(each) in (nn.Conv2d, nn.Conv3d)]
        assert all(each.groups > 1 for each in plain), plain  # depthwise alone


@pytest.mark.parametrize(
    "conv", [nn.Conv2d(3, 5, 3, padding=1), nn.Conv3d(3, 5, 3, padding=1)], ids=["2d", "3d"]
)
def test_doubling_is_the_convolution_of_the_enlarged(conv):
    conv = conv.double()
    x = torch.randn(2, 3, 4, 5, 6)[
        (slice(None),) * 2 + ((0,) if isinstance(conv, nn.Conv2d) else ())
    ].double()
    scale = (1, 2, 2) if x.dim() == 5 else 2
    expected = conv(interpolate(x, scale_factor=scale, mode="nearest"))
    torch.testing.assert_close(DoublingConv(conv)(x), expected, rtol=0, atol=1e-12)
