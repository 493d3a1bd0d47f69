# SPDX-License-Identifier: Apache-2.0
"""modulate against the releases' SPADE: instance norm, scale, shift and leaky ReLU."""

from functools import partial

import baselines
import pytest
import torch
from cases import MODES, laid_out, rows, stored
from measuring import DEVICE, TINY, clock

from fv2v_kernels import modulate

pytestmark = pytest.mark.benchmark(timer=clock)

SLOPE = 0.2  # the releases'
LAST = "channels-last"
SIZES = {f"256x{side}x{side}": (1, 256, side, side) for side in ((2, 4) if TINY else (64, 128))}
SMALLEST = next(iter(SIZES))
VOLUMES = SIZES | {
    f"{name}, {LAST}": size for name, size in SIZES.items() if DEVICE == "cuda" or name == SMALLEST
}


@pytest.mark.parametrize("backend", rows("modulate"))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("volume", VOLUMES)
def test_modulate(measure, volume, mode, backend):
    layout = torch.channels_last if LAST in volume else torch.contiguous_format
    measure(
        partial(modulate, negative_slope=SLOPE),
        laid_out(partial(baselines.modulate, SLOPE), layout),
        [stored(*VOLUMES[volume], layout=layout) for _ in range(3)],
        name=f"modulate, {volume}",
        mode=mode,
        backend=backend,
    )
