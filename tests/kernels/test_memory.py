# SPDX-License-Identifier: Apache-2.0
"""What an operator takes beside its result, measured where nobody can hide it: in a process of its own."""

import os
import subprocess
import sys

import pytest
from op_contract import require
from places import BENCHES

MEASURE = """
import torch
from memory import process_peak_bytes
from fv2v_kernels import compose_warp

def inputs(D, H, W):
    volumes = torch.randn(1, 32, D, H, W), torch.randn(1, 16, D, H, W)
    return *volumes, torch.rand(1, 15, 3) - 0.5, torch.rand(1, 15, 3) - 0.5

def warp(*tensors):
    return compose_warp(*tensors, align_corners=False, backend="cpu")

with torch.inference_mode():
    warp(*inputs(2, 8, 8))  # code is loaded and threads are started; scratch of this size is nothing
    full = inputs(16, 64, 64)
    print(process_peak_bytes(lambda: warp(*full)))
"""


def test_compose_warp_takes_its_result_and_one_packed_copy():
    """The first call at 32x16x64x64, K = 15, float32: no mask, no flow, no second copy of the features."""
    require("compose_warp", "cpu", "cpu")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    path = os.pathsep.join([str(BENCHES / "support"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], env=plain | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() == "None":
        pytest.skip("this system does not tell a process its peak of resident memory")
    result = 32 * 16 * 64 * 64 * 4
    packed = 32 * (16 * 64 * (64 + 2) + 2) * 4  # rows padded by a voxel at both ends: csrc/cpu/packed.h
    peak = int(done.stdout)
    assert result <= peak <= result + packed + 2**20, f"{peak / 1e6:.2f} MB"
