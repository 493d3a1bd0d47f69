# SPDX-License-Identifier: Apache-2.0
"""Saved bench results as Markdown tables, which `write` puts between two comments of a page.

The first comment names the results and which tables it wants: `full` for a manual, `short` for a first look.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fv2v.diagnostics import bench_results
from fv2v.diagnostics.bench_results import Row, time_of
from fv2v.io.paths import PathLike, check_input

BEGIN, END = "<!-- `fv2v bench --into`: {} tables of {} -->", "<!-- end of the tables -->"
SECTION = re.compile(
    re.escape(BEGIN).replace(r"\{\}", r"(?P<form>full|short)", 1).replace(r"\{\}", r"(?P<path>\S+)")
    + r"\n(?P<text>.*?)"
    + re.escape(END),
    re.S,
)
# each operator's arguments, and what it replaces in stock PyTorch
OPERATORS = {
    "warp_candidates": ("f, x_s, x_d", "K+1 flows, repeat, `grid_sample`, 2K Gaussians, `cat`"),
    "compose_warp": ("f, m, x_s, x_d", "softmax, K+1 flows, weighted sum, `grid_sample`"),
    "mask_head": ("f, taps, x_s, x_d", "sum of shifted taps, then as `compose_warp`"),
    "compose_flow": ("m, x_s, x_d", "softmax, K+1 flows, weighted sum"),
    "warp3d": ("f, grid", "`F.grid_sample` in 5-D"),
    "soft_argmax3d": ("l, temperature=…", "softmax over the volume, expectation"),
    "modulate": ("x, gamma, beta", "SPADE: `instance_norm`, (1 + gamma) n + beta, `leaky_relu`"),
}
MODES = ("forward", "forward+backward")


class OperatorRows(NamedTuple):
    """Rows of an operator, at the first volume measured, with its default backend."""

    op: str
    volume: str
    forward: Row | None
    backward: Row | None  # forward + backward
    stock: Row | None  # forward, in stock PyTorch


def markdown(results: Mapping[str, Any]) -> str:
    """The machine in a line, and tables of the results: frames, rewrites, soak test, training, operators."""
    rows = bench_results.read_rows(results)
    frames = [row for row in rows if row.is_frame]
    parts = [
        _frames([row for row in frames if "stage" in row.extra]),
        _rewrites([row for row in frames if "rewrite" in row.extra]),
        _peers(rows),
        _soak([row for row in rows if "broken" in row.extra]),
        _training([row for row in rows if "training" in row.extra]),
        _operators(rows, results),
    ]
    return "\n\n".join((machine(results), *(part for part in parts if part)))


def short(results: Mapping[str, Any]) -> str:
    """The machine in a line and one table: whole frames, a training step, operators."""
    rows = bench_results.read_rows(results)
    frames = {  # the last form of each preset
        row.extra["preset"]: row
        for row in rows
        if row.extra.get("stage") == "whole frame" and row.extra["batch"] == 1
    }
    lines: list[tuple[str, ...]] = [
        (f"driving frame, `{name}`", time_of(row.median), _ratio(row), "", "") for name, row in frames.items()
    ]
    steps = {row.extra["training"]: row for row in rows if "training" in row.extra}
    for name, row in steps.items():
        step = f"training step ({name}, {row.extra['batch']} pairs)"
        lines.append((step, "", "", time_of(row.median), _ratio(row)))
    for op, volume, *modes, _ in _operator_rows(rows, results):
        times = (cell for row in modes for cell in ((time_of(row.median), _ratio(row)) if row else ("", "")))
        lines.append((f"`{op}`, {volume}", *times))
    headings = ("", "forward", "faster", "forward + backward", "faster")
    return "\n\n".join(part for part in (machine(results), _table(headings, lines), _peers(rows)) if part)


FORMS = {"full": markdown, "short": short}


def machine(results: Mapping[str, Any]) -> str:
    """A line: the machine, and the date."""
    info = results["machine_info"]
    threads = (
        f", {info['threads']} threads" if info.get("device") == info.get("cpu") and "threads" in info else ""
    )
    kept = ", glibc keeps freed memory" if "MALLOC_TRIM_THRESHOLD_" in info.get("environment", {}) else ""
    torch = f", torch {info['torch']}" if "torch" in info else ""
    return f"Measured on {bench_results.machine(results)}{threads}{torch}{kept}."


def write(path: PathLike, results_path: PathLike) -> None:
    """Put the tables of `results_path` between the comments in the file `path`.

    Raises:
        ValueError: no such comments in the file, or results that cannot be read.
    """
    path, results_path = check_input(path), check_input(results_path)
    text = path.read_text()
    found = SECTION.search(text)
    if not found:
        raise ValueError(
            f"{path}: expected a line `{BEGIN.format('full', 'FILE')}` (or `short`) and a line `{END}` "
            "to write between"
        )
    shown = results_path.resolve()
    if shown.is_relative_to(path.resolve().parent):
        shown = shown.relative_to(path.resolve().parent)
    section = section_of(bench_results.load(results_path), shown.as_posix(), found["form"])
    path.write_text(text[: found.start()] + section + text[found.end() :])


def section_of(results: Mapping[str, Any], name: str, form: str) -> str:
    return f"{BEGIN.format(form, name)}\n\n{FORMS[form](results)}\n\n{END}"


def _frames(rows: Sequence[Row]) -> str:
    """A line a stage of a preset: its time in each form, the first form being the baseline of the last."""
    found = {tuple(row.extra[key] for key in ("preset", "batch", "stage", "form")): row for row in rows}
    forms = list(dict.fromkeys(row.extra["form"] for row in rows))
    lines = []
    for preset, batch, stage in dict.fromkeys(key[:3] for key in found):
        of = [found.get((preset, batch, stage, form)) for form in forms]
        first, last = of[0], of[-1]
        if first is None or last is None:
            continue
        lines.append(
            (
                f"`{preset}`" + ("" if batch == 1 else f", {batch} frames"),
                stage,
                *(_time(row) for row in of),
                _ratio(last),
                _number(last.extra["gflop_before"]),
                _number(last.extra["gflop"]),
                _percent(last.extra["floor_share"]),
                _memory(last, first),
            )
        )
    headings = ("", "stage", *forms, "faster", "GFLOP before", "after", "share of the floor", "peak memory")
    return _table(headings, lines)


def _rewrites(rows: Sequence[Row]) -> str:
    """A line a rewrite, applied after those above it."""
    lines = (
        (f"`{row.extra['preset']}`", row.label, time_of(row.median), _ratio(row), _number(row.extra["gflop"]))
        for row in rows
    )
    return _table(("whole frame", "rewrite added", "takes", "faster by it", "GFLOP"), list(lines))


def _peers(rows: Sequence[Row]) -> str:
    """A line a runtime that has run the exported frame: its time, and how much faster the frame path is."""
    found = [row for row in rows if "peer" in row.extra and row.ratio is not None]
    lines = [
        (
            f"`{row.extra['preset']}` in {row.extra['peer']}",
            time_of(row.median * (row.ratio or 1)),
            _ratio(row),
        )
        for row in found
    ]
    return _table(("driving frame elsewhere", "takes", "frame path is faster by"), lines)


def _soak(rows: Sequence[Row]) -> str:
    """A line a preset: how far half precision is from float32, in levels of 255."""
    lines = []
    for row in rows:
        ours, stock = row.extra["error"].values()
        preset = row.params["weights"]
        lines.append(
            (f"`{preset}`", f"{row.extra['frames']}", f"{row.extra['broken']}", f"{ours:.3f}", f"{stock:.3f}")
        )
    headings = ("half precision", "frames", "with NaN", "mean error, of 255", "stock PyTorch's")
    return _table(headings, lines)


def _training(rows: Sequence[Row]) -> str:
    """A line a model: pairs a second in training, in stock PyTorch and with fv2v's operators."""
    found = {tuple(row.extra[key] for key in ("training", "batch", "operators")): row for row in rows}
    names = list(dict.fromkeys(row.extra["operators"] for row in rows))
    lines = []
    for model, batch in dict.fromkeys(key[:2] for key in found):
        of = [found.get((model, batch, name)) for name in names]
        stock, ours = of[0], of[-1]
        if stock is None or ours is None or ours.ratio is None:
            continue
        speed = ours.extra["samples/s"]
        speeds = [f"{each:.3g}" for each in (speed / ours.ratio, speed)]  # in pairs, as everywhere
        # of tensors: in the process's, oneDNN's scratch memory, the same for both, hides the difference
        memory = _memory(ours, stock, "peak_bytes")
        lines.append((model, f"{batch}", *speeds, _ratio(ours), memory))
    headings = (
        "training step",
        "pairs",
        *(f"samples/s, {name}" for name in names),
        "faster",
        "peak of tensors",
    )
    return _table(headings, lines)


