# SPDX-License-Identifier: Apache-2.0
"""keypoint_flow against the releases' own subtraction, addition and cat."""

from functools import partial

import baselines
import pytest
from cases import MODES, K, keypoints, rows, volumes
from measuring import DEVICE, clock

from fv2v_kernels import keypoint_flow

pytestmark = pytest.mark.benchmark(timer=clock)

VOLUMES = volumes(K + 1)  # of flows, three numbers a voxel


@pytest.mark.parametrize("backend", rows("keypoint_flow"))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("volume", VOLUMES)
def test_keypoint_flow(measure, volume, mode, backend):
    B, _, D, H, W = VOLUMES[volume]
    coordinates = baselines.coordinates(D, H, W, DEVICE)
    measure(
        partial(keypoint_flow, size=(D, H, W)),
        partial(baselines.keypoint_flow, coordinates),
        keypoints(B),
        name=f"keypoint_flow, {volume}",
        mode=mode,
        backend=backend,
    )
