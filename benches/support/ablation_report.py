# SPDX-License-Identifier: Apache-2.0
"""What benches/train_ablation.py found, beside the paper's Table 4: JSON, Markdown and a plot."""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from fv2v.io.paths import whole_file

Row = Mapping[str, Any]  # one run: what it is and its scores, as JSON has them
NAMES = {
    "ours": "20 keypoints, the whole model",
    "k15": "15 keypoints",
    "k10": "10 keypoints",
    "2d": "2D warp",
    "direct": "direct prediction",
    "fomm": "First Order Motion, 2D and direct",
}
# TalkingHead-1KH, same identity (Table 4, and Table 1 for First Order Motion); L1 of 255
PAPER = {
    "ours": {"l1": 10.67, "psnr": 24.20, "ssim": 0.81, "ms_ssim": 0.84, "akd": 3.74},
    "k15": {"l1": 11.35, "psnr": 23.53, "ssim": 0.79, "ms_ssim": 0.82, "akd": 4.50},
    "k10": {"l1": 11.49, "psnr": 23.36, "ssim": 0.79, "ms_ssim": 0.82, "akd": 4.31},
    "2d": {"l1": 11.64, "psnr": 23.38, "ssim": 0.79, "ms_ssim": 0.82, "akd": 4.20},
    "direct": {"l1": 10.84, "psnr": 24.00, "ssim": 0.80, "ms_ssim": 0.83, "akd": 4.26},
    "fomm": {"l1": 12.30, "psnr": 23.67, "ssim": 0.79, "ms_ssim": 0.83, "akd": 3.76},
}


class Measure(NamedTuple):
    heading: str
    decimals: int
    path: tuple[str, ...]  # where a row has it
    less: bool = True  # is better


SAME = ("results", "model", "same_identity")
MEASURES = {  # that the paper has, too
    "l1": Measure("L1", 2, (*SAME, "l1")),
    "psnr": Measure("PSNR, dB", 2, (*SAME, "psnr"), less=False),
    "ssim": Measure("SSIM", 3, (*SAME, "ssim"), less=False),
    "ms_ssim": Measure("MS-SSIM", 3, (*SAME, "ms_ssim"), less=False),
    "akd": Measure("AKD, px", 2, ("akd",)),
}
MODEL = ("results", "model")
OTHERS = {
    "relative": Measure("cross identity, relative: L1", 2, (*MODEL, "cross_relative", "l1")),
    "absolute": Measure("absolute: L1", 2, (*MODEL, "cross_absolute", "l1")),
    "view": Measure("free view ±20°: L1", 2, (*MODEL, "free_view", "l1")),
    "gain": Measure("dB over the source", 2, (*MODEL, "free_view", "psnr_gain"), less=False),
    "yaw": Measure("yaw check", 2, (*MODEL, "yaw_check", "hits"), less=False),
    "unmoved": Measure("source unmoved: L1", 2, (*MODEL, "unmoved", "l1")),
}


class Found(NamedTuple):
    """A measure of one model's runs."""

    middle: float
    least: float
    most: float

    def text(self, decimals: int) -> str:
        """The mean, and half the distance between the seeds that are farthest apart, of two or more."""
        middle = f"{self.middle:.{decimals}f}"
        if self.most == self.least:
            return middle
        return f"{middle} ± {(self.most - self.least) / 2:.{decimals}f}"


def found(rows: Sequence[Row], model: str, measure: Measure) -> Found | None:
    """None where a model has no such number."""
    values = []
    for row in rows:
        value: Any = row
        for name in measure.path:
            value = None if value is None else value[name]
        if row["model"] == model and value is not None:
            values.append(value)
    return Found(mean(values), min(values), max(values)) if values else None


def order(rows: Sequence[Row], name: str) -> dict[str, Any]:
    """Models from the best on; and of all pairs of them how many stand as in the paper.

    `apart` are pairs of which every seed of the one is better than every seed of the other.
    """
    measure = MEASURES[name]
    known = {model: found(rows, model, measure) for model in models_of(rows)}
    by = {model: each for model, each in known.items() if each is not None}
    sign = 1 if measure.less else -1
    counts = {"pairs": 0, "apart": 0, "apart_as_paper": 0, "as_paper": 0}
    for a, b in combinations(by, 2):
        difference = sign * (by[a].middle - by[b].middle)
        papers = sign * (PAPER[a][name] - PAPER[b][name])
        if not papers:
            continue
        alike = (difference < 0) == (papers < 0)
        apart = by[a].most < by[b].least or by[b].most < by[a].least
        counts["pairs"] += 1
        counts["apart"] += apart
        counts["as_paper"] += alike
        counts["apart_as_paper"] += alike and apart
    return {
        "here": sorted(by, key=lambda model: sign * by[model].middle),
        "paper": sorted(by, key=lambda model: sign * PAPER[model][name]),
        **counts,
    }


def models_of(rows: Sequence[Row]) -> list[str]:
    return [name for name in NAMES if any(row["model"] == name for row in rows)]


