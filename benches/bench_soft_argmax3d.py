# SPDX-License-Identifier: Apache-2.0
"""soft_argmax3d against the releases' softmax over the flattened volume and expectation on the lattice."""

from functools import partial
from typing import Any

import baselines
import pytest
from cases import MODES, K, rows, stored, volumes
from measuring import DEVICE, clock
from torch import Tensor

from fv2v_kernels import soft_argmax3d

pytestmark = pytest.mark.benchmark(timer=clock)

TEMPERATURE = 0.1  # the releases'
VOLUMES = volumes(K)
SMALLEST = next(iter(VOLUMES))
JACOBIANS = f"{SMALLEST}, Jacobians"
VOLUMES[JACOBIANS] = VOLUMES[SMALLEST]


def with_jacobians(logits: Tensor, maps: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    keypoints, jacobians = soft_argmax3d(logits, jacobian_maps=maps, **options)
    return keypoints, jacobians


@pytest.mark.parametrize("backend", rows("soft_argmax3d"))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("volume", VOLUMES)
def test_soft_argmax3d(measure, volume, mode, backend):
    B, _, D, H, W = VOLUMES[volume]
    tensors = [stored(B, K, D, H, W)]
    op, baseline = soft_argmax3d, baselines.soft_argmax3d
    if volume == JACOBIANS:
        tensors.append(stored(B, 9 * K, D, H, W))
        op, baseline = with_jacobians, baselines.soft_argmax3d_with_jacobians
    measure(
        partial(op, temperature=TEMPERATURE),
        partial(baseline, baselines.coordinates(D, H, W, DEVICE), TEMPERATURE),
        tensors,
        name=f"soft_argmax3d, {volume}",
        mode=mode,
        backend=backend,
    )
