# SPDX-License-Identifier: Apache-2.0
"""warp_candidates against the releases' flows, repeat, one `grid_sample`, two Gaussians and cat."""

from functools import partial

import baselines
import pytest
from cases import MODES, keypoints, laid_out, memory_format, rows, stored, volumes
from measuring import DEVICE, clock

from fv2v_kernels import warp_candidates

pytestmark = pytest.mark.benchmark(timer=clock)

VOLUMES = volumes(4, layouts=True)  # compressed


@pytest.mark.parametrize("backend", rows("warp_candidates"))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("volume", VOLUMES)
def test_warp_candidates(measure, volume, mode, backend):
    B, C, D, H, W = VOLUMES[volume]
    layout, coordinates = memory_format(volume), baselines.coordinates(D, H, W, DEVICE)
    measure(
        partial(warp_candidates, align_corners=False, memory_format=layout),
        laid_out(partial(baselines.warp_candidates, coordinates), layout),
        (stored(B, C, D, H, W, layout=layout), *keypoints(B)),
        name=f"warp_candidates, {volume}",
        mode=mode,
        backend=backend,
    )
