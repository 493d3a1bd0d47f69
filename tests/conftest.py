# SPDX-License-Identifier: Apache-2.0
"""Poisoned memory and a seed for every test; which tests run, and where; the operators' contract over
op × backend × dtype × case.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

import cuda_on_cpu  # noqa: F401  before any operator runs: it may add to the backends
import pytest
import torch
from contract_report import count, print_counts
from gpu_cases import keep_alone, leave_out, print_left_out, receive_count, send_count

from fv2v.cli import main
from fv2v_kernels._native import INTERPRETED

pytest.register_assert_rewrite("op_contract", "accuracy")

MOST_PROCESSES = 8  # each takes a gigabyte

# Processes that tests start import what is installed, not the source folder they happen to run in.
os.environ.setdefault("PYTHONSAFEPATH", "1")


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Every torch.empty, C++ ones too, comes full of NaN: an element left unwritten fails the test."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def seed() -> None:
    """Whatever torch draws is the same in every run, whichever other tests run: PyTorch seeds by chance."""
    torch.manual_seed(0)


# before a file is imported, before a test's fixtures are made, and before the test itself
pytest_collectstart = pytest_runtest_setup = pytest_runtest_call = seed


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow",
        action="store_true",
        help="run the tests marked slow, and no others: `pytest`, then `pytest --slow`, run every test once",
    )
    parser.addoption(
        "--gpu",
        action="store_true",
        help="run the cases that need a GPU, slow or not, and no others: benches/gpu.sh does",
    )


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads its options
def pytest_cmdline_main(config: pytest.Config) -> None:
    """`pytest` without a path spreads the tests over the cores, one thread each; `pytest -n 0` does not."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.collectonly
    is_worker = hasattr(config, "workerinput")  # or each would start workers of its own
    if whole and not is_worker and not config.option.usepdb and config.getoption("numprocesses", 0) is None:
        config.option.numprocesses = min(os.cpu_count() or 1, MOST_PROCESSES)
        config.option.dist = "worksteal"
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_sessionstart() -> None:
    """What tests start are no workers of pytest-xdist, and print tables at their own width.

    readline, which pytest imports, exports COLUMNS and LINES to the processes that it starts.
    """
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")] + ["COLUMNS", "LINES"]:
        os.environ.pop(name, None)


def pytest_configure(config: pytest.Config) -> None:
    if INTERPRETED:
        from interpreter import hasten

        hasten()
    # an expression of the caller's own has the last word: -m "slow or not slow" selects everything
    if not config.option.gpu:
        config.option.markexpr = config.option.markexpr or ("slow" if config.option.slow else "not slow")


@pytest.hookimpl(tryfirst=True)  # before others deselect
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_out(items)
    if config.option.gpu:
        keep_alone(items)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ids read op-device-backend-dtype-case: `-k "warp3d and triton and float16"` selects."""
    from layouts import LAYOUTS
    from op_contract import PLACES_HERE, THREADED

    op = getattr(metafunc.cls, "op", None)
    if op is None:
        return
    for fixture, places in (("place", PLACES_HERE), ("threaded_place", THREADED)):
        if fixture in metafunc.fixturenames:
            ids = ["-".join((op.name, *place)) for place in places]
            metafunc.parametrize(fixture, places, ids=ids, indirect=True, scope="function")
    # the interpreter is slow: there two cases of five in float32, which leaves out no option, else one;
    # and every layout in float32, else one
    cases = [case for i, case in enumerate(op.cases) if not INTERPRETED or case == op.plain or i % 5 < 2]
    if {"dtype", "layout"} <= set(metafunc.fixturenames):
        pairs = [
            pytest.param(dtype, layout, id=f"{_name(dtype)}-{layout.__name__}")
            for layout in LAYOUTS
            for dtype in op.dtypes
            if not INTERPRETED or dtype == op.dtypes[0] or layout == LAYOUTS[0]
        ]
        metafunc.parametrize(("dtype", "layout"), pairs)
    elif {"dtype", "case"} <= set(metafunc.fixturenames):
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    print_counts(terminalreporter)
    print_left_out(terminalreporter)


def pytest_sessionfinish(session: pytest.Session) -> None:
    send_count(session.config)


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_testnodedown(node: Any) -> None:
    receive_count(node)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@pytest.fixture
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    """(device, backend); the test is skipped where this build lacks it."""
    from op_contract import require

    name, (device, backend) = request.cls.op.name, request.param
    count(request.node, name, device, backend)
    require(name, device, backend)
    return device, backend


threaded_place = place


@pytest.fixture
def fv2v(monkeypatch, capfd):
    """fv2v("info") -> (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fv2v", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        return stopped.value.code or 0, out, err

    return run
