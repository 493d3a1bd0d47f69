"""Poisoned memory for every test, and the operators' contract spread over op × backend × dtype × case."""

import os
from collections.abc import Iterator

import pytest
import torch

from fv2v_kernels._native import INTERPRETED

pytest.register_assert_rewrite("op_contract", "accuracy")

# Processes that tests start import what is installed, not the source folder they happen to run in.
os.environ.setdefault("PYTHONSAFEPATH", "1")


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Every torch.empty, C++ ones too, comes full of NaN: an element left unwritten fails the test."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ids read op-device-backend-dtype-case: `-k "warp3d and triton and float16"` selects."""
    from op_contract import PLACES

    op = getattr(metafunc.cls, "op", None)
    if op is None:
        return
    if "place" in metafunc.fixturenames:
        ids = ["-".join((op.name, *place)) for place in PLACES]
        metafunc.parametrize("place", PLACES, ids=ids, indirect=True, scope="function")
    # the interpreter is slow: there two cases of five in float32, which leaves out no option, else one
    cases = [case for i, case in enumerate(op.cases) if not INTERPRETED or case == op.plain or i % 5 < 2]
    if {"dtype", "case"} <= set(metafunc.fixturenames):
        pairs = [
            pytest.param(dtype, case, id=f"{_name(dtype)}-{case}")
            for dtype in op.dtypes
            for case in cases
            if not INTERPRETED or dtype == op.dtypes[0] or case == op.plain
        ]
        metafunc.parametrize(("dtype", "case"), pairs)
    elif "dtype" in metafunc.fixturenames:
        metafunc.parametrize("dtype", op.dtypes[:1] if INTERPRETED else op.dtypes, ids=_name)
    elif "case" in metafunc.fixturenames:
        metafunc.parametrize("case", [op.plain] if INTERPRETED else cases)
    if "smooth_case" in metafunc.fixturenames:
        metafunc.parametrize("smooth_case", op.smooth)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@pytest.fixture
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    """(device, backend), skipped out loud where this machine or this build lacks it."""
    from op_contract import require

    device, backend = request.param
    require(request.cls.op.name, device, backend)
    return device, backend
