"""The contract of every CUDA kernel on a machine without a GPU: compiled by g++, run by the stand-in of
tests/support/cuda_on_cpu on CPU tensors.

This proves the kernels' indexing and arithmetic, that they leave nothing unwritten, that launches keep to a
GPU's limits, and that the barriers are there: threads of a block take turns between barriers, first to last
and last to first, shared memory starts as NaN, and threads that part at a barrier abort. It does not prove
that warps or blocks don't race, nor anything about the memory model, the device's own exp and conversions,
nvcc's code, or speed.
"""

import re
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from contract_report import count
from cuda_on_cpu import BUILT, build
from processes import run_file, running

from fv2v_kernels import OPS

pytestmark = pytest.mark.skipif(bool(BUILT), reason="this process runs CUDA kernels on the CPU already")


@pytest.fixture(scope="module")
def emulated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[str]]]:
    """What is said of the tests of cuda in each file."""
    folder = tmp_path_factory.mktemp("cuda_on_cpu")
    build(folder)
    with running(
        request, lambda file: run_file(f"kernels/{file}", "cpu-cuda", FV2V_CUDA_ON_CPU=str(folder))
    ) as files:
        yield files


@pytest.mark.parametrize("file", [f"test_{op}.py" for op in OPS])
def test_passes_the_contract_on_the_cpu(
    request: pytest.FixtureRequest, emulated: dict[str, Future[str]], file: str
) -> None:
    said = emulated[file].result()
    ended = re.search(r"(\d+) passed", said)
    assert ended, said
    assert "skipped" not in said.splitlines()[-1]
    count(request.node, file[len("test_") : -len(".py")], "cpu", "cuda, emulated", int(ended[1]))
