"""What `pytest -k contract` runs is all that exists: every operator × backend × dtype × layout."""

import importlib
import itertools
import os
import re
import subprocess
import sys

import layouts
import pytest
from op_contract import Op, OpContract
from places import TESTS

from fv2v_kernels import BACKENDS, OPS
from fv2v_kernels._native import INTERPRETED

ID = re.compile(r"::test_takes_any_strides\[(\w+)-(\w+)-(\w+)-(\w+)-(\w+)\]$", re.M)
pytestmark = pytest.mark.skipif(INTERPRETED, reason="the process that interprets is asked from outside")


def op_of(name: str) -> Op:
    """What tests/kernels/test_<name>.py holds to the contract."""
    (found,) = (
        each
        for each in vars(importlib.import_module(f"test_{name}")).values()
        if isinstance(each, type) and issubclass(each, OpContract) and each is not OpContract
    )
    assert found.op.name == name
    return found.op


def all_there_is(*places: tuple[str, str]) -> set[tuple[str, ...]]:
    """(operator, device, backend, dtype, layout)"""
    ways = [name for name, each in vars(layouts).items() if getattr(each, "__module__", "") == "layouts"]
    return {
        (op, *place, str(dtype).removeprefix("torch."), way)
        for op, place, way in itertools.product(OPS, places, ways)
        for dtype in op_of(op).dtypes
    }


def collected(selection: str, **environment: str) -> set[tuple[str, ...]]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        selection,
    ]
    done = subprocess.run(
        [*command, *(str(TESTS / f"kernels/test_{op}.py") for op in OPS)],
        cwd=TESTS.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return set(ID.findall(done.stdout))


def test_it_covers_every_backend() -> None:
    places = [(device, backend) for device in BACKENDS for backend in BACKENDS[device]]
    assert collected("contract") == all_there_is(*places)


def test_it_covers_the_interpreter_of_triton() -> None:
    """As test_triton_interpreter.py selects."""
    assert collected("cpu-triton", TRITON_INTERPRET="1") == all_there_is(("cpu", "triton"))
