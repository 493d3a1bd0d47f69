# SPDX-License-Identifier: Apache-2.0
"""Runs `pytest benches`, reads the JSON of pytest-benchmark, and makes tables of it."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from fv2v.io.paths import PathLike, check_input

QUICK = ("--benchmark-max-time=0.1", "--benchmark-min-rounds=2", "--benchmark-warmup=off")


@dataclass(frozen=True, slots=True)
class Row:
    """One benchmark. `ratio`: how many times as fast as its group's baseline; `gain`: as the older result."""

    group: str
    name: str
    median: float  # seconds
    params: Mapping[str, Any]
    extra: Mapping[str, Any]  # what the bench recorded beside the time
    gain: float | None

    @property
    def ratio(self) -> float | None:
        return self.extra.get("ratio")

    @property
    def label(self) -> str:
        return self.extra.get("label", self.name)

    @property
    def is_frame(self) -> bool:
        return "gflop" in self.extra


# heading, key in a benchmark's extra information, factor
Columns = tuple[tuple[str, str, float], ...]
OPERATORS: Columns = (
    ("GB/s", "GB/s", 1),
    ("% of copy", "share", 100),
    ("peak MB", "peak_bytes", 1e-6),
    ("process MB", "process_peak_bytes", 1e-6),
)
FRAMES: Columns = (
    ("GFLOP before", "gflop_before", 1),
    ("after", "gflop", 1),
    ("floor ms", "floor", 1e3),
    ("% of floor", "floor_share", 100),
    ("GFLOP/s", "GFLOP/s", 1),
    ("alone", "GFLOP/s alone", 1),
    ("peak MB", "peak_bytes", 1e-6),
    ("process MB", "process_peak_bytes", 1e-6),
    ("in all", "process_bytes", 1e-6),
)


def run(*, quick: bool = False) -> dict[str, Any]:
    """Run the benches of the checkout and return pytest-benchmark's results.

    Raises:
        ValueError: there is no benches/ folder, or a benchmark failed.
    """
    root = _checkout()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        options = ["-q", "-p", "no:cacheprovider", "--benchmark-only", f"--benchmark-json={results}"]
        command = [sys.executable, "-m", "pytest", str(root / "benches"), *options, *(QUICK if quick else ())]
        # not in the checkout: its source folders would hide the installed package, which has the kernels
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode or not results.exists():
            last = done.stdout.strip().splitlines()[-1:] or ["no output"]
            raise ValueError(f"pytest benches failed in {root}: {last[0]}")
        return load(results)


def load(path: PathLike) -> dict[str, Any]:
    """Results that pytest-benchmark saved with --benchmark-json. ValueError if they are something else."""
    path = check_input(path)
    try:
        results = json.loads(path.read_text())
        read_rows(results)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected results saved by pytest --benchmark-json ({error!r})") from None
    return results


def read_rows(results: Mapping[str, Any], against: Mapping[str, Any] | None = None) -> list[Row]:
    """The benchmarks in the order they ran; `against`: older results whose medians they are compared with."""
    older = (
        {bench["fullname"]: bench["stats"]["median"] for bench in against["benchmarks"]} if against else {}
    )
    rows = []
    for bench in results["benchmarks"]:
        median, before = float(bench["stats"]["median"]), older.get(bench["fullname"])
        rows.append(
            Row(
                group=bench["group"] or "",
                name=bench["name"],
                median=median,
                params=bench.get("params") or {},
                extra=dict(bench["extra_info"]),
                gain=before / median if before else None,
            )
        )
    return rows


def tables(rows: list[Row], *, title: str = "", compares: bool = False) -> list[Table]:
    """A table of operators and one of frames, if there are any; rows by group, a line between groups."""
    parts = [
        (OPERATORS, [row for row in rows if not row.is_frame]),
        (FRAMES, [row for row in rows if row.is_frame]),
    ]
    return [_table(part, columns, title, compares) for columns, part in parts if part]


def _table(rows: list[Row], columns: Columns, title: str, compares: bool) -> Table:
    result = Table(title=title, title_justify="left")
    result.add_column("benchmark", overflow="fold")
    headings = ("median", "x baseline", *(heading for heading, _, _ in columns))
    for heading in (*headings, *(["x older"] if compares else [])):
        result.add_column(heading, justify="right")
    for group in dict.fromkeys(row.group for row in rows):
        result.add_section()
        result.add_row(f"[bold]{group or 'ungrouped'}[/bold]")
        for row in (row for row in rows if row.group == group):
            recorded = [_times(factor, row.extra.get(key)) for _, key, factor in columns]
            numbers = [row.ratio, *recorded, *([row.gain] if compares else [])]
            result.add_row(escape(f"  {row.label}"), time_of(row.median), *map(_number, numbers))
    return result


def machine(results: Mapping[str, Any]) -> str:
    """Where and when results were measured, in a line, and how fast memory is copied there."""
    info = results.get("machine_info", {})
    device = info.get("device") or info.get("cpu", {}).get("brand_raw") or "unknown machine"
    copy = f", memory copies {info['copy_GB/s']} GB/s" if "copy_GB/s" in info else ""
    return f"{device}{copy}, {str(results.get('datetime', 'undated'))[:16]}"


def time_of(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _checkout() -> Path:
    """The folder that has benches/: the current one, or the checkout that the package is imported from."""
    for root in (Path.cwd(), Path(__file__).parents[2]):
        if any((root / "benches").glob("bench_*.py")):
            return root
    raise ValueError("no benches/ folder here: run `fv2v bench` in a checkout of the project")
