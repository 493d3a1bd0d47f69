# SPDX-License-Identifier: Apache-2.0
"""A report to look at: one HTML file that holds its pictures, and needs no network."""

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
from rich.console import Console

from fv2v.io.number_log import LOG, read_numbers
from fv2v.io.paths import PathLike, check_output, whole_file
from fv2v.metrics.evaluation import Example
from fv2v.metrics.report import Report, tables
from fv2v.metrics.sheet import sheet_of

SUFFIXES = (".html",)
WIDTH, HEIGHT, MARGIN = 640, 200, 36  # pixels of a chart
COLUMNS = 150  # letters of a table's line
STYLE = """
body { font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 1500px; padding: 0 1em; color: #222 }
pre { font: 12px/1.25 monospace; overflow-x: auto } img { max-width: 100% }
table { border-collapse: collapse } td, th { padding: 2px 12px; text-align: right }
figure { display: inline-block; margin: 0 1em 1em 0 } svg { background: #f6f6f6; font: 11px sans-serif }
"""
Points = Sequence[tuple[float, float]]


def write_html(path: PathLike, report: Report, examples: Sequence[Example], run: Path | None = None) -> None:
    """Write the tables, the scores of each head or clip, the sheet, and the curves of the run in a folder.

    The file appears whole or not at all.
    """
    path = check_output(path, SUFFIXES)
    title = escape(f"{report.setting.model} on {report.setting.data}")
    parts = [f"<h1>{title}</h1>", _setting(report), _tables(report), _people(report)]
    if examples:
        encoded = cv2.imencode(".png", cv2.cvtColor(sheet_of(examples), cv2.COLOR_RGB2BGR))[1]
        data = base64.b64encode(encoded.tobytes()).decode()
        parts += ["<h2>Pictures</h2>", f'<img alt="contact sheet" src="data:image/png;base64,{data}">']
    parts += _curves(run)
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def chart(name: str, points: Points) -> str:
    """An SVG line of (x, y), x rising, whose axes' ends are labelled; what is not finite is left out."""
    points = [(x, y) for x, y in points if math.isfinite(y)]
    if not points:
        return ""
    axes = [*zip(*points, strict=True)]
    lows, highs = [min(axis) for axis in axes], [max(axis) for axis in axes]
    spans = [high - low or 1.0 for low, high in zip(lows, highs, strict=True)]
    drawn = " ".join(
        f"{MARGIN + (x - lows[0]) / spans[0] * (WIDTH - 2 * MARGIN):.1f},"
        f"{HEIGHT - MARGIN - (y - lows[1]) / spans[1] * (HEIGHT - 2 * MARGIN):.1f}"
        for x, y in points
    )
    labels = [
        (4, MARGIN - 6, "start", highs[1]),
        (4, HEIGHT - MARGIN + 12, "start", lows[1]),
        (MARGIN, HEIGHT - 6, "start", lows[0]),
        (WIDTH - MARGIN, HEIGHT - 6, "end", highs[0]),
    ]
    texts = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}">{value:.5g}</text>' for x, y, anchor, value in labels
    )
    line = f'<polyline fill="none" stroke="#06c" stroke-width="1.5" points="{drawn}"/>'
    return (
        f"<figure><figcaption>{escape(name)}</figcaption>"
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">{line}{texts}</svg></figure>'
    )


def _setting(report: Report) -> str:
    setting = report.setting
    weights = ", ".join(f"{file.name} ({file.sha256[:12]})" for file in setting.weights) or "random"
    described = (
        f"Weights {weights}; {setting.scenes} scenes of up to {setting.frames} frames, {setting.size} px; "
        f"fv2v {setting.fv2v}, torch {setting.torch}, {setting.dtype}, {setting.device}; {setting.date}"
    )
    return f"<p>{escape(described)}</p>"


def _tables(report: Report) -> str:
    console = Console(record=True, file=io.StringIO(), width=COLUMNS)
    for table in tables(report):
        console.print(table)
    return "<h2>Scores</h2>" + console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def _people(report: Report) -> str:
    """Each head's, or clip's, own scores."""
    rows = "".join(
        f"<tr><td>{number}<td>{each.l1:.2f}<td>{each.unchanged_l1:.2f}<td>{each.psnr:.2f}"
        for number, each in enumerate(report.people, start=1)
    )
    by_l1 = [*enumerate(sorted(each.l1 for each in report.people), start=1)]
    return (
        "<h2>Head by head</h2><p>Same identity; L1 of 255.</p>"
        f"<details><summary>{len(report.people)} rows</summary>"
        f"<table><tr><th>scene<th>L1<th>L1, source unchanged<th>PSNR{rows}</table></details>"
        f"{chart('L1 by scene, best first', by_l1)}"
    )


def _curves(run: Path | None) -> list[str]:
    """Of what the run logged."""
    if run is None or not (run / LOG).is_file():
        return []
    return ["<h2>Training</h2>", *(chart(name, points) for name, points in read_numbers(run / LOG).items())]
