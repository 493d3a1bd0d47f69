# SPDX-License-Identifier: Apache-2.0
"""The contract of every CUDA kernel on a machine without a GPU: compiled by g++, run by the stand-in of
tests/support/cuda_on_cpu on CPU tensors.

This proves the kernels' indexing and arithmetic, that they leave nothing unwritten, that vectors are read and
written where they may be, that launches keep to a GPU's limits, to their device and to their stream, that
loops over blocks go round, and that the barriers are there: threads of a block take turns between barriers,
first to last and last to first, shared memory starts as NaN, and threads that part at a barrier abort. It
does not prove that warps or blocks don't race, nor anything about the memory model, the device's own exp and
conversions, nvcc's code, or speed.
"""

import re
from collections.abc import Callable

import pytest
from contract_report import count
from cuda_on_cpu import BUILT, build
from processes import make_once, run_file

from fv2v_kernels import OPS

pytestmark = pytest.mark.skipif(bool(BUILT), reason="this process runs CUDA kernels on the CPU already")


@pytest.fixture(scope="module")
def emulate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., int]:
    """emulate(file, select): how many of a file's tests of cuda passed."""
    folder = make_once(tmp_path_factory, "cuda_on_cpu", build)

    def run(file: str, select: str = "") -> int:
        chosen = " and ".join(filter(None, ["cpu-cuda", select]))
        printed = run_file(f"kernels/{file}", chosen, FV2V_CUDA_ON_CPU=str(folder))
        ended = re.search(r"(\d+) passed", printed)
        assert ended, printed
        assert "skipped" not in printed.splitlines()[-1]
        return int(ended[1])

    return run


def test_a_kernel_agrees_on_the_cpu(emulate: Callable[..., int]) -> None:
    """The slow tests below in a few seconds: one operator."""
    assert emulate("test_keypoint_flow.py", "test_gradients_match_the_reference")


@pytest.mark.slow
def test_agrees_on_random_calls(emulate: Callable[..., int]) -> None:
    assert emulate("test_differential.py", "agrees_on_a_few_calls") == len(OPS)


@pytest.mark.slow
@pytest.mark.parametrize("op", OPS)
def test_passes_the_contract_on_the_cpu(
    request: pytest.FixtureRequest, emulate: Callable[..., int], op: str
) -> None:
    count(request.node, op, "cpu", "cuda, emulated", emulate(f"test_{op}.py"))
