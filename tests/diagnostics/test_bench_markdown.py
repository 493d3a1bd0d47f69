# SPDX-License-Identifier: Apache-2.0
"""`fv2v bench --markdown` and `--into`: what they make of results, and that the pages show the same."""

import json
import re
import sys

import pytest
from places import BENCHES, README

from fv2v.cli import main
from fv2v.diagnostics import bench_markdown, bench_results

MACHINE = {
    "device": "A CPU",
    "cpu": "A CPU",
    "threads": 2,
    "torch": "2.13",
    "copy_GB/s": 20.0,
    "environment": {"MALLOC_TRIM_THRESHOLD_": "1"},
    "backends": {"warp3d": ["cpu", "reference"]},
}


def row(name, median, extra, params=None):
    return {
        "group": "", "name": name, "fullname": name, "stats": {"median": median},
        "extra_info": extra, "params": params,
    }  # fmt: skip


def frame(stage, form, median, before, gflop, ratio, share, memory):
    return row(f"{stage}-{form}", median, {
        "preset": "vox-256", "batch": 1, "stage": stage, "form": form, "label": f"{stage}, {form}",
        "gflop_before": before, "gflop": gflop, "ratio": ratio, "floor_share": share, "peak_bytes": memory,
        "process_bytes": 10 * memory if stage == "whole frame" else None,
    })  # fmt: skip


def training(operators, median, speed, ratio, memory):
    return row(f"t-{operators}", median, {
        "training": "a model", "batch": 2, "operators": operators, "label": f"training step, {operators}",
        "samples/s": speed, "ratio": ratio, "peak_bytes": memory, "process_peak_bytes": 1,
    })  # fmt: skip


def operator(mode, backend, median, ratio, memory):
    params = {"volume": "8x4x4x4", "mode": mode, "backend": backend}
    return row(
        f"test_warp3d[{mode}-{backend}]", median, {"ratio": ratio, "process_peak_bytes": memory}, params
    )


RESULTS = {
    "machine_info": MACHINE,
    "datetime": "2026-11-24T10:00:00",
    "benchmarks": [
        frame("whole frame", "plain eager", 1.9, 342.39, 342.39, 1.0, 0.5, 200_000_000),
        frame("whole frame", "torch.compile", 1.8, 342.39, 342.39, 1.05, 0.52, 200_000_000),
        frame("whole frame", "frame path", 0.95, 342.39, 296.3, 2.0, 0.84, 150_000_000),
        frame("compose and warp", "plain eager", 0.03, 0.0, 0.0, 1.0, None, 1_000_000),
        frame("compose and warp", "frame path", 0.002, 0.0, 0.0, 15.0, None, 500_000),
        row(
            "r",
            1.5,
            {"preset": "vox-256", "rewrite": 2, "label": "fold_norms", "gflop": 342.39, "ratio": 1.07},
        ),
        row(
            "s",
            9.0,
            {"frames": 10_000, "broken": 0, "error": {"frame path": 0.25, "stock": 0.5}},
            {"weights": "vox-256"},
        ),
        training("stock PyTorch", 1.0, 2.0, 1.0, 900_000_000),
        training("operators", 0.8, 2.5, 1.25, 600_000_000),
        operator("forward", "torch", 0.02, 1.0, 2_000_000),
        operator("forward", "cpu", 0.002, 10.0, 1_000_000),
        operator("forward+backward", "torch", 0.02, 1.0, 2_000_000),
        operator("forward+backward", "cpu", 0.008, 2.5, 1_000_000),
    ],
}
FRAMES = """\
|  | stage | plain eager | torch.compile | frame path | faster | GFLOP before | after |\
 share of the floor | peak memory |"""
