"""The Triton kernels on a machine without a GPU: in Triton's interpreter, on CPU tensors.

Triton decides between interpreting and compiling when a kernel is defined, so this takes a process of its
own; by hand: `TRITON_INTERPRET=1 pytest tests/kernels/test_warp3d.py -k triton`.
"""

import re
from collections.abc import Iterator
from concurrent.futures import Future
from importlib.util import find_spec

import pytest
from contract_report import count
from processes import run_file, running

from fv2v_kernels import OPS
from fv2v_kernels._native import INTERPRETED

pytestmark = [
    pytest.mark.skipif(INTERPRETED, reason="this process interprets already"),
    pytest.mark.skipif(
        find_spec("triton") is None, reason="triton is not installed: install the extra `test`"
    ),
]


@pytest.fixture(scope="module")
def interpreted(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[str]]]:
    """What is said of the tests of triton in each file."""

    def interpret(file: str) -> str:
        # a GPU stays out of sight, so that every test marked triton runs on the CPU
        return run_file(f"kernels/{file}", "cpu-triton", TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")

    with running(request, interpret) as files:
        yield files


@pytest.mark.parametrize("file", [*(f"test_{op}.py" for op in OPS), "test_differential.py"])
def test_passes_in_the_interpreter(
    request: pytest.FixtureRequest, interpreted: dict[str, Future[str]], file: str
) -> None:
    """The contract of each operator, and random calls."""
    last = interpreted[file].result().splitlines()[-1]
    print(f"{file}: {last}")
    ended = {outcome: int(number) for number, outcome in re.findall(r"(\d+) (passed|skipped)", last)}
    if file == "test_differential.py":
        assert ended["passed"] == len(OPS)
        return
    assert ended.keys() == {"passed"}
    count(request.node, file[len("test_") : -len(".py")], "cpu", "triton", ended["passed"])
