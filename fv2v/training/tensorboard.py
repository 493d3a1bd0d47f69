# SPDX-License-Identifier: Apache-2.0
"""TensorBoard: numbers of a run, and pictures of what its model makes of pairs of frames; a log in words."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from fv2v.data.pairs import Pairs
from fv2v.io.number_log import LOG, NumberLog
from fv2v.io.tensors import to_images
from fv2v.networks import FaceVid2Vid
from fv2v.viz.model import COLUMNS, driven_line, view_line
from fv2v.viz.sheet import laid_out


class Board:
    """TensorBoard's files in a run's folder, from `step` on; what a killed run logged later is hidden.

    The same numbers are lines of `log.txt`, which goes on, and says from which step.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.writer = SummaryWriter(str(folder), purge_step=step)
        self._log = NumberLog(folder / LOG, step)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        if not values:
            return
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self._log.numbers(step, values)

    def picture(self, step: int, name: str, levels: np.ndarray) -> None:
        """levels (H, W, 3) uint8."""
        self.writer.add_image(name, levels, step, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
        self._log.close()


@torch.no_grad()
def sheet(model: FaceVid2Vid, pairs: Pairs, size: int) -> np.ndarray:
    """Two lines a pair, as `fv2v inspect` draws them: the source driven by the other frame, and free views.

    Args:
        model: in `eval()`.
        pairs: B of them, as `Pairs.scaled` returns them.
        size: side of the networks' input pictures, in pixels.

    Returns:
        (H, W, 3) uint8.
    """
    lines = []
    for i in range(len(pairs)):
        portrait, driving = (to_images(each[i : i + 1], size) for each in (pairs.source, pairs.driving))
        source = model.encode(portrait)
        lines += [driven_line(model, portrait, source, model.extract(driving), driving=driving)]
        lines += [view_line(model, source), []]
    return laid_out(lines[:-1], COLUMNS)
