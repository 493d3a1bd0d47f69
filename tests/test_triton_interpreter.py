"""The contract of every Triton kernel on a machine without a GPU: in Triton's interpreter, on CPU tensors.

Triton decides between interpreting and compiling when a kernel is defined, so this takes a process of its
own; by hand: `TRITON_INTERPRET=1 pytest tests/test_warp3d.py -k triton`.
"""

import os
import pkgutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import fv2v_kernels.ops
from fv2v_kernels._native import INTERPRETED

TESTS = Path(__file__).parent
OPS = sorted(found.name for found in pkgutil.iter_modules(fv2v_kernels.ops.__path__))


@pytest.mark.skipif(INTERPRETED, reason="this process interprets already")
@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed: install the extra `test`")
@pytest.mark.parametrize("op", OPS)
def test_passes_the_contract_in_the_interpreter(op: str) -> None:
    # a GPU stays out of sight, so that every test marked triton runs on the CPU
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-k", "cpu-triton", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, str(TESTS / f"test_{op}.py")],
        cwd=TESTS.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
