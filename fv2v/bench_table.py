"""`pytest benches` for people: runs it, reads the JSON of pytest-benchmark, makes a table of it."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from fv2v.paths import PathLike, check_input

QUICK = ("--benchmark-max-time=0.1", "--benchmark-min-rounds=2", "--benchmark-warmup=off")


@dataclass(frozen=True, slots=True)
class Row:
    """One benchmark. `ratio`: times as fast as its group's baseline; `gain`: as its older self."""

    group: str
    name: str
    median: float  # seconds
    ratio: float | None
    bandwidth: float | None  # GB/s
    peak: int | None  # bytes held at once
    gain: float | None


def run(*, quick: bool = False) -> dict[str, Any]:
    """Run the benches of the checkout and return pytest-benchmark's results.

    Raises:
        ValueError: there is no benches/ folder in sight, or a bench failed.
    """
    root = _checkout()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        options = ["--benchmark-only", f"--benchmark-json={results}", *(QUICK if quick else ())]
        command = [sys.executable, "-m", "pytest", "benches", "-q", "-p", "no:cacheprovider", *options]
        done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode or not results.exists():
            last = done.stdout.strip().splitlines()[-1:] or ["it said nothing"]
            raise ValueError(f"{' '.join(command[2:5])} failed in {root}: {last[0]}")
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
    """The benchmarks in the order they ran; `against` are older results to compare the medians with."""
    older = (
        {bench["fullname"]: bench["stats"]["median"] for bench in against["benchmarks"]} if against else {}
    )
    rows = []
    for bench in results["benchmarks"]:
        median, extra = float(bench["stats"]["median"]), bench["extra_info"]
        before = older.get(bench["fullname"])
        rows.append(
            Row(
                group=bench["group"] or "",
                name=bench["name"],
                median=median,
                ratio=extra.get("ratio"),
                bandwidth=extra.get("GB/s"),
                peak=extra.get("peak_bytes"),
                gain=before / median if before else None,
            )
        )
    return rows


def table(rows: list[Row], *, title: str = "", compares: bool = False) -> Table:
    """Rows by group, a line between groups."""
    result = Table(title=title, title_justify="left")
    result.add_column("benchmark", overflow="fold")
    for heading in ("median", "x baseline", "GB/s", "peak MB", *(["x older"] if compares else [])):
        result.add_column(heading, justify="right")
    for group in dict.fromkeys(row.group for row in rows):
        result.add_section()
        result.add_row(f"[bold]{group or 'ungrouped'}[/bold]")
        for row in (row for row in rows if row.group == group):
            peak = None if row.peak is None else row.peak / 1e6
            numbers = [row.ratio, row.bandwidth, peak, *([row.gain] if compares else [])]
            result.add_row(f"  {row.name}", _time(row.median), *map(_number, numbers))
    return result


def machine(results: Mapping[str, Any]) -> str:
    """Where and when results were measured, in a line."""
    info = results.get("machine_info", {})
    device = info.get("device") or info.get("cpu", {}).get("brand_raw") or "unknown machine"
    return f"{device}, {str(results.get('datetime', 'undated'))[:16]}"


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _checkout() -> Path:
    """The folder that has benches/: this one, or the one that the package is imported from."""
    for root in (Path.cwd(), Path(__file__).parent.parent):
        if any((root / "benches").glob("bench_*.py")):
            return root
    raise ValueError("no benches/ folder here: run `fv2v bench` in a checkout of the project")
