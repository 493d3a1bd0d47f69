# SPDX-License-Identifier: Apache-2.0
"""What is arranged for a GPU is the trained modules' function: in float64 they agree to rounding.

cuDNN's fused calls are not here without a GPU: there `convolution_relu` is PyTorch's own operations.
"""

from copy import deepcopy

import pytest
import torch
from engine_cases import CONFIGS, trained_like
from torch import nn
from torch.nn.functional import interpolate

from fv2v.engine import GPU_PASSES
from fv2v.engine.passes.depth_in_kernels import FoldedTaps
from fv2v.engine.passes.fused_convolution import LAST, FusedConv, PixelProduct
from fv2v.engine.passes.scales_on_gpu import Coarsened, Phases, Shuffle
from fv2v.engine.passes.settle_on_gpu import PaddedChannels, SmallResponseNorm
from fv2v.geometry import place
from fv2v.networks import FaceVid2Vid
from fv2v.networks.blocks import DepthConv2d
from fv2v.networks.trunks import ResponseNorm


def settled(model: FaceVid2Vid) -> FaceVid2Vid:
    model = deepcopy(model).requires_grad_(False)
    for each in GPU_PASSES:
        each(model)
    return model


def randomised(model: FaceVid2Vid) -> FaceVid2Vid:
    for module in model.modules():
        if isinstance(module, ResponseNorm):
            nn.init.uniform_(module.gamma, -0.5, 0.5)
            nn.init.uniform_(module.beta, -0.5, 0.5)
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_numbers(name):
    config = CONFIGS[name]
    model = randomised(trained_like(config))
    pictures = torch.rand(2, 3, config.image_size, config.image_size, dtype=torch.float64)
    seen = pictures
    if config.head.window:
        seen = torch.randn(2, config.head.inputs, config.head.window, dtype=torch.float64)
    results = []
    for each in (model, settled(model)):
        with torch.inference_mode():
            source = each.encode(pictures[:1], seen[:1] if config.head.window else None)
            motion = each.extract(seen)
            placed = each.stitch(source, place(source, motion, geometry=config.geometry))
            image = each.render(source, placed)
        results.append((source.features, source.compressed, source.keypoints, placed.kp_driving, image))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-10)


@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
@pytest.mark.parametrize("conv", [nn.Conv2d(3, 5, 3, padding=1), nn.Conv3d(3, 5, 3, padding=1)])
@torch.inference_mode()
def test_enlarging(conv, layout):
    conv = conv.double()
    x = torch.randn(2, 3, 4, 5, 6).double()
    x, scale = (x[:, :, 0], 2) if isinstance(conv, nn.Conv2d) else (x, (1, 2, 2))
    if layout == "channels-last":
        x = x.contiguous(memory_format=LAST[x.dim()])
    expected = conv(interpolate(x, scale_factor=scale, mode="nearest")).relu()
    for more in ([], [torch.randn_like(expected[:, :2])]):
        found = Phases(conv)(x, *more)
        torch.testing.assert_close(found, torch.cat([expected, *more], dim=1), rtol=0, atol=1e-12)
        assert found.is_contiguous(memory_format=LAST[x.dim()])


@pytest.mark.parametrize("side", [2, 4, 6])
@torch.inference_mode()
def test_pooling_and_enlarging(side):
    conv = nn.Conv3d(3, 5, 3, padding=1).double()
    x = torch.randn(2, 3, 4, side, side).double()
    pooled = nn.functional.avg_pool3d(x, (1, 2, 2))
    expected = conv(interpolate(pooled, scale_factor=(1, 2, 2), mode="nearest")).relu()
    beside = torch.randn_like(expected[:, :2])
    for each in (x, x.contiguous(memory_format=LAST[5])):
        found = Coarsened(conv, side)(each, beside)
        torch.testing.assert_close(found, torch.cat([expected, beside], dim=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("slope", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("sums", [True, False])
@torch.inference_mode()
def test_sums_and_activations(slope, sums):
    conv = nn.Conv2d(3, 5, 3, padding=1, stride=2).double()
    x, addend = torch.randn(2, 3, 9, 7).double(), torch.randn(2, 5, 5, 4).double()
    expected = conv(x) + addend if sums else conv(x)
    found = FusedConv(conv, negative_slope=slope)(x, addend if sums else None)
    torch.testing.assert_close(found, nn.functional.leaky_relu(expected, slope), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_pixel_shuffle(n):
    x = torch.randn(2, 3 * n * n, 4, 5)
    for each in (x, x.contiguous(memory_format=torch.channels_last)):
        found = Shuffle(n)(each)
        assert torch.equal(found, nn.functional.pixel_shuffle(x, n))
        assert found.is_contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def test_a_product_of_pixels():
    conv, x = nn.Conv2d(3, 5, 1).double(), torch.randn(2, 3, 4, 6).double()
    for each in (x, x.contiguous(memory_format=torch.channels_last)):
        found = PixelProduct(conv)(each)
        torch.testing.assert_close(found, conv(x), rtol=0, atol=1e-12)
        assert found.is_contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def test_one_channel_of_taps():
    conv = DepthConv2d(3 * 4, 1, 7, padding=3).double()
    volume = torch.randn(2, 3, 4, 9, 5).double()
    folded = FoldedTaps(conv, 4)
    assert folded.conv.weight.shape == (56, 3, 4, 1, 1), "of 49 taps, as many as fill tensor cores"
    torch.testing.assert_close(folded(volume), conv(volume), rtol=0, atol=1e-12)


@torch.inference_mode()
def test_a_response_norm():
    norm = ResponseNorm(6).double()
    nn.init.normal_(norm.gamma)
    nn.init.normal_(norm.beta)
    x = torch.randn(2, 5, 4, 6).double()
    torch.testing.assert_close(SmallResponseNorm(norm)(x), norm(x), rtol=0, atol=1e-12)


def test_channels_fill_tensor_cores():
    """Of LivePortrait's M: 110 and 142, and with them what the mask and the occlusion read."""
    model = settled(trained_like(CONFIGS["liveportrait"]))
    motion = model.dense_motion
    assert isinstance(motion.hourglass, PaddedChannels)
    inner = motion.hourglass.module
    for conv in (inner.down[0].conv, inner.conv, motion.mask.conv, motion.occlusion.conv):
        assert conv.weight.shape[1] % 8 == 0
        assert conv.weight.shape[0] % 8 == 0
