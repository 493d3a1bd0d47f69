# SPDX-License-Identifier: Apache-2.0
"""What `pytest -k contract` runs is all that exists: every operator × backend × dtype × layout."""

import importlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Sequence

import layouts
import pytest
from op_contract import PLACES, Op, OpContract
from places import TESTS

from fv2v_kernels import OPS
from fv2v_kernels._native import INTERPRETED

ID = re.compile(r"::test_takes_any_strides\[(\w+)-(\w+)-(\w+)-(\w+)-(\w+)\]$", re.M)
FEIGNED_GPU = """
import sys, pytest, torch
torch.cuda.is_available = lambda: True
sys.exit(pytest.main(sys.argv[1:]))
"""
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
    ways = [each.__name__ for each in layouts.LAYOUTS]
    return {
        (op, *place, str(dtype).removeprefix("torch."), way)
        for op, place, way in itertools.product(OPS, places, ways)
        for dtype in op_of(op).dtypes
    }


def collect(selection: str, python: Sequence[str] = ("-m", "pytest"), **environment: str) -> str:
    """What pytest prints of the operators' tests that `selection` (its -k) takes."""
    options = ["--collect-only", "-q", "-m", "slow or not slow", "-p", "no:cacheprovider", "-k", selection]
    done = subprocess.run(
        [sys.executable, *python, *options, *(str(TESTS / f"kernels/test_{op}.py") for op in OPS)],
        cwd=TESTS.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def covered(printed: str) -> set[tuple[str, ...]]:
    return set(ID.findall(printed))


def test_it_covers_every_backend() -> None:
    """With a GPU, here feigned; without one all but the GPU's cases, which are counted."""
    everywhere = collect("contract", ("-c", FEIGNED_GPU))
    without = collect("contract", CUDA_VISIBLE_DEVICES="")
    assert covered(everywhere) == all_there_is(*PLACES)
    assert covered(without) == all_there_is(*(place for place in PLACES if place[0] == "cpu"))
    (number,) = re.findall(r"^([\d,]+) cases need a GPU", without, re.M)
    assert int(number.replace(",", "")) == len(re.findall(r"\[\w+-cuda-", everywhere))


def test_it_covers_the_interpreter_of_triton() -> None:
    """As test_triton_interpreter.py selects: every layout of one dtype, every dtype of one layout."""
    printed = collect("cpu-triton", TRITON_INTERPRET="1")
    plain, first = layouts.LAYOUTS[0].__name__, {op: str(op_of(op).dtypes[0]) for op in OPS}
    assert covered(printed) == {
        each
        for each in all_there_is(("cpu", "triton"))
        if each[4] == plain or f"torch.{each[3]}" == first[each[0]]
    }
