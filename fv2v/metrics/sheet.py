# SPDX-License-Identifier: Apache-2.0
"""A contact sheet: a model's pictures beside the true ones, at full size."""

from collections.abc import Sequence

import numpy as np

from fv2v.io.image import write_image
from fv2v.io.paths import PathLike
from fv2v.metrics.evaluation import Example
from fv2v.metrics.protocols import YAWS
from fv2v.viz.sheet import Cell, cells, laid_out

COLUMNS = 1 + len(YAWS)


def write_sheet(path: PathLike, examples: Sequence[Example]) -> None:
    """Write the sheet as .png, .jpg or .webp; it appears whole or not at all. Errors as `sheet_of`."""
    write_image(path, sheet_of(examples))


def sheet_of(examples: Sequence[Example]) -> np.ndarray:
    """(H, W, 3) uint8.

    For each example, in pairs of lines, the true pictures above the model's: the source and its driving
    frames; free views and the frontal one. In the last pair another face's frames and the model's pictures by
    absolute motion are above the true pictures and the model's by relative motion.

    Raises:
        ValueError: no examples.
    """
    if not examples:
        raise ValueError("expected examples to show, got none")
    lines = [line for example in examples for line in [[], *_lines(example)]]
    return laid_out(lines, COLUMNS)


def _lines(example: Example) -> list[list[Cell]]:
    """Up to COLUMNS cells each."""
    outputs, true = example.outputs, example.true
    yaws = [f"yaw {yaw:+d}" for yaw in YAWS]
    lines = [
        cells(["source"], example.source) + cells(["driving"] * len(YAWS), true.driven),
        cells(["source"], example.source) + cells(["output"] * len(YAWS), outputs.driven),
    ]
    posed = outputs.views is not None and outputs.front is not None
    if posed and true.views is not None and true.front is not None:
        lines.append(cells([f"{yaw}, true" for yaw in yaws], true.views[1:-1]))
        lines[-1] += cells(["frontal, true"], true.front)
    if outputs.views is not None and outputs.front is not None:
        lines.append(cells(yaws, outputs.views) + cells(["frontal"], outputs.front))
    if example.driver is not None and outputs.absolute is not None and outputs.relative is not None:
        half = COLUMNS // 2
        driving = cells(["another face"] * half, example.driver[1:])
        answer = driving if true.cross is None else cells(["true"] * half, true.cross)
        lines.append(driving + cells(["absolute"] * half, outputs.absolute))
        lines.append(answer + cells(["relative"] * half, outputs.relative))
    return lines
