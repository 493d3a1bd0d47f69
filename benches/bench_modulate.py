"""modulate against the releases' SPADE: instance norm, scale, shift and leaky ReLU."""

from functools import partial

import baselines
import pytest
import torch
from cases import MODES, laid_out, rows, stored
from measuring import DEVICE, clock

from fv2v_kernels import modulate

pytestmark = pytest.mark.benchmark(timer=clock)

SLOPE = 0.2  # the releases'
LAST = "channels-last"
SIZES = {"256x64x64": (1, 256, 64, 64), "256x128x128": (1, 256, 128, 128)}
VOLUMES = SIZES | {
    f"{name}, {LAST}": size for name, size in SIZES.items() if DEVICE == "cuda" or name == "256x64x64"
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
