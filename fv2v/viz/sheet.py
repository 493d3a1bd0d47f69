# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: rows of pictures of one size, each under its caption."""

from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from fv2v.io.tensors import to_uint8

CAPTION, GAP = 16, 8  # pixels: above each picture, and of a gap
LEAST = 96  # pixels on a side: smaller pictures are enlarged, to make room for captions
PAPER, INK = 255, (40, 40, 40)

Cell = tuple[str, np.ndarray]  # a caption, and a picture, (n, n, 3) uint8


def cells(captions: Sequence[str], pictures: Tensor) -> list[Cell]:
    """Captions with pictures (B, 3, n, n), as many as the shorter has; small pictures are enlarged."""
    count = min(len(captions), len(pictures))
    times = enlarged(pictures.shape[-1]) // pictures.shape[-1]
    large = pictures[:count].repeat_interleave(times, 2).repeat_interleave(times, 3)
    return list(zip(captions[:count], to_uint8(large).cpu().numpy(), strict=True))


def enlarged(size: int, least: int = LEAST) -> int:
    """The smallest multiple of `size` that is at least `least`."""
    return size * -(-least // size)


def laid_out(lines: Sequence[Sequence[Cell]], columns: int) -> np.ndarray:
    """(H, W, 3) uint8: lines of up to `columns` cells, from the left; an empty line is a gap."""
    size = next(len(picture) for line in lines for _, picture in line)
    return np.concatenate([_row(line, columns, size) for line in lines])


def _row(line: Sequence[Cell], columns: int, size: int) -> np.ndarray:
    height = CAPTION + size if line else GAP
    row = np.full((height, columns * size, 3), PAPER, np.uint8)
    for column, (caption, picture) in enumerate(line):
        left = column * size
        label = np.full((CAPTION, size, 3), PAPER, np.uint8)
        cv2.putText(label, caption, (3, CAPTION - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.37, INK, 1, cv2.LINE_AA)
        row[:CAPTION, left : left + size] = label
        row[CAPTION:, left : left + size] = picture
    return row
