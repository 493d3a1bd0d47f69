# SPDX-License-Identifier: Apache-2.0
"""Calls that fit nothing, through the public functions and past them: an error of Python's or the reference's
result, never a signal. 5,000 with `--slow`; hostile_calls.py says what they are.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from op_contract import require
from places import TESTS

from fv2v_kernels import OPS, keypoint_flow, soft_argmax3d, winograd_conv

FUNCTIONS = [*OPS, "winograd_conv"]
FEW, MANY = 40, 5000 // len(FUNCTIONS) + 1
LEAST = 0.1  # of the calls have to return, or they test nothing


def survive(ops: list[str], count: int, folder: Path) -> None:
    """In one process: importing torch takes longer than a few calls."""
    for op in ops:
        require(op, "cpu", "cpu")
    log = folder / "last call"
    done = subprocess.run(
        [sys.executable, str(TESTS / "support/hostile_calls.py"), str(count), str(log), *ops],
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode >= 0, f"signal {-done.returncode} in {log.read_text()}\n{done.stderr[-2000:]}"
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    returned = dict(re.findall(rf"(\w+): (\d+) of {count} returned", done.stdout))
    assert [*returned] == ops
    assert min(map(int, returned.values())) >= LEAST * count, returned


def test_a_few_hostile_calls_end_no_process(tmp_path: Path) -> None:
    survive(FUNCTIONS, FEW, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("op", FUNCTIONS)
def test_hostile_calls_end_no_process(op: str, tmp_path: Path) -> None:
    survive([op], MANY, tmp_path)


X, WEIGHT, BIAS = torch.zeros(1, 2, 4, 5, 5), torch.zeros(3, 2, 3, 3, 3), torch.zeros(3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": X[:, :0], "weight": WEIGHT[:, :0]}, r"C and all after it at least 1, got \(1, 0, 4, 5, 5\)"),
        ({"x": X[..., :0]}, r"C and all after it at least 1, got \(1, 2, 4, 5, 0\)"),
        (
            {"weight": WEIGHT[..., :0, :0]},
            r"\(3, 2, k, r, r\) with odd k and r of 3 or 7, got \(3, 2, 3, 0, 0\)",
        ),
        ({"weight": WEIGHT[:, :, :0]}, r"with odd k and r of 3 or 7, got \(3, 2, 0, 3, 3\)"),
        ({"weight": WEIGHT[:, :, :2]}, r"with odd k and r of 3 or 7, got \(3, 2, 2, 3, 3\)"),
        ({"weight": WEIGHT[..., :2, :2]}, r"with odd k and r of 3 or 7, got \(3, 2, 3, 2, 2\)"),
        ({"weight": torch.zeros(3)}, r"expected a weight of shape \(3, 2, k, r, r\) .*, got \(3,\)"),
        ({"bias": BIAS[None]}, r"expected a bias of shape \(N,\), N at least 1, got \(1, 3\)"),
        ({"bias": torch.zeros(())}, r"expected a bias of shape \(N,\), N at least 1, got \(\)"),
        (
            {"bias": BIAS[:0], "weight": WEIGHT[:0]},
            r"expected a bias of shape \(N,\), N at least 1, got \(0,\)",
        ),
        ({"x": X[..., :1, :], "pooling": True}, "expected at least 2x2 pixels to pool, got 1x5"),
    ],
)
def test_a_convolution_of_nothing_is_refused(changed, message) -> None:
    with pytest.raises(ValueError, match=f"^winograd_conv: .*{message}"):
        winograd_conv(**{"x": X, "weight": WEIGHT, "bias": BIAS} | changed)


def test_a_call_without_tensors_says_which_are_expected() -> None:
    with pytest.raises(
        TypeError, match=r"^keypoint_flow: expected a tensor for kp_source and kp_driving, got"
    ):
        keypoint_flow(None, None, size=(1, 1, 1))
    with pytest.raises(TypeError, match=r"^soft_argmax3d: expected a tensor for logits, got None"):
        soft_argmax3d(None, temperature=1.0)


def test_a_kernel_is_not_called_for_a_gradient_of_another_shape() -> None:
    features, grid = torch.rand(1, 2, 3, 4, 5), torch.rand(1, 2, 2, 2, 3)
    backward = torch.ops.fv2v.warp3d_backward
    with pytest.raises(
        ValueError, match=r"^warp3d_backward: expected grad_out of shape \(1, 2, 2, 2, 2\) in"
    ):
        backward(torch.rand(1, 2, 2, 2, 1), features, grid, True, False, [True, True], "cpu")
    with pytest.raises(
        ValueError, match=r"^warp3d_backward: expected needed for features, grid, got \[True\]"
    ):
        backward(torch.rand(1, 2, 2, 2, 2), features, grid, True, False, [True], "cpu")


def test_an_operator_refuses_types_that_its_public_function_would_name() -> None:
    """Past the function, a kernel would read one type as another."""
    features, grid = torch.rand(1, 2, 3, 4, 5), torch.rand(1, 2, 2, 2, 3)
    for spoilt in ((features.half(), grid.half()), (features, grid.double()), (features.int(), grid)):
        with pytest.raises(
            TypeError, match=r"^warp3d: expected one floating dtype, and coordinates in float32"
        ):
            torch.ops.fv2v.warp3d(*spoilt, True, False, "")
    with pytest.raises(ValueError, match=r"^warp3d: expected all tensors on one device"):
        torch.ops.fv2v.warp3d(features, grid.to("meta"), True, False, "")
