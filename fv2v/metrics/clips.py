# SPDX-License-Identifier: Apache-2.0
"""Clips of real faces as scenes. True pictures are known only for the protocol of the same identity.

Free views, frontalization and motion of another face are rendered as well: FID against the person's own clip
and CSIM with the source are measured there.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from fv2v.data.layouts import find_items
from fv2v.data.videos import VideoFolder
from fv2v.io.paths import PathLike
from fv2v.metrics.protocols import Scene, TruePictures

DRIVEN = 4  # frames of another face


class Clips:
    """A scene for each clip under a folder, in order of their names; broken ones are skipped, and logged.

    A clip's frames are spread evenly over it, the first included. Across identities the next person drives,
    where file names identify persons (data/layouts.py), else the next clip.

    Args:
        folder: of videos; its sub-folder `test` where there is one.
        size: side of the pictures, in pixels.
        frames: of each clip, at most; the first is the source.
        limit: how many clips at most; None: all.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no videos, only broken ones, or a number out of range.
    """

    def __init__(self, folder: PathLike, size: int, frames: int = 16, limit: int | None = None) -> None:
        if frames < 2 or (limit is not None and limit < 1):
            raise ValueError(
                "expected frames >= 2, a source and a driving frame, and a limit >= 1 or none; "
                f"got {frames} and {limit}"
            )
        split = "test" if (Path(folder) / "test").is_dir() else None
        self.frames = frames
        self._folder = VideoFolder(folder, size, split=split)
        self._folder.check()
        people = [self._whole(videos) for videos in find_items(self._folder.folder, grouped=True)]
        self._people = [videos for videos in people if videos]
        self._clips = [(number, video) for number, videos in enumerate(self._people) for video in videos]
        self._clips = self._clips[:limit]

    def __len__(self) -> int:
        return len(self._clips)

    def __iter__(self) -> Iterator[Scene]:
        scenes = map(self.scene, range(len(self)))
        return (scene for scene in scenes if scene is not None)

    def scene(self, number: int) -> Scene | None:
        """That of a clip; None: it, or what drives it, is broken."""
        person, path = self._clips[number]
        other = self._people[(person + 1) % len(self._people)][0]
        frames = self._read(path, self.frames)
        driver = self._read(other, 1 + DRIVEN) if len(self._people) > 1 else None
        if frames is None or (driver is None and len(self._people) > 1):
            return None
        return Scene(frames, driver, TruePictures(frames[1:]))

    def _whole(self, videos: list[str]) -> list[Path]:
        paths = [self._folder.folder / video for video in videos]
        return [path for path in paths if str(path) not in self._folder.broken]

    def _read(self, path: Path, frames: int) -> Tensor | None:
        """(T, 3, n, n) in [0, 1]; None for a broken clip."""

        def spread(count: int) -> list[int]:
            if count < 2:
                raise ValueError(f"expected 2 frames or more, got {count}")
            return np.linspace(0, count - 1, min(frames, count)).round().astype(int).tolist()

        try:
            return self._folder.read(path, spread).float() / 255
        except (ValueError, OSError) as error:
            self._folder.add_broken({str(path): str(error)})
            return None
