"""The contract of every CUDA kernel on a machine without a GPU: compiled by g++, run by the stand-in of
tests/cuda_on_cpu on CPU tensors.

This proves the kernels' indexing and arithmetic, that they leave nothing unwritten, that launches keep to a
GPU's limits, and that the barriers are there: threads of a block take turns between barriers, first to last
and last to first, shared memory starts as NaN, and threads that part at a barrier abort. It does not prove
that warps or blocks don't race, nor anything about the memory model, the device's own exp and conversions,
nvcc's code, or speed.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from contract_report import count
from cuda_on_cpu import BUILT, build

from fv2v_kernels import OPS

TESTS = Path(__file__).parent

pytestmark = pytest.mark.skipif(bool(BUILT), reason="this process runs CUDA kernels on the CPU already")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cuda_on_cpu")
    build(folder)
    return folder


@pytest.mark.parametrize("op", OPS)
def test_passes_the_contract_on_the_cpu(request: pytest.FixtureRequest, built: Path, op: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-k", "cpu-cuda", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, str(TESTS / f"test_{op}.py")],
        cwd=TESTS.parent,
        env=os.environ | {"FV2V_CUDA_ON_CPU": str(built)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    ended = re.search(r"(\d+) passed", result.stdout)
    assert ended, result.stdout
    assert "skipped" not in ended.string.splitlines()[-1]
    count(request.node, op, "cpu", "cuda, emulated", int(ended[1]))
