# SPDX-License-Identifier: Apache-2.0
"""Clips that tell, in every frame, which clip and which frame it is."""

from pathlib import Path

import clips
import numpy as np
from torch import Tensor

STEP = 10  # levels of grey between two numbers: more than a codec changes


def numbered(who: int, frames: int, H: int = 32, W: int = 32) -> np.ndarray:
    """(frames, H, W, 3): red says which frame, green which clip; both below 25."""
    images = np.zeros((frames, H, W, 3), np.uint8)
    images[..., 0] = STEP * np.arange(frames)[:, None, None]
    images[..., 1] = STEP * who
    return images


def numbered_clip(path: Path, who: int, frames: int = 8, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return clips.write_clip(path, numbered(who, frames), pix_fmt="yuv444p", **options)


def who_and_frame(pictures: Tensor) -> list[tuple[int, int]]:
    """Of each of (B, 3, n, n) uint8, read in its middle."""
    middle = pictures[:, :2, pictures.shape[2] // 2, pictures.shape[3] // 2].float()
    return [(round(green / STEP), round(red / STEP)) for red, green in middle.tolist()]
