"""From the networks to the file: pictures are written while more are made."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fv2v.pipeline import Ahead, Timed
from fv2v.video import write_video

Progress = Callable[[int, int | None], None]  # told the frames done, and the frames in all where known
SPARE = 4  # frames that may lie ready between two stages, beside a batch: one of them may be late at times


def write_shown(
    output: Path,
    images: Iterator[np.ndarray],
    shown: Callable[[np.ndarray], np.ndarray] | None,
    batch_size: int,
    total: int | None,
    progress: Progress | None,
    **times: Any,
) -> tuple[int, float, float]:
    """Write what the networks make while they make more: frames, seconds of making, seconds of writing.

    `images` runs in a thread; writing stays in the caller's, where an interrupt arrives.

    Args:
        output: the video.
        images: (n, n, 3) uint8 each.
        shown: what is written of each; None: the image itself.
        batch_size: how many images the networks make at once.
        total: how many there will be, where known.
        progress: told after each.
        times: as `write_video` takes them.
    """
    started = time.perf_counter()
    made = Timed(images)
    with Ahead(made, batch_size + SPARE) as ahead:
        ready = Timed(ahead)
        count = write_video(output, _counted(map(shown, ready) if shown else ready, total, progress), **times)
    return count, made.seconds, time.perf_counter() - started - ready.seconds


def _counted(
    images: Iterable[np.ndarray], total: int | None, progress: Progress | None
) -> Iterator[np.ndarray]:
    for done, image in enumerate(images, 1):
        yield image
        if progress:
            progress(done, total)
