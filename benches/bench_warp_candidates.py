"""warp_candidates against the releases' flows, repeat, one `grid_sample`, two Gaussians and cat."""

from functools import partial

import baselines
import pytest
from cases import MODES, keypoints, rows, stored, volumes
from measuring import DEVICE, clock

from fv2v_kernels import warp_candidates

pytestmark = pytest.mark.benchmark(timer=clock)

VOLUMES = volumes(4)  # compressed


@pytest.mark.parametrize("backend", rows("warp_candidates"))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("volume", VOLUMES)
def test_warp_candidates(measure, volume, mode, backend):
    B, C, D, H, W = VOLUMES[volume]
    coordinates = baselines.coordinates(D, H, W, DEVICE)
    measure(
        partial(warp_candidates, align_corners=False),
        partial(baselines.warp_candidates, coordinates),
        (stored(B, C, D, H, W), *keypoints(B)),
        name=f"warp_candidates, {volume}",
        mode=mode,
        backend=backend,
    )
