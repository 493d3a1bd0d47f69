# SPDX-License-Identifier: Apache-2.0
"""compose_flow against the releases' softmax, flows and weighted sum.

On a CPU the compiled baseline is slower than the eager one by a factor of tens: inductor (torch 2.13) splits
each voxel's sum of K+1 among the threads, one OpenMP region a voxel.
"""

from functools import partial

import baselines
import pytest
from cases import MODES, K, keypoints, rows, stored, volumes
from measuring import DEVICE, clock

from fv2v_kernels import compose_flow

pytestmark = pytest.mark.benchmark(timer=clock)

VOLUMES = volumes(K + 1)  # mask logits


@pytest.mark.parametrize("backend", rows("compose_flow"))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("volume", VOLUMES)
def test_compose_flow(measure, volume, mode, backend):
    B, flows, D, H, W = VOLUMES[volume]
    coordinates = baselines.coordinates(D, H, W, DEVICE)
    measure(
        compose_flow,
        partial(baselines.compose_flow, coordinates),
        (stored(B, flows, D, H, W), *keypoints(B)),
        name=f"compose_flow, {volume}",
        mode=mode,
        backend=backend,
    )
