# SPDX-License-Identifier: Apache-2.0
"""`fv2v bench`: on a checkout of its own with two real benchmarks."""

import json
import sys

import pytest
from rich.console import Console

from fv2v.cli import main
from fv2v.diagnostics import bench_results

BENCHES = """
import pytest

@pytest.mark.parametrize("size", [10, 20_000])
def test_sum(benchmark, size):
    benchmark.group = f"sum of {size}"
    benchmark(sum, range(size))
    benchmark.extra_info["GB/s"] = 12.5
    benchmark.extra_info["ratio"] = 9.25
    benchmark.extra_info["share"] = 0.625
    benchmark.extra_info["peak_bytes"] = 3_450_000
    benchmark.extra_info["process_peak_bytes"] = 5_670_000

def test_alone(benchmark):
    benchmark(sorted, [3, 1, 2])
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "benches").mkdir()
    (tmp_path / "benches" / "bench_sum.py").write_text(BENCHES)
    (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = bench_*.py\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(table) -> str:
    console = Console(width=150)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_runs_the_benches_and_reads_them(checkout):
    results = bench_results.run(quick=True)
    rows = {row.name: row for row in bench_results.read_rows(results)}
    assert rows.keys() == {"test_sum[10]", "test_sum[20000]", "test_alone"}
    small, large, alone = (rows[name] for name in ("test_sum[10]", "test_sum[20000]", "test_alone"))
    assert (small.group, small.ratio, small.gain) == ("sum of 10", 9.25, None)
    assert (small.params, small.extra["GB/s"], small.extra["share"]) == ({"size": 10}, 12.5, 0.625)
    assert (alone.group, alone.ratio, alone.params, alone.extra) == ("", None, {}, {})
    assert large.median > 20 * small.median
    [table] = bench_results.tables(list(rows.values()))
    text = printed(table)
    assert text.index("sum of 10") < text.index("test_sum[10]") < text.index("sum of 20000")
    assert "9.25" in text
    assert "12.50 │     62.50 │    3.45 │       5.67" in text
    assert "x older" not in text


def test_the_command_compares_with_older_results(checkout, monkeypatch, capsys):
    older = bench_results.run(quick=True)
    for bench in older["benchmarks"]:
        bench["stats"]["median"] *= 1000
    (checkout / "older.json").write_text(json.dumps(older))
    monkeypatch.setattr(sys, "argv", ["fv2v", "bench", "--quick", "--against", "older.json"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    out = capsys.readouterr().out
    assert "x older" in out
    gains = [row.gain for row in bench_results.read_rows(bench_results.run(quick=True), older)]
    assert all(100 < gain < 10_000 for gain in gains)


def test_a_failing_bench_is_told(checkout):
    (checkout / "benches" / "bench_sum.py").write_text(
        "def test_broken(benchmark):\n    assert benchmark is None\n"
    )
    with pytest.raises(ValueError, match=r"pytest benches failed in .*: 1 failed"):
        bench_results.run(quick=True)


def test_the_installed_package_is_measured(checkout, monkeypatch):
    """A checkout's source folder has no compiled kernels, unless they were built in place."""
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    (checkout / "rich.py").write_text("raise ImportError('not the installed one')\n")
    bench = checkout / "benches" / "bench_sum.py"
    bench.write_text("import rich\n" + BENCHES)
    assert len(bench_results.run(quick=True)["benchmarks"]) == 3


@pytest.mark.parametrize(
    ("info", "line"),
    [
        ({"device": "A CPU", "copy_GB/s": 20.7}, "A CPU, memory copies 20.7 GB/s, 2026-11-22T10:00"),
        ({"device": "A CPU"}, "A CPU, 2026-11-22T10:00"),  # results older than that figure
        ({"cpu": {"brand_raw": "The plugin's own"}}, "The plugin's own, 2026-11-22T10:00"),
    ],
)
def test_the_machine_in_a_line(info, line):
    assert bench_results.machine({"machine_info": info, "datetime": "2026-11-22T10:00:59.1"}) == line


def test_without_benches_it_says_where_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        bench_results, "__file__", str(tmp_path / "site-packages" / "fv2v" / "bench_results.py")
    )
    with pytest.raises(ValueError, match="no benches/ folder here: run `fv2v bench` in a checkout"):
        bench_results.run()


@pytest.mark.parametrize("content", ["no JSON", "[]", "{}", '{"benchmarks": [{"name": "x"}]}'])
def test_other_files_are_no_results(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=r"results\.json: expected results saved by pytest --benchmark-json"):
        bench_results.load(tmp_path / "results.json")


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.56e-5, "45.6 µs"), (7e-8, "70 ns")]
)
def test_times_read_well(seconds, text):
    assert bench_results.time_of(seconds) == text
