"""A contact sheet: what a model shows, beside what is true, at full size, for people to look at."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from fv2v.image import write_image
from fv2v.metrics.evaluation import Example
from fv2v.metrics.protocols import YAWS
from fv2v.paths import PathLike
from fv2v.tensors import to_uint8

COLUMNS = 1 + len(YAWS)  # the source, and as many pictures as there are yaws
GAP, STRIP, LABELS = 4, 18, 150  # pixels: between bands, of a heading, of what stands left of a row
WHITE, BLACK = (255, 255, 255), (40, 40, 40)

Line = tuple[str, Tensor]  # what a row is called, and its pictures (B, 3, n, n)


def write_sheet(path: PathLike, examples: Sequence[Example]) -> None:
    """Write the sheet as .png, .jpg or .webp; it appears whole or not at all.

    A band for each example: frames of its clip with what is shown of them; the true free views with the
    shown ones; frames of another face, the true answers, and what is shown, absolutely and relatively.

    Raises:
        ValueError: no examples.
    """
    if not examples:
        raise ValueError("expected examples to show, got none")
    bands = [_band(example) for example in examples]
    write_image(path, np.concatenate(bands))


def _band(example: Example) -> np.ndarray:
    """(H, W, 3) uint8, as wide for every example of a size."""
    shown, answers, first = example.shown, example.answers, example.source
    yaws = [f"{yaw:+d}" for yaw in YAWS]
    views = [("shown", shown.views)]
    if answers.views is not None:
        views.insert(0, ("true", answers.views[1:-1]))
    front = [("frontal, shown", shown.front)]
    if answers.front is not None:
        front.insert(0, ("frontal, true", answers.front))
    parts = [
        _heading("same identity"),
        _row(first, [("driving, true", answers.driven), ("shown", shown.driven)]),
        _heading("free view, yaw " + " ".join(yaws)),
        _row(first, views),
        _row(first, front),
    ]
    if example.driver is not None and shown.absolute is not None and shown.relative is not None:
        lines = [("driving", example.driver[1:]), ("absolute", shown.absolute), ("relative", shown.relative)]
        if answers.cross is not None:
            lines.insert(1, ("true", answers.cross))
        parts += [_heading("cross identity"), _row(first, lines)]
    return np.concatenate(parts)
