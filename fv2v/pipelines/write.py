"""From the networks to the file: pictures are written while more are made."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fv2v.face.portrait import CroppedPortrait
from fv2v.geometry import Motion
from fv2v.io.paths import PathLike
from fv2v.io.prefetch import Prefetch, Timed
from fv2v.io.timing import Timing
from fv2v.io.video import write_video
from fv2v.pipelines.report import Report, Stages
from fv2v.progress import FrameProgress as Progress
from fv2v.reenactor import Reenactor

SPARE = 4  # frames that may lie ready between two stages, beside a batch: one of them may be late at times


def write_frames(
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
    with Prefetch(made, batch_size + SPARE) as ahead:
        ready = Timed(ahead)
        count = write_video(output, _counted(map(shown, ready) if shown else ready, total, progress), **times)
    return count, made.seconds, time.perf_counter() - started - ready.seconds


def show(
    reenactor: Reenactor,
    framed: CroppedPortrait,
    frames: Motion | np.ndarray,
    output: Path,
    timing: Timing,
    *,
    own: np.ndarray | None = None,
    sound: PathLike | None = None,
    paste_back: bool,
    sought: float,
    batch_size: int,
    progress: Progress | None,
    **how: Any,
) -> Report:
    """A portrait moved by what is known whole: motion, or coefficients.

    Args:
        framed: the portrait.
        frames: motion of T frames, or (T, 70 or 73) coefficients; weights that read no crop leave out its
            columns, the last.
        own: (70 or 73,), the portrait's own coefficients, where the preset reads them.
        sound: a file whose sound goes along.
        paste_back: as `fv2v.reenact` takes it.
        sought: seconds that went by before.
        how: as `Reenactor.animate` takes it.
    """
    started = time.perf_counter()
    if own is not None and reenactor.config.head.window:
        own = own[: reenactor.config.head.inputs]
    if isinstance(frames, np.ndarray):
        frames = frames[:, : reenactor.config.head.inputs]
    source = reenactor.encode(framed.image, own)
    encoded = time.perf_counter() - started
    images = reenactor.animate(source, frames, batch_size=batch_size, **how)
    shown = framed.with_face if paste_back else None
    count, made, written = write_frames(
        output, images, shown, batch_size, len(frames), progress, like=timing, sound=sound
    )
    stages = Stages(decode=0.0, crop=sought, network=encoded + made, encode=written)
    return Report(output, count, sought + time.perf_counter() - started, missing=0, stages=stages)


def _counted(
    images: Iterable[np.ndarray], total: int | None, progress: Progress | None
) -> Iterator[np.ndarray]:
    for done, image in enumerate(images, 1):
        yield image
        if progress:
            progress(done, total)
