# SPDX-License-Identifier: Apache-2.0
"""Benches of every operator and of the whole frame: `pytest benches --benchmark-only`.

A run of the whole folder saves itself as benches/results/<machine>-<date>.json; a run of a part (`-k`, one
file) saves only where `--benchmark-json` says. `--benchmark-compare=FILE` takes any of those files. On a CPU
the whole folder has the main rows alone: every operator at one volume, and a frame; `--full` adds the rest.
With FV2V_TINY in the environment every size is next to nothing, and nothing is saved by itself: all rows run
in under a minute, which is what the tests do.
"""

import os

# GNU OpenMP spins between regions by default: with one busy neighbour each region then takes 12 ms
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import importlib.metadata
import platform
import re
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import frame_row
import pytest
import torch
from cases import Function, step, together
from measuring import DEVICE, TINY, copy_bandwidth, time_beside
from pytest_benchmark.fixture import BenchmarkFixture
from rich.console import Console
from torch import Tensor

from fv2v.diagnostics import bench_results
from fv2v_kernels import OPS, available

HERE = Path(__file__).parent
CLOSE = {"rtol": 1e-2, "atol": 1e-2} if DEVICE == "cuda" else {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture
def beside(benchmark: BenchmarkFixture, pytestconfig: pytest.Config) -> Callable[..., None]:
    """beside(run, baseline, moved): time `run` in pairs with `baseline`, as long as the options say."""
    max_time = float(pytestconfig.getoption("benchmark_max_time"))
    min_rounds = pytestconfig.getoption("benchmark_min_rounds")
    return partial(time_beside, benchmark, max_time=max_time, min_rounds=min_rounds)


@pytest.fixture
def measure_frame(benchmark: BenchmarkFixture, pytestconfig: pytest.Config) -> Callable[..., None]:
    """measure_frame(stage, beside, **about): one row of a frame's benches."""
    return partial(frame_row.frame_row, benchmark, pytestconfig.getoption("benchmark_min_rounds"))


@pytest.fixture
def measure(benchmark: BenchmarkFixture, beside: Callable[..., None]) -> Callable[..., None]:
    """measure(op, baseline, tensors, name, mode, backend): one row of the group "name, mode"."""

    def _measure(
        op: Function,
        baseline: Function,
        tensors: Sequence[Tensor],
        *,
        name: str,
        mode: str,
        backend: str,
    ) -> None:
        benchmark.group = f"{name}, {mode}"
        stock, moved = step(baseline, tensors, mode)
        if backend == "torch":
            run = stock
        elif backend == "torch.compile":
            torch.compiler.reset()  # or the second volume would be compiled for any size
            run, _ = step(torch.compile(baseline, dynamic=False), tensors, mode)
        else:
            chosen = partial(op, backend=backend)
            # or a ratio means nothing
            torch.testing.assert_close(together(chosen(*tensors)), together(baseline(*tensors)), **CLOSE)
            run, _ = step(chosen, tensors, mode)
        beside(run, stock, moved, replayed=True)

    return _measure


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full",
        action="store_true",
        help="benches: on a CPU too all files, volumes and presets, batch 8, torch.compile",
    )


@pytest.hookimpl(tryfirst=True)  # before the plugin reads its options
def pytest_configure(config: pytest.Config) -> None:
    asked = config.option
    if _whole_folder(config) and asked.benchmark_only and not asked.benchmark_json and not TINY:
        folder = HERE / "results"
        folder.mkdir(exist_ok=True)
        asked.benchmark_json = folder / f"{machine()}-{date.today()}.json"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a CPU a run of the whole folder has the main rows alone, unless `--full` asks for all.

    Compiled baselines and references run at the smallest volumes alone, which saves five minutes.
    """
    if DEVICE == "cpu":
        left_out = [item for item in items if _stock_and_large(item)]
        if _whole_folder(config) and not config.option.full:
            left_out += [item for item in items if not _main(item) and item not in left_out]
        if TINY:  # compilers take their time, whatever the size; one row of an operator shows that they run
            compiled = [item for item in items if "torch.compile" in item.name]
            left_out += compiled[1:]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _whole_folder(config: pytest.Config) -> bool:
    return not config.option.keyword and all(Path(arg).resolve() == HERE for arg in config.args)


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def _main(item: pytest.Item) -> bool:
    """An operator at the releases' volume, each direction, beside stock PyTorch; the stages of a frame."""
    chosen = _parameters(item)
    if "volume" not in chosen:
        return item.module.__name__ == "bench_reenactor"
    backends = ("torch", *available(item.originalname.removeprefix("test_"), DEVICE)[:1])
    return chosen["volume"] == next(iter(item.module.VOLUMES)) and chosen["backend"] in backends


def _stock_and_large(item: pytest.Item) -> bool:
    chosen = _parameters(item)
    if chosen.get("backend") not in ("torch.compile", "reference"):
        return False
    volumes = item.module.VOLUMES
    return prod(volumes[chosen["volume"]]) > prod(next(iter(volumes.values())))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The frames' rows again, with what the plugin's table has no columns for."""
    for table in bench_results.tables(bench_results.read_rows({"benchmarks": frame_row.measured})):
        terminalreporter.write_line("")
        with (console := Console(width=150)).capture() as printed:
            console.print(table)
        terminalreporter.write(printed.get())


def machine() -> str:
    """A name for the hardware: never the host's."""
    model = re.sub(r"\W+", "-", hardware().lower()).strip("-")
    if DEVICE == "cuda":
        return f"{model}-{torch.cuda.get_device_properties(0).multi_processor_count}sm"
    return f"{model}-{os.cpu_count()}core"


def hardware() -> str:
    return torch.cuda.get_device_name() if DEVICE == "cuda" else cpu()


def cpu() -> str:
    listed = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", listed.read_text()) if listed.exists() else None
    return found[1] if found else platform.machine()


def pytest_benchmark_generate_machine_info() -> dict[str, Any]:
    """In place of the plugin's own, which names the host."""
    return {
        "machine": machine(),
        "device": hardware(),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "copy_GB/s": round(copy_bandwidth(), 1),
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(("MALLOC_", "OMP_", "GOMP_", "KMP_", "MKL_", "LD_PRELOAD"))
        },
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "triton": version("triton"),
        "fv2v": version("fv2v"),
        "backends": {op: available(op, DEVICE) for op in OPS},
    }


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def pytest_benchmark_update_commit_info(commit_info: dict[str, Any]) -> None:
    commit_info["project"] = "fv2v"  # the plugin takes the checkout folder's name


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    for row in output_json["benchmarks"]:
        del row["stats"]["data"]  # every round's time: the statistics say enough, and are committed
