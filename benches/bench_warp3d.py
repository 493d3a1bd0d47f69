# SPDX-License-Identifier: Apache-2.0
"""warp3d against `grid_sample`, which is all the releases call."""

from functools import partial

import baselines
import pytest
import torch
from cases import MODES, laid_out, memory_format, rows, stored, volumes
from measuring import DEVICE, clock

from fv2v_kernels import warp3d

pytestmark = pytest.mark.benchmark(timer=clock)

VOLUMES = volumes(32, layouts=True)
SMALLEST = next(iter(VOLUMES))
RANDOM = f"{SMALLEST}, random grid"  # every point anywhere: several times slower on every implementation
VOLUMES[RANDOM] = VOLUMES[SMALLEST]


@pytest.mark.parametrize("backend", rows("warp3d"))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("volume", VOLUMES)
def test_warp3d(measure, volume, mode, backend):
    B, C, D, H, W = VOLUMES[volume]
    layout = memory_format(volume)
    features = stored(B, C, D, H, W, layout=layout)
    if volume == RANDOM:
        grid = torch.rand(B, D, H, W, 3, device=DEVICE) * 2 - 1
    else:  # a face's flow is smooth
        grid = baselines.coordinates(D, H, W, DEVICE) + 0.016 * torch.randn(B, D, H, W, 3, device=DEVICE)

    measure(
        partial(warp3d, align_corners=False, memory_format=layout),
        laid_out(baselines.warp3d, layout),
        (features, grid),
        name=f"warp3d, {volume}",
        mode=mode,
        backend=backend,
    )
