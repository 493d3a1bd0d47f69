# SPDX-License-Identifier: Apache-2.0
"""compose_warp against the releases' softmax, flows, weighted sum and `grid_sample`.

On a CPU there are no compiled rows: the compiled softmax and sum are slower there than the eager ones by a
factor of tens, as bench_compose_flow.py shows.
"""

from functools import partial

import baselines
import pytest
from cases import MODES, K, keypoints, laid_out, memory_format, rows, stored, volumes
from measuring import DEVICE, clock

from fv2v_kernels import compose_warp

pytestmark = pytest.mark.benchmark(timer=clock)

VOLUMES = volumes(32, layouts=True)
ROWS = [row for row in rows("compose_warp") if (DEVICE, row) != ("cpu", "torch.compile")]


@pytest.mark.parametrize("backend", ROWS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("volume", VOLUMES)
def test_compose_warp(measure, volume, mode, backend):
    B, C, D, H, W = VOLUMES[volume]
    layout, coordinates = memory_format(volume), baselines.coordinates(D, H, W, DEVICE)
    features, logits = (stored(B, channels, D, H, W, layout=layout) for channels in (C, K + 1))
    measure(
        partial(compose_warp, align_corners=False, memory_format=layout),
        laid_out(partial(baselines.compose_warp, coordinates), layout),
        (features, logits, *keypoints(B)),
        name=f"compose_warp, {volume}",
        mode=mode,
        backend=backend,
    )
