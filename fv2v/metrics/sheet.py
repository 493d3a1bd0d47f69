"""A contact sheet: what a model shows, beside what is true, at full size, for people to look at."""

from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from fv2v.image import write_image
from fv2v.metrics.evaluation import Example
from fv2v.metrics.protocols import YAWS
from fv2v.paths import PathLike
from fv2v.tensors import to_uint8

COLUMNS = 1 + len(YAWS)
CAPTION, GAP = 16, 8  # pixels: above each picture, and above each example
LEAST = 96  # pixels: smaller pictures are enlarged, so that captions can be read
PAPER, INK = 255, (40, 40, 40)

Cell = tuple[str, np.ndarray]  # what a picture is, and the picture, (n, n, 3) uint8


def write_sheet(path: PathLike, examples: Sequence[Example]) -> None:
    """Write the sheet as .png, .jpg or .webp; it appears whole or not at all.

    For each example: the source and frames of its clip, over what is shown of them; true free views and the
    frontal one, over those shown; frames of another face and what is shown by absolute motion, over the true
    answers and what is shown by relative motion.

    Raises:
        ValueError: no examples.
    """
    if not examples:
        raise ValueError("expected examples to show, got none")
    size = _enlarged(examples[0].source.shape[-1])
    bands = [_row(line, size) for example in examples for line in [[], *_lines(example)]]
    write_image(path, np.concatenate(bands))


def _lines(example: Example) -> list[list[Cell]]:
    """Up to COLUMNS cells each."""
    shown, true = example.shown, example.answers
    yaws = [f"yaw {yaw:+d}" for yaw in YAWS]
    lines = [
        _cells(["source"], example.source) + _cells(["driving"] * len(YAWS), true.driven),
        _cells(["source"], example.source) + _cells(["shown"] * len(YAWS), shown.driven),
    ]
    if true.views is not None and true.front is not None:
        lines.append(_cells([f"{yaw}, true" for yaw in yaws], true.views[1:-1]))
        lines[-1] += _cells(["frontal, true"], true.front)
    lines.append(_cells(yaws, shown.views) + _cells(["frontal"], shown.front))
    if example.driver is not None and shown.absolute is not None and shown.relative is not None:
        half = COLUMNS // 2
        driving = _cells(["another face"] * half, example.driver[1:])
        answer = driving if true.cross is None else _cells(["true answer"] * half, true.cross)
        lines.append(driving + _cells(["absolute"] * half, shown.absolute))
        lines.append(answer + _cells(["relative"] * half, shown.relative))
    return lines


def _cells(captions: Sequence[str], pictures: Tensor) -> list[Cell]:
    """As many of (B, 3, n, n) as there are captions, or all."""
    count = min(len(captions), len(pictures))
    times = _enlarged(pictures.shape[-1]) // pictures.shape[-1]
    large = pictures[:count].repeat_interleave(times, 2).repeat_interleave(times, 3)
    return list(zip(captions[:count], to_uint8(large), strict=True))


def _enlarged(size: int) -> int:
    """A multiple of `size`, itself where that will do."""
    return size * -(-LEAST // size)


def _row(cells: Sequence[Cell], size: int) -> np.ndarray:
    """(H, W, 3) uint8; of no cells, a gap."""
    height = CAPTION + size if cells else GAP
    row = np.full((height, COLUMNS * size, 3), PAPER, np.uint8)
    for column, (caption, picture) in enumerate(cells):
        left = column * size
        label = np.full((CAPTION, size, 3), PAPER, np.uint8)
        cv2.putText(label, caption, (3, CAPTION - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.37, INK, 1, cv2.LINE_AA)
        row[:CAPTION, left : left + size] = label
        row[CAPTION:, left : left + size] = picture
    return row
