"""The Triton kernels on a machine without a GPU: in Triton's interpreter, on CPU tensors.

Triton decides between interpreting and compiling when a kernel is defined, so this takes a process of its
own; by hand: `TRITON_INTERPRET=1 pytest tests/test_warp3d.py -k triton`.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from contract_report import count

from fv2v_kernels import OPS
from fv2v_kernels._native import INTERPRETED

TESTS = Path(__file__).parent
pytestmark = [
    pytest.mark.skipif(INTERPRETED, reason="this process interprets already"),
    pytest.mark.skipif(
        find_spec("triton") is None, reason="triton is not installed: install the extra `test`"
    ),
]


def interpret(file: str) -> dict[str, int]:
    """How many tests of triton in this file passed and were skipped; none may fail."""
    # a GPU stays out of sight, so that every test marked triton runs on the CPU
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-k", "cpu-triton", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, str(TESTS / file)],
        cwd=TESTS.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    last = result.stdout.splitlines()[-1]
    print(f"{file}: {last}")
    return {outcome: int(number) for number, outcome in re.findall(r"(\d+) (passed|skipped)", last)}


@pytest.mark.parametrize("op", OPS)
def test_passes_the_contract_in_the_interpreter(request: pytest.FixtureRequest, op: str) -> None:
    ended = interpret(f"test_{op}.py")
    assert ended.keys() == {"passed"}
    count(request.node, op, "cpu", "triton", ended["passed"])


def test_agrees_with_the_reference_on_random_calls() -> None:
    assert interpret("test_differential.py")["passed"] == len(OPS)
