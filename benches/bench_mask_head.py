# SPDX-License-Identifier: Apache-2.0
"""mask_head against the releases' way with what it reads: sum, softmax, flows, weighted sum, `grid_sample`.

The releases have no taps to add up, for their 7 x 7 x 7 convolution writes logits. So both forms of it are
timed too, to the end: as trained and compose_warp, and with the taps in its channels and mask_head.
"""

from functools import partial

import baselines
import pytest
import torch
from cases import CHANNELS_LAST, DTYPE, K, keypoints, laid_out, memory_format, rows, stored, volumes
from measuring import DEVICE, clock
from torch import nn

from fv2v.engine.passes.taps_in_channels import TapsInChannels
from fv2v_kernels import compose_warp, mask_head

pytestmark = pytest.mark.benchmark(timer=clock)

T = 7
VOLUMES = volumes(32, layouts=True)
ROWS = [row for row in rows("mask_head") if (DEVICE, row) != ("cpu", "torch.compile")]
CONVOLUTIONS = {"112 to 16": (112, 16), "142 to 22": (142, 22), "144 to 22": (144, 22)}  # channels


@pytest.mark.parametrize("backend", ROWS)
@pytest.mark.parametrize("mode", ["forward"])
@pytest.mark.parametrize("volume", VOLUMES)
def test_mask_head(measure, volume, mode, backend):
    B, C, D, H, W = VOLUMES[volume]
    layout, coordinates = memory_format(volume), baselines.coordinates(D, H, W, DEVICE)
    features, taps = (stored(B, channels, D, H, W, layout=layout) for channels in (C, T * (K + 1)))
    measure(
        partial(mask_head, align_corners=False, memory_format=layout),
        laid_out(partial(baselines.mask_head, coordinates), layout),
        (features, taps.unflatten(1, (T, K + 1)), *keypoints(B)),
        name=f"mask_head, {volume}",
        mode=mode,
        backend=backend,
    )


@pytest.mark.parametrize("form", ["as trained", "taps in channels"])
@pytest.mark.parametrize("layout", ["contiguous", CHANNELS_LAST])
@pytest.mark.parametrize("channels", CONVOLUTIONS)
def test_mask_convolution_and_warp(benchmark, beside, channels, layout, form):
    (hidden_channels, flows), order = CONVOLUTIONS[channels], memory_format(layout)
    size = next(iter(VOLUMES.values()))[2:]
    hidden, features = (stored(1, C, *size, layout=order) for C in (hidden_channels, 32))
    points = (0.1 * torch.randn(2, 1, flows - 1, 3, device=DEVICE)).unbind()
    conv = nn.Conv3d(hidden_channels, flows, T, padding=T // 2).to(DEVICE, DTYPE).requires_grad_(False)
    taps = TapsInChannels(conv).to(memory_format=order)
    conv = conv.to(memory_format=order)

    def plain() -> None:
        compose_warp(features, conv(hidden), *points, align_corners=False, memory_format=order)

    def split() -> None:
        mask_head(features, taps(hidden), *points, align_corners=False, memory_format=order)

    benchmark.group = f"mask convolution and warp, {channels}, {layout}"
    moved = hidden.nbytes + 2 * features.nbytes + conv.weight.nbytes
    beside(plain if form == "as trained" else split, plain, moved, replayed=True)
