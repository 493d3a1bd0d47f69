"""A drawn head that turns, blinks and speaks as another one does, from nothing: no files, no downloads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fv2v.data.synthetic import Expression, Pose, SyntheticHeads, render
from fv2v.geometry import Motion, View
from fv2v.geometry.rotation import rotation_from_euler
from fv2v.io.image import write_image
from fv2v.io.paths import PathLike
from fv2v.io.tensors import to_images, to_uint8
from fv2v.io.video import write_video
from fv2v.progress import FrameProgress
from fv2v.reenactor import Reenactor
from fv2v.viz.sheet import Cell, cells, enlarged, laid_out

# of streams of people that neither training nor evaluation draws (metrics/heads.py): a driver who
# opens mouth and shuts eyes, and a portrait without glasses
SEED = 500_000_024
FPS = 25
YAWS = (-30.0, 0.0, 30.0)  # degrees: free views
COLUMNS = 8  # of the sheet: the portrait, and frames spread over the clip
LEAST = 256  # pixels: smaller pictures are enlarged for the video


class DemoFiles(NamedTuple):
    """What `demo` wrote."""

    video: Path  # portrait, driver and output side by side
    sheet: Path
    portrait: Path  # what it was made from, for `fv2v reenact --no-crop`
    driving: Path


def demo(
    folder: PathLike = "fv2v-demo",
    *,
    reenactor: Reenactor | None = None,
    frames: int = 75,
    seed: int = 0,
    progress: FrameProgress | None = None,
) -> DemoFiles:
    """Draw a portrait and another person who drives it, and animate the one by the other.

    Args:
        folder: where the files go; made where it is not there. Those of a demo before are replaced.
        reenactor: a model that pictures drive; by default the starter, which learned on heads like these.
        frames: of the video, 25 a second; COLUMNS - 1 or more.
        seed: other seeds draw other people.
        progress: called after each frame drawn and each shown with their number so far, and in all.

    Raises:
        ValueError: too few frames, a seed below 0, a model that coefficients drive, or a folder that cannot
            be written to.
    """
    if frames < COLUMNS - 1 or seed < 0:
        raise ValueError(f"expected frames >= {COLUMNS - 1} and seed >= 0, got {frames} and {seed}")
    reenactor = reenactor or Reenactor("starter")
    if reenactor.config.head.window:
        raise ValueError(f"expected a model that pictures drive, got {reenactor.config.name!r}")
    files = _files(Path(folder))
    numbers = iter(range(1, 2 * frames + 1))

    def counted(made: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for each in made:
            yield each
            if progress is not None:
                progress(next(numbers), 2 * frames)

    heads = SyntheticHeads(reenactor.config.output_size, 2, SEED + seed)
    sitter = _sitter(heads)
    driving = list(counted(heads.clip(1, frames, FPS)))
    source = reenactor.encode(sitter.portrait)
    shown = list(counted(reenactor.animate(source, driving, relative=False)))
    views = reenactor.render(
        source, Motion.cat([source.motion] * len(YAWS)), view=[View(yaw=yaw) for yaw in YAWS]
    )

    write_video(files.video, _abreast(sitter.portrait, driving, shown), fps=FPS)
    write_video(files.driving, driving, fps=FPS)
    write_image(files.portrait, sitter.portrait)
    write_image(files.sheet, _sheet(sitter, driving, shown, to_uint8(views).cpu().numpy()))
    return files


class _Sitter(NamedTuple):
    """Who is portrayed."""

    portrait: np.ndarray  # (n, n, 3) uint8
    views: np.ndarray  # (V, n, n, 3) uint8, as `View` turns the head by YAWS


def _sitter(heads: SyntheticHeads) -> _Sitter:
    """The first of the heads, turned a little and nearly at rest."""
    yaw = torch.tensor([0.0, *YAWS])
    zero = torch.zeros_like(yaw)
    who, rest = heads.identity(0).repeat(len(yaw)), Expression.neutral(len(yaw))
    pose = Pose.at(zero + 2, zero + 8, zero - 2).turned(rotation_from_euler(zero, yaw, zero))
    portrait, *turned = to_uint8(render(who, replace(rest, smile=zero + 0.3), pose, heads.size)).cpu().numpy()
    return _Sitter(portrait, np.stack(turned))


def _files(folder: Path) -> DemoFiles:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder's name, got a file's")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder}: cannot make the folder ({error.strerror})") from None
    return DemoFiles(*(folder / name for name in ("demo.mp4", "sheet.png", "portrait.png", "driving.mp4")))


def _abreast(
    portrait: np.ndarray, driving: Iterable[np.ndarray], shown: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """Frames with all three, large enough to look at."""
    times = enlarged(len(portrait), LEAST) // len(portrait)
    for pair in zip(driving, shown, strict=True):
        yield np.concatenate([portrait, *pair], axis=1).repeat(times, 0).repeat(times, 1)


def _sheet(
    sitter: _Sitter, driving: Sequence[np.ndarray], shown: Sequence[np.ndarray], views: np.ndarray
) -> np.ndarray:
    """(H, W, 3) uint8: what drove, what came of it, and free views beside what is true."""

    def line(name: str, frames: Sequence[np.ndarray]) -> list[Cell]:
        chosen = np.linspace(0, len(frames) - 1, COLUMNS - 1).round().astype(int)
        return row(["portrait"], [sitter.portrait]) + row([name] * len(chosen), [frames[i] for i in chosen])

    def row(names: Sequence[str], pictures: Sequence[np.ndarray]) -> list[Cell]:
        return cells(names, to_images(torch.from_numpy(np.stack(pictures)), len(sitter.portrait)))

    names = [f"yaw {yaw:+g}" for yaw in YAWS]
    turned = row(names, list(views)) + row([f"{name}, true" for name in names], list(sitter.views))
    return laid_out([line("driving", driving), line("output", shown), [], turned], COLUMNS)