def _operators(rows: Sequence[Row], results: Mapping[str, Any]) -> str:
    """A line an operator: times, and how much memory it takes and stock PyTorch does."""
    lines = []
    for op, volume, forward, backward, stock in _operator_rows(rows, results):
        arguments, stands_for = OPERATORS[op]
        times = (f"{time_of(row.median)}, {_ratio(row)}" if row else "" for row in (forward, backward))
        memory = _memory(forward, stock) if forward and stock else ""
        lines.append((f"`{op}({arguments})`", stands_for, volume, *times, memory))
    headings = (
        "operator",
        "same as, in stock PyTorch",
        "volume",
        "forward",
        "forward + backward",
        "peak memory",
    )
    return _table(headings, lines)


def _operator_rows(rows: Sequence[Row], results: Mapping[str, Any]) -> Iterator[OperatorRows]:
    backends = results["machine_info"].get("backends", {})
    for op in OPERATORS:
        own = [row for row in rows if not row.is_frame and row.name.startswith(f"test_{op}[")]
        if not own or op not in backends:
            continue
        volume = own[0].params["volume"]
        at = {
            (row.params["mode"], row.params["backend"]): row for row in own if row.params["volume"] == volume
        }
        forward, backward = (at.get((mode, backends[op][0])) for mode in MODES)
        yield OperatorRows(op, volume, forward, backward, at.get((MODES[0], "torch")))


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return ""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *lines))


def _time(row: Row | None) -> str:
    """The time of one call alone and, where it was measured, of one in a stream of calls."""
    if row is None:
        return ""
    streamed = row.extra.get("streamed")
    return time_of(row.median) + (f" ({time_of(streamed)} in a row)" if streamed else "")


def _ratio(row: Row) -> str:
    return "" if row.ratio is None else f"{row.ratio:.2f}x" if row.ratio < 3 else f"{row.ratio:.1f}x"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _memory(row: Row, stock: Row, *keys: str) -> str:
    """Memory of the process, or its growth, or what torch allocates: the first that was recorded for both."""
    for key in keys or ("process_bytes", "process_peak_bytes", "peak_bytes"):
        own, other = row.extra.get(key), stock.extra.get(key)
        if own is not None and other is not None:
            return f"{own / 1e6:.1f} MB, not {other / 1e6:.1f}"
    return ""
