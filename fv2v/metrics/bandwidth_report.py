# SPDX-License-Identifier: Apache-2.0
"""A study of bandwidth in a folder: JSON, curves, bytes over time, and pictures side by side."""

import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from fv2v.extras import check_extra
from fv2v.io.image import write_image
from fv2v.io.paths import PathLike, whole_folder
from fv2v.metrics.bandwidth import DEFAULT, OURS, Point, Study, ratio_at
from fv2v.metrics.report import Setting
from fv2v.viz.sheet import Cell, cells, laid_out

PLOTTER = "matplotlib"
BYTES = {"total_bytes": "bytes a frame, the first included", "frame_bytes": "bytes a frame after the first"}
TICKS = [digit * 10**power for power in range(5) for digit in (1, 2, 5)]


def check_plots() -> None:
    """ValueError where matplotlib is missing."""
    check_extra("fv2v bandwidth", (PLOTTER,), "plot")


def bandwidth_tables(study: Study) -> list[Table]:
    """Every codec at every level; and how many times our bytes each takes at equal likeness."""
    title = f"{study.clips} clips of {study.frames} frames, {study.size} px, {study.fps:g} a second"
    table = Table(title=f"{title}; bytes a frame")
    judges = list(study.points[0].judges)
    headings = ("codec", "level", "first", "after", "all", "SRTP", "channel", "PSNR", "SSIM", "MS-SSIM")
    for heading in (*headings, *judges, "PSNR to exact motion"):
        table.add_column(heading, justify="left" if heading == "codec" else "right")
    for p in study.points:
        sizes = (p.first_bytes, p.frame_bytes, p.total_bytes, p.srtp_bytes, p.data_channel_bytes)
        table.add_row(
            p.codec,
            f"{p.level:g}",
            *(f"{size:.1f}" for size in sizes),
            f"{p.psnr:.2f}",
            *("" if value is None else f"{value:.4f}" for value in (p.ssim, p.ms_ssim)),
            *(f"{p.judges[name]:.4f}" for name in judges),
            "" if p.exact_psnr is None else f"{p.exact_psnr:.1f}",
        )
    ratios = Table(title=f"bytes of others over ours at quality {DEFAULT}, the first frame included")
    for heading in ("codec", "at equal PSNR", "at equal SSIM", "at equal MS-SSIM"):
        ratios.add_column(heading, justify="left" if heading == "codec" else "right")
    for name, found in ratios_of(study).items():
        ratios.add_row(name, *(_ratio(found.get(judge)) for judge in ("psnr", "ssim", "ms_ssim")))
    return [table, ratios]


def ratios_of(study: Study) -> dict[str, dict[str, tuple[float, bool]]]:
    """By codec and judge; see `ratio_at`."""
    judges = [name for name in ("psnr", "ssim", "ms_ssim") if getattr(study.points[0], name) is not None]
    others = [name for name in study.settings if name != OURS]
    if not any(point.codec == OURS and point.level == DEFAULT for point in study.points):
        return {}
    return {name: {judge: ratio_at(study, name, judge=judge) for judge in judges} for name in others}


def write_study(folder: PathLike, study: Study, setting: Setting) -> None:
    """Write bandwidth.json, curves.png, bytes.png and strip.png into a new folder, whole or not at all."""
    check_plots()
    points = [
        {name: value for name, value in asdict(point).items() if name != "shown"} for point in study.points
    ]
    result: dict[str, Any] = {
        "setting": asdict(setting),
        "codecs": study.settings,
        "ratios": ratios_of(study),
        "points": points,
    }
    with whole_folder(folder) as temporary:
        (temporary / "bandwidth.json").write_text(json.dumps(result, indent=1) + "\n")
        _plot_curves(temporary / "curves.png", study)
        _plot_sizes(temporary / "bytes.png", study)
        write_image(temporary / "strip.png", strip(study))


def strip(study: Study) -> np.ndarray:
    """(H, W, 3): the true picture and ours, then each codec at about our bytes, and at about our PSNR."""
    ours = next((p for p in study.points if (p.codec, p.level) == (OURS, DEFAULT)), study.points[0])
    equal_bytes, equal_psnr = [_cell("true", study.true), _cell(_caption(ours), ours.shown)], []
    equal_psnr += [_cell("", np.full_like(study.true, 255))] * 2
    for name in (name for name in study.settings if name != OURS):
        points = [point for point in study.points if point.codec == name]
        near = min(points, key=lambda p: abs(np.log(p.total_bytes / ours.total_bytes)))
        alike = min(points, key=lambda p: abs(p.psnr - ours.psnr))
        equal_bytes.append(_cell(_caption(near), near.shown))
        equal_psnr.append(_cell(_caption(alike), alike.shown))
    return laid_out([equal_bytes, equal_psnr], len(equal_bytes))


def _caption(point: Point) -> str:
    return f"{point.codec} {point.total_bytes:.0f} B {point.psnr:.1f} dB"


def _cell(caption: str, picture: np.ndarray | None) -> Cell:
    shown = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
    return cells([caption], shown)[0]


def _ratio(found: tuple[float, bool] | None) -> str:
    if found is None:
        return ""
    value, within = found
    return f"{value:.2f}" if within else f"beyond its levels; {value:.2f} at the nearest"


def _plot_curves(path: Path, study: Study) -> None:
    """Each measure of likeness over bytes with the first frame, and over those after it."""
    names = [name for name in ("psnr", "ssim", "ms_ssim") if getattr(study.points[0], name) is not None]
    figure, axes = _figure(len(names), rows=len(BYTES))
    for row, (size, label) in zip(axes, BYTES.items(), strict=True):
        for axis, judge in zip(row, names, strict=True):
            for codec in study.settings:
                points = [point for point in study.points if point.codec == codec]
                points.sort(key=lambda point: getattr(point, size))
                x, y = ([getattr(point, name) for point in points] for name in (size, judge))
                axis.plot(x, y, "o-", label=codec)
            axis.set_xscale("log")
            least, most = axis.get_xlim()
            ticks = [tick for tick in TICKS if least <= tick <= most]
            axis.set_xticks(ticks, [f"{tick}" for tick in ticks])
            axis.minorticks_off()
            axis.set_xlabel(label)
            axis.set_ylabel({"psnr": "PSNR, dB", "ssim": "SSIM", "ms_ssim": "MS-SSIM"}[judge])
            axis.grid(alpha=0.3)
    axes[0][0].legend()
    figure.savefig(path, dpi=110)


def _plot_sizes(path: Path, study: Study) -> None:
    figure, ((axis,),) = _figure(1)
    for codec in study.settings:
        points = [p for p in study.points if p.codec == codec]
        ours = next((p for p in points if (p.codec, p.level) == (OURS, DEFAULT)), points[-1])
        axis.plot(np.cumsum(ours.sizes), label=f"{codec}, level {ours.level:g}")
    axis.set_yscale("log")
    axis.set_xlabel("frame of the first clip")
    axis.set_ylabel("bytes so far")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=110)


def _figure(columns: int, rows: int = 1) -> tuple[Any, Any]:
    """A figure that needs no display, and its axes (rows, columns)."""
    size = 5 * columns, 4 * rows
    figure = importlib.import_module("matplotlib.figure").Figure(size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)
