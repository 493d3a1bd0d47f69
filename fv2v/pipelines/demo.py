# SPDX-License-Identifier: Apache-2.0
"""A drawn head driven by another one that turns, blinks and speaks: needs no files and no downloads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fv2v.checkpoints import Weights
from fv2v.config import ModelConfig
from fv2v.data.synthetic import Expression, Pose, SyntheticHeads, render
from fv2v.geometry import Motion, View
from fv2v.geometry.rotation import rotation_from_euler
from fv2v.io.image import write_image
from fv2v.io.paths import PathLike
from fv2v.io.tensors import to_images, to_uint8
from fv2v.io.video import write_video
from fv2v.pipelines.model import ModelChoice
from fv2v.progress import FrameProgress
from fv2v.reenactor import Reenactor
from fv2v.viz.sheet import Cell, cells, enlarged, laid_out

# Of streams of people that neither training nor evaluation draws (fv2v/metrics/held_out.py). With seed 0 the
# driver opens the mouth and shuts the eyes, and the portrait wears no glasses.
SEED = 500_000_024
FPS = 25
YAWS = (-30.0, 0.0, 30.0)  # degrees, of the views that the sheet shows
COLUMNS = 8  # of the sheet: the portrait, and frames at even distances over the clip
LEAST_SIZE = 256  # pixels: smaller pictures are enlarged for the video


class DemoFiles(NamedTuple):
    """What `demo` wrote."""

    video: Path  # portrait, driver and output side by side
    sheet: Path
    portrait: Path  # it and `driving` are inputs for `fv2v reenact --no-crop`
    driving: Path


def demo(
    folder: PathLike = "fv2v-demo",
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    frames: int = 75,
    seed: int = 0,
    device: str | None = None,
    progress: FrameProgress | None = None,
) -> DemoFiles:
    """Draw a portrait and another person who drives it, and animate the one by the other.

    Args:
        folder: where the files go; made if it does not exist. Those of an earlier demo are replaced.
        preset, weights, reenactor, device: the model, as `fv2v.reenact` takes it; by default the starter,
            which learned on heads like these.
        frames: of the video, 25 a second; 7 or more.
        seed: other seeds draw other people.
        progress: called after each frame drawn and each rendered: twice for each frame of the video.

    Raises:
        ValueError: too few frames, a seed below 0, a model that cannot be used or that coefficients drive, or
            a folder that cannot be written to.
    """
    if frames < COLUMNS - 1 or seed < 0:
        raise ValueError(f"expected frames >= {COLUMNS - 1} and seed >= 0, got {frames} and {seed}")
    if reenactor is None and preset is None and weights is None:
        preset = "starter"
    model = ModelChoice(preset, weights, device, "float32", reenactor)
    model.check()
    files = _files(Path(folder))
    reenactor = model.load()
    numbers = iter(range(1, 2 * frames + 1))

    def counted(made: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for each in made:
            yield each
            if progress is not None:
                progress(next(numbers), 2 * frames)

    heads = SyntheticHeads(reenactor.config.output_size, 2, SEED + seed)
    subject = _subject(heads)
    driving = list(counted(heads.clip(1, frames, FPS)))
    source = reenactor.encode(subject.portrait)
    shown = list(counted(reenactor.animate(source, driving, relative=False)))
    views = reenactor.render(
        source, Motion.cat([source.motion] * len(YAWS)), view=[View(yaw=yaw) for yaw in YAWS]
    )

    write_video(files.video, _side_by_side(subject.portrait, driving, shown), fps=FPS)
    write_video(files.driving, driving, fps=FPS)
    write_image(files.portrait, subject.portrait)
    write_image(files.sheet, _sheet(subject, driving, shown, to_uint8(views).cpu().numpy()))
    return files


def drawn_portrait(size: int, seed: int = 0) -> np.ndarray:
    """(size, size, 3) uint8: the head that is the portrait of a demo with this seed."""
    return _views(SyntheticHeads(size, 1, SEED + seed), 0.0)[0]


class _Subject(NamedTuple):
    """Whose head is the portrait."""

    portrait: np.ndarray  # (n, n, 3) uint8
    views: np.ndarray  # (V, n, n, 3) uint8, the true pictures of the head turned by YAWS


def _subject(heads: SyntheticHeads) -> _Subject:
    """The first of the heads."""
    portrait, *turned = _views(heads, 0.0, *YAWS)
    return _Subject(portrait, np.stack(turned))


def _views(heads: SyntheticHeads, *yaws: float) -> np.ndarray:
    """(V, n, n, 3) uint8: the first of the heads, turned a little, nearly at rest, and by the yaws."""
    yaw = torch.tensor(yaws)
    zero = torch.zeros_like(yaw)
    who, rest = heads.identity(0).repeat(len(yaw)), Expression.neutral(len(yaw))
    pose = Pose.at(zero + 2, zero + 8, zero - 2).turned(rotation_from_euler(zero, yaw, zero))
    return to_uint8(render(who, replace(rest, smile=zero + 0.3), pose, heads.size)).cpu().numpy()


def _files(folder: Path) -> DemoFiles:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder's name, got a file's")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder}: cannot make the folder ({error.strerror})") from None
    return DemoFiles(*(folder / name for name in ("demo.mp4", "sheet.png", "portrait.png", "driving.mp4")))


def _side_by_side(
    portrait: np.ndarray, driving: Iterable[np.ndarray], shown: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """Portrait, driver and output in one frame, large enough to look at."""
    times = enlarged(len(portrait), LEAST_SIZE) // len(portrait)
    for pair in zip(driving, shown, strict=True):
        yield np.concatenate([portrait, *pair], axis=1).repeat(times, 0).repeat(times, 1)


def _sheet(
    subject: _Subject, driving: Sequence[np.ndarray], shown: Sequence[np.ndarray], views: np.ndarray
) -> np.ndarray:
    """(H, W, 3) uint8: the driver, the output, and views of the head above the true pictures."""

    def line(name: str, frames: Sequence[np.ndarray]) -> list[Cell]:
        chosen = np.linspace(0, len(frames) - 1, COLUMNS - 1).round().astype(int)
        return row(["portrait"], [subject.portrait]) + row([name] * len(chosen), [frames[i] for i in chosen])

    def row(names: Sequence[str], pictures: Sequence[np.ndarray]) -> list[Cell]:
        return cells(names, to_images(torch.from_numpy(np.stack(pictures)), len(subject.portrait)))

    names = [f"yaw {yaw:+g}" for yaw in YAWS]
    turned = row(names, list(views)) + row([f"{name}, true" for name in names], list(subject.views))
    return laid_out([line("driving", driving), line("output", shown), [], turned], COLUMNS)