def write_report(folder: Path, rows: Sequence[Row], setting: Row) -> None:
    """ablation.json, ablation.md and ablation.png, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    orders = {name: order(rows, name) for name in MEASURES if found(rows, rows[0]["model"], MEASURES[name])}
    whole = {"setting": setting, "paper": PAPER, "order": orders, "runs": rows}
    with whole_file(folder / "ablation.json") as temporary:
        temporary.write_text(json.dumps(whole, indent=1) + "\n")
    with whole_file(folder / "ablation.md") as temporary:
        temporary.write_text(markdown(rows, setting, orders))
    with whole_file(folder / "ablation.png") as temporary:
        plot(temporary, rows, list(orders))


def markdown(rows: Sequence[Row], setting: Row, orders: Row) -> str:
    return "\n".join(
        [*_head(rows, setting), "", *_likeness(rows, list(orders)), "", *_others(rows), ""]
        + ["## Order", ""]
        + [_ordered(name, each) for name, each in orders.items()]
        + ["", "![L1, PSNR, SSIM, MS-SSIM and AKD of each model, here and in the paper](ablation.png)", ""]
    )


def _head(rows: Sequence[Row], setting: Row) -> list[str]:
    where, held, known = rows[0]["setting"], setting["held_out"], rows[0]["references"]
    return [
        "# The paper's ablation in small",
        "",
        f"Written by `benches/train_ablation.py`, {where['date'][:10]}: {where['device']}, torch "
        f"{where['torch']}, {setting['parallel']} runs at a time of {setting['threads']} threads each. Every "
        f"run learns from the same {setting['identities']} drawn heads, {setting['frames']} pictures of "
        f"{setting['size']} px of each, in {setting['precision']}: keypoints and poses first, in batches of "
        f"{setting['batch'][0]} pairs, then all of it, in batches of {setting['batch'][1]}. All are "
        f"measured on the same {held['identities']} held-out heads of {held['frames']} frames. A number is "
        "the mean over the seeds, ± half the distance between those farthest apart. The paper's are of "
        "TalkingHead-1KH at 256 px: what can be compared is the order. MS-SSIM is of "
        f"{where['ms_ssim_scales']} scales.",
        "",
        "AKD is against the renderer's landmarks, by the starter's H, which is off by "
        f"{known['akd_true']:.2f} px in the true pictures. Of the sources, unmoved, it is "
        f"{known['akd_unchanged']:.2f} px, and their L1 "
        f"{rows[0]['results']['unchanged']['same_identity']['l1']:.2f}.",
    ]


def _likeness(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    headings = ["model", "parameters", "seeds", "steps", "minutes"]
    for name in names:
        headings += [MEASURES[name].heading, "paper"]
    lines = []
    for model in models_of(rows):
        runs = [row for row in rows if row["model"] == model]
        minutes = " and ".join(f"{run['minutes']:.1f}" for run in runs)
        cells = [
            NAMES[model],
            f"{runs[0]['parameters']:,}",
            " and ".join(str(run["seed"]) for run in runs),
            " + ".join(map(str, runs[0]["steps"])),
            minutes,
        ]
        for name in names:
            cells += [_cell(rows, model, MEASURES[name]), f"{PAPER[model][name]:g}"]
        lines.append(cells)
    return _table(headings, lines)


def _others(rows: Sequence[Row]) -> list[str]:
    lines = [
        [NAMES[model], *(_cell(rows, model, measure) for measure in OTHERS.values())]
        for model in models_of(rows)
    ]
    return _table(["model", *(measure.heading for measure in OTHERS.values())], lines)


def _ordered(name: str, order: Row) -> str:
    return (
        f"- {MEASURES[name].heading}: {', '.join(order['here'])}; the paper: {', '.join(order['paper'])}. Of "
        f"{order['pairs']} pairs that the paper tells apart {order['as_paper']} stand as there; of the "
        f"{order['apart']} that all seeds tell apart {order['apart_as_paper']}."
    )


def _cell(rows: Sequence[Row], model: str, measure: Measure) -> str:
    each = found(rows, model, measure)
    return "" if each is None else each.text(measure.decimals)


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---"] * len(headings)
    return [f"| {' | '.join(cells)} |" for cells in (headings, rule, *lines)]


def plot(path: Path, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Each measure of each model, the bars from seed to seed; the paper's on a scale of its own."""
    figure = Figure((4 * len(names), 4), layout="constrained")
    models = models_of(rows)
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        known = [found(rows, model, MEASURES[name]) for model in models]
        middle = [each.middle for each in known if each]
        reach = [
            [each.middle - each.least for each in known if each],
            [each.most - each.middle for each in known if each],
        ]
        ours = axis.errorbar(range(len(models)), middle, reach, fmt="o", capsize=4)
        axis.set_xticks(range(len(models)), models)
        axis.set_title(MEASURES[name].heading)
        axis.grid(alpha=0.3)
        right = axis.twinx()
        papers = right.plot(
            [i + 0.2 for i in range(len(models))], [PAPER[model][name] for model in models], "x", color="C1"
        )
    figure.legend([ours, papers[0]], ["here, left", "the paper, right"], loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=110, format="png")
