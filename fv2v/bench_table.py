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
    share: float | None  # of the machine's copy bandwidth
    peak: int | None  # bytes held at once, allocated through torch
    process_peak: int | None  # bytes the process grew by
    gain: float | None


def run(*, quick: bool = False) -> dict[str, Any]:
    """Run the benches of the checkout and return pytest-benchmark's results.

    Raises:
        ValueError: there is no benches/ folder in sight, or a bench failed.
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
            last = done.stdout.strip().splitlines()[-1:] or ["it said nothing"]
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
                share=extra.get("share"),
                peak=extra.get("peak_bytes"),
                process_peak=extra.get("process_peak_bytes"),
                gain=before / median if before else None,
            )
        )
    return rows


def table(rows: list[Row], *, title: str = "", compares: bool = False) -> Table:
    """Rows by group, a line between groups."""
    result = Table(title=title, title_justify="left")
    result.add_column("benchmark", overflow="fold")
    headings = ("median", "x baseline", "GB/s", "% of copy", "peak MB", "process MB")
    for heading in (*headings, *(["x older"] if compares else [])):
        result.add_column(heading, justify="right")
    for group in dict.fromkeys(row.group for row in rows):
        result.add_section()
        result.add_row(f"[bold]{group or 'ungrouped'}[/bold]")
        for row in (row for row in rows if row.group == group):
            share, peak, process = (
                _times(100, row.share),
                _times(1e-6, row.peak),
                _times(1e-6, row.process_peak),
            )
            numbers = [row.ratio, row.bandwidth, share, peak, process, *([row.gain] if compares else [])]
            result.add_row(f"  {row.name}", _time(row.median), *map(_number, numbers))
    return result


def machine(results: Mapping[str, Any]) -> str:
    """Where and when results were measured, in a line, and how fast memory is copied there."""
    info = results.get("machine_info", {})
    device = info.get("device") or info.get("cpu", {}).get("brand_raw") or "unknown machine"
    copy = f", copies {info['copy_GB/s']} GB/s" if "copy_GB/s" in info else ""
    return f"{device}{copy}, {str(results.get('datetime', 'undated'))[:16]}"


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _checkout() -> Path:
    """The folder that has benches/: this one, or the one that the package is imported from."""
    for root in (Path.cwd(), Path(__file__).parent.parent):
        if any((root / "benches").glob("bench_*.py")):
            return root
    raise ValueError("no benches/ folder here: run `fv2v bench` in a checkout of the project")
