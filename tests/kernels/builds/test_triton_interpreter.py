# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels on a machine without a GPU: in Triton's interpreter, on CPU tensors.

Triton decides between interpreting and compiling when a kernel is defined, so this takes a process of its
own; by hand: `TRITON_INTERPRET=1 pytest tests/kernels/test_warp3d.py -k triton`.
"""

import re
from importlib.util import find_spec

import pytest
from contract_report import count
from processes import run_file

from fv2v_kernels import OPS
from fv2v_kernels._native import INTERPRETED

pytestmark = [
    pytest.mark.skipif(INTERPRETED, reason="this process interprets already"),
    pytest.mark.skipif(
        find_spec("triton") is None, reason="triton is not installed: install the extra `test`"
    ),
]


def interpret(file: str, select: str = "") -> dict[str, int]:
    """How many of a file's tests of triton ended how."""
    chosen = " and ".join(filter(None, ["cpu-triton", select]))
    # a GPU stays out of sight, so that every test marked triton runs on the CPU
    printed = run_file(f"kernels/{file}", chosen, TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")
    last = printed.splitlines()[-1]
    print(f"{file}: {last}")
    return {outcome: int(number) for number, outcome in re.findall(r"(\d+) (passed|skipped)", last)}


def test_a_kernel_agrees_in_the_interpreter() -> None:
    """The slow tests below in a few seconds: one operator."""
    assert interpret("test_keypoint_flow.py", "test_matches_the_reference").keys() == {"passed"}


@pytest.mark.slow
@pytest.mark.parametrize("op", OPS)
def test_passes_the_contract_in_the_interpreter(request: pytest.FixtureRequest, op: str) -> None:
    ended = interpret(f"test_{op}.py")
    assert ended.keys() == {"passed"}
    count(request.node, op, "cpu", "triton", ended["passed"])


@pytest.mark.slow
def test_random_calls_agree_in_the_interpreter() -> None:
    assert interpret("test_differential.py", "test_agrees_with_the_reference")["passed"] == len(OPS)
