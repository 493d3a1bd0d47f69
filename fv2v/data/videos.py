# SPDX-License-Identifier: Apache-2.0
"""Videos as training data: pairs of two frames of one clip, from a folder of talking heads."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from fv2v.data.layouts import find_items, frame_files, split_folder
from fv2v.data.pairs import Draw, Pairs
from fv2v.face.crop import cut, middle_square
from fv2v.io.image import read_image
from fv2v.io.limits import shown
from fv2v.io.paths import PathLike
from fv2v.io.random_access import Choice, read_frames
from fv2v.io.video import read_video

TRIES = 64  # videos in a row that may be broken

logger = logging.getLogger(__name__)


class VideoFolder:
    """A `PairData` of the videos under a folder, in the layouts of layouts.py.

    Items are persons or source videos, where file names have them, else clips. Of a person a draw takes one
    clip at random, and two different frames of it in either order. Frames are cut to their middle square and
    resized to `size`, anti-aliased.

    A video that cannot be opened, has too few frames or is damaged where it is read is recorded in `broken`
    and logged once, as a warning; another item, chosen by the draw's seed, takes its place. A video in
    `broken` is tried again at the next draw: a pair depends on its draw and the files, never on what was read
    before.

    Attributes:
        folder: the folder that is read, that of the split where there is one.
        size: side of the pictures, in pixels.
        minimum_frames: a video with fewer is broken.
        broken: reasons by path, of the videos that turned out broken so far.
    """

    def __init__(
        self,
        folder: PathLike,
        size: int,
        *,
        minimum_frames: int = 2,
        split: str | None = None,
        grouped: bool = True,
    ) -> None:
        """Find the videos, without opening them (see `check`).

        Args:
            folder: holds videos, or sub-folders `train`, `test` and the like that do.
            size: side of the pictures, in pixels.
            minimum_frames: 2 or more.
            split: the sub-folder to read. None: `train` where there is one, else the folder itself.
            grouped: whether clips of one person are one item; False makes every clip an item.

        Raises:
            FileNotFoundError: no such folder.
            ValueError: no videos, no such split, a file in place of the folder, or a number out of range.
        """
        if size < 1 or minimum_frames < 2:
            raise ValueError(
                f"expected a size of 1 pixel or more and minimum_frames of 2 or more, got size={size}, "
                f"minimum_frames={minimum_frames}"
            )
        self.folder = split_folder(Path(folder), split)
        self.size = size
        self.minimum_frames = minimum_frames
        self.broken: dict[str, str] = {}
        self._items = find_items(self.folder, grouped=grouped)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, draw: Draw) -> Pairs:
        """Two frames of one video, (1, 3, size, size) uint8 each.

        Raises:
            IndexError: no such item.
            ValueError: 64 videos in a row are broken.
        """
        for attempt in range(TRIES):
            rng = np.random.default_rng((draw.seed, attempt))
            videos = self._items[rng.integers(len(self)) if attempt else draw.index]
            path = self.folder / videos[rng.integers(len(videos))]
            try:
                return self._pair(path, rng)
            except (ValueError, OSError) as error:
                last = f"{path}: {_reason(path, error)}"
                self.add_broken({str(path): _reason(path, error)})
        raise ValueError(f"{self.folder}: {TRIES} videos in a row are broken, the last one {last}")

    def check(self) -> None:
        """Open every video, so that errors in headers and first frames are in `broken` at once.

        Raises:
            ValueError: all are broken.
        """
        paths = [self.folder / video for item in self._items for video in item]
        for path in paths:
            try:
                count = len(frame_files(path)) if path.is_dir() else read_video(path).length
                self._check_length(self.minimum_frames if count is None else count)
            except (ValueError, OSError) as error:
                self.add_broken({str(path): _reason(path, error)})
        if len(self.broken) == len(paths):
            raise ValueError(f"{self.folder}: all videos are broken, {len(paths)} of them: {self.broken}")

    def add_broken(self, found: Mapping[str, str]) -> None:
        """Record broken videos, reasons by path, also those of other processes. Each is logged once."""
        for path, reason in found.items():
            if path not in self.broken:
                self.broken[path] = reason
                if get_worker_info() is None:  # the parent process logs those of its workers
                    logger.warning("%s: skipped: %s", shown(path), shown(reason))

    def read(self, path: Path, choose: Choice) -> Tensor:
        """The chosen frames of one of the videos, (B, 3, size, size) uint8. Errors as `read_frames`."""
        if path.is_dir():
            files = frame_files(path)
            frames = [read_image(files[number]) for number in choose(len(files))]
        else:
            frames = read_frames(path, choose)
        return torch.cat([self._picture(frame) for frame in frames])

    def _pair(self, path: Path, rng: np.random.Generator) -> Pairs:
        def two(count: int) -> list[int]:
            self._check_length(count)
            return rng.choice(count, 2, replace=False).tolist()

        source, driving = self.read(path, two).split(1)
        return Pairs(source, driving)

    def _check_length(self, count: int) -> None:
        if count < self.minimum_frames:
            raise ValueError(f"expected {self.minimum_frames} frames or more, got {count}")

    def _picture(self, frame: np.ndarray) -> Tensor:
        """(H, W, 3) -> (1, 3, size, size)."""
        square = cut(frame, middle_square(frame), self.size)
        return torch.from_numpy(square).permute(2, 0, 1).contiguous()[None]


def _reason(path: Path, error: Exception) -> str:
    return str(error).removeprefix(f"{path}: ")
