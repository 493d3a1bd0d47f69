# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures read as a film."""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from fv2v.io.image import IMAGE_SUFFIXES, read_image, read_with_opacity
from fv2v.io.paths import PathLike
from fv2v.io.timing import WHOLE, Span, as_rate
from fv2v.io.video_reader import VideoReader

FPS = 25  # where nothing else is said
_NUMBER = re.compile(r"%(?:0([1-9]))?d")


def is_frames(path: PathLike) -> bool:
    """Whether it is a folder, or a pattern of names such as frames/%04d.png, and no file of that name."""
    path = Path(path)
    return path.is_dir() or (_NUMBER.search(path.name) is not None and not path.exists())


def frames_of(path: PathLike) -> list[Path]:
    """The pictures of a folder, or of a pattern, in their order, which are not read.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no pictures in it, a number that is missing.
    """
    path = Path(path)
    return _in_folder(path) if path.is_dir() else _by_pattern(path)


class FrameFolder(VideoReader):
    """`VideoReader` of a folder of pictures, all of one size, or of those that a pattern names.

    Those of a folder come in the order of the numbers in their names, and without numbers of their names;
    those of a pattern by their number, without gaps.

    Args:
        path: the folder, or the pattern.
        fps: frames a second; 25 where None is given.
        span: which part is read.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no pictures in it, a number that is missing, a part that has no frames.
    """

    def __init__(self, path: PathLike, fps: float | None = None, span: Span = WHOLE) -> None:
        self.path, self.span, self.strict = Path(path), span, False
        self.sound = None
        self.rate = as_rate(FPS if fps is None else fps)
        self.time_base = 1 / self.rate
        self._step = self._last_duration = 1
        self._files = frames_of(self.path)
        self._frames_stated = len(self._files)
        first = next((i for i in range(len(self._files)) if not span.is_before(i * self.time_base)), None)
        if first is None:
            raise ValueError(f"{path}: expected frames {span}, of {len(self._files)} there is none there")
        self.size = read_image(self._files[first]).shape[:2]
        self._start_anew()

    def _frames(self, pts: list[int], damaged: list[int], shifts: list[Fraction]) -> Iterator[np.ndarray]:
        for number, file in enumerate(self._files):
            seconds = number * self.time_base
            if self.span.is_before(seconds):
                continue
            if self.span.is_over(seconds) or len(pts) == self.span.frames:
                return
            image, self.opacity = read_with_opacity(file)
            if image.shape[:2] != self.size:
                (H, W), (h, w) = self.size, image.shape[:2]
                raise ValueError(f"{file}: expected {W} x {H} pixels, as the frames before; got {w} x {h}")
            pts.append(number)
            yield image


def _in_folder(folder: Path) -> list[Path]:
    files = [
        each
        for each in folder.iterdir()
        if each.suffix.lower() in IMAGE_SUFFIXES and each.name[0] != "." and each.is_file()
    ]
    if not files:
        raise ValueError(
            f"{folder}: expected a folder of frames, {', '.join(IMAGE_SUFFIXES)}; found none in it"
        )
    return sorted(files, key=_order)


def _order(file: Path) -> list[tuple[int, int, str]]:
    """Numbers by their value, the rest of a name by its letters."""
    parts = re.split(r"(\d+)", file.name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _by_pattern(pattern: Path) -> list[Path]:
    if not pattern.parent.is_dir():
        raise FileNotFoundError(f"{pattern}: the folder {pattern.parent} does not exist")
    number = _NUMBER.search(pattern.name)
    assert number is not None
    before, after = pattern.name[: number.start()], pattern.name[number.end() :]
    digits = r"\d+" if number[1] is None else rf"\d{{{number[1]},}}"
    name = re.compile(re.escape(before) + f"({digits})" + re.escape(after))
    found: dict[int, Path] = {}
    for file in pattern.parent.iterdir():
        if match := name.fullmatch(file.name):
            other = found.setdefault(int(match[1]), file)
            if other != file:
                raise ValueError(f"{pattern}: expected a file a number, got {other.name} and {file.name}")
    if not found:
        raise ValueError(f"{pattern}: expected frames, no file has such a name")
    for last, following in zip(sorted(found), sorted(found)[1:], strict=False):
        if following != last + 1:
            raise ValueError(f"{pattern}: expected frames without gaps, number {last + 1} is missing")
    return [found[each] for each in sorted(found)]