WRITTEN = f"""\
Measured on A CPU, memory copies 20.0 GB/s, 2026-11-24T10:00, 2 threads, torch 2.13, glibc keeps freed memory.

{FRAMES}
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| `vox-256` | whole frame | 1.9 s | 1.8 s | 950 ms | 2.00x | 342 | 296 | 84 % | 1500.0 MB, not 2000.0 |
| `vox-256` | compose and warp | 30 ms |  | 2 ms | 15.0x | 0.0 | 0.0 |  | 0.5 MB, not 1.0 |

| whole frame | rewrite added | takes | faster by it | GFLOP |
| --- | --- | --- | --- | --- |
| `vox-256` | fold_norms | 1.5 s | 1.07x | 342 |

| half precision | frames | with NaN | mean error, of 255 | stock PyTorch's |
| --- | --- | --- | --- | --- |
| `vox-256` | 10000 | 0 | 0.250 | 0.500 |

| training step | pairs | samples/s, stock PyTorch | samples/s, operators | faster | peak of tensors |
| --- | --- | --- | --- | --- | --- |
| a model | 2 | 2 | 2.5 | 1.25x | 600.0 MB, not 900.0 |

| operator | same as, in stock PyTorch | volume | forward | forward + backward | peak memory |
| --- | --- | --- | --- | --- | --- |
| `warp3d(f, grid)` | `F.grid_sample` in 5-D | 8x4x4x4 | 2 ms, 10.0x | 8 ms, 2.50x | 1.0 MB, not 2.0 |
"""


SHORT = """\
Measured on A CPU, memory copies 20.0 GB/s, 2026-11-24T10:00, 2 threads, torch 2.13, glibc keeps freed memory.

|  | forward | faster | forward + backward | faster |
| --- | --- | --- | --- | --- |
| driving frame, `vox-256` | 950 ms | 2.00x |  |  |
| training step (a model, 2 pairs) |  |  | 800 ms | 1.25x |
| `warp3d`, 8x4x4x4 | 2 ms | 10.0x | 8 ms | 2.50x |
"""


@pytest.fixture
def bench(monkeypatch):
    """bench(*arguments): `fv2v bench` with them; its exit code."""

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["fv2v", "bench", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0

    return run


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(RESULTS))
    return path


def test_the_tables(bench, saved, capsys):
    assert not bench("--markdown", "--from", str(saved))
    assert capsys.readouterr().out.strip() == WRITTEN.strip()


@pytest.mark.parametrize(("form", "tables"), [("full", WRITTEN), ("short", SHORT)])
def test_between_the_comments(form, tables, bench, saved, tmp_path):
    page = tmp_path / "README.md"
    begin, end = bench_markdown.BEGIN, bench_markdown.END
    page.write_text(f"before\n{begin.format(form, 'older.json')}\nold\n{end}\nafter\n")
    for _ in range(2):  # the second changes nothing
        assert not bench("--from", str(saved), "--into", str(page))
        written = f"before\n{begin.format(form, 'results.json')}\n\n{tables}\n{end}\nafter\n"
        assert page.read_text() == written


PAGES = {"full": BENCHES / "README.md", "short": README}


@pytest.mark.parametrize("form", PAGES)
def test_the_pages_are_what_their_results_give(form):
    """A table edited by hand, or new results that are not shown, fail here."""
    [found] = bench_markdown.SECTION.finditer(PAGES[form].read_text())
    shown = PAGES[form].parent / found["path"]
    assert found[0] == bench_markdown.section_of(bench_results.load(shown), found["path"], form)
    assert shown == max((BENCHES / "results").glob("*core-*.json"), key=lambda path: path.stem[-10:])


@pytest.mark.parametrize("form", PAGES)
def test_every_operator_is_shown(form):
    [found] = bench_markdown.SECTION.finditer(PAGES[form].read_text())
    names = re.findall(r"^\| `(\w+)[(`]", found["text"], re.M)
    assert [name for name in names if name in bench_markdown.OPERATORS] == list(bench_markdown.OPERATORS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--into", "README.md"], "--into needs --from"),
        (["--markdown", "--against", "{saved}"], "--against is for the table on the terminal"),
        (
            ["--into", "{saved}", "--from", "{saved}"],
            "expected a line `<!-- `fv2v bench --into`: full tables of FILE -->`",
        ),
    ],
)
def test_what_does_not_fit_is_refused(bench, arguments, message, saved, capsys):
    assert bench(*(each.format(saved=saved) for each in arguments)) == 2
    assert message in capsys.readouterr().err
