# SPDX-License-Identifier: Apache-2.0
"""Where the videos are in a folder, and which of them show the same person: by names, without opening files.

| what                             | path, at any depth                                  | an item is       |
|----------------------------------|-----------------------------------------------------|------------------|
| clips                            | NAME.mp4 (.m4v .mov .mkv .webm .avi)                | the clip         |
| frames                           | NAME/*.png (.jpg .jpeg .webp), a folder with        | the folder       |
|                                  | neither clips nor folders beside the pictures       |                  |
| VoxCeleb as it is released       | idXXXXX/VIDEO/NNNNN.mp4, or frames in idXXXXX/VIDEO | the person       |
| VoxCeleb as first-order-motion's | idXXXXX#VIDEO#START#END.mp4, a clip or a folder of  | the person       |
| preprocessing writes it          | frames                                              |                  |
| TalkingHead-1KH                  | VIDEO_NNNN_S*_E*_L*_T*_R*_B*.mp4                    | the source video |

A folder may hold several of these. Hidden files and folders are skipped, and so is everything beside a folder
`cropped_clips`: in TalkingHead-1KH those are the videos that the clips were cut from. A folder that several
symbolic links name is read once, in the order of names.
"""

import os
import re
from collections import defaultdict
from pathlib import Path

from fv2v.io.image import IMAGE_SUFFIXES

CLIP_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
CROPPED = "cropped_clips"
PERSON = re.compile(r"(?:^|/)(id\d{5})[/#]")
SOURCE_VIDEO = re.compile(r"(?:^|/)([^/]+)_\d{4}_S\d+_E\d+_L\d+_T\d+_R\d+_B\d+\.\w+$")


def split_folder(folder: Path, split: str | None) -> Path:
    """The sub-folder `split`; for None `train` where there is one, else the folder itself.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a file in its place, or no such split.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of videos, got a file")
    if split is None:
        return folder / "train" if (folder / "train").is_dir() else folder
    if not (folder / split).is_dir():
        found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        raise ValueError(
            f"{folder}: expected a sub-folder {split!r}, found {', '.join(found[:9]) or 'no sub-folders'}"
        )
    return folder / split


def find_items(folder: Path, *, grouped: bool) -> list[list[str]]:
    """The items of a folder, each a list of videos, as paths within it. Both in order of their names.

    Args:
        folder: searched at any depth, through symbolic links too.
        grouped: whether videos of one person are one item; False makes every video an item of its own.

    Raises:
        ValueError: no videos in any layout of the table above.
    """
    items = defaultdict(list)
    for video in sorted(_videos(folder)):
        items[_item(video) if grouped else video].append(video)
    if not items:
        raise ValueError(
            f"{folder}: no videos; expected, at any depth, clips ({' '.join(CLIP_SUFFIXES)}) or folders of "
            f"frames with nothing but pictures in them ({' '.join(IMAGE_SUFFIXES)})"
        )
    return [items[name] for name in sorted(items)]


def frame_files(folder: Path) -> list[Path]:
    """The pictures of a folder of frames, in order of their names."""
    return sorted(folder / name for name in os.listdir(folder) if _is(name, IMAGE_SUFFIXES))


def _videos(root: Path) -> list[str]:
    found: list[Path] = []
    read: set[str] = set()  # else links that name a folder above them would be followed again and again
    for path, folders, files in os.walk(root, followlinks=True):
        if (real := os.path.realpath(path)) in read:
            folders.clear()
            continue
        read.add(real)
        folder = Path(path).relative_to(root)
        kept = [CROPPED] if CROPPED in folders else [name for name in folders if name[0] != "."]
        folders[:] = sorted(kept)
        if folders == [CROPPED]:
            continue
        clips = [folder / name for name in files if _is(name, CLIP_SUFFIXES)]
        if not (clips or folders) and any(_is(name, IMAGE_SUFFIXES) for name in files):
            found.append(folder)
        found += clips
    return [path.as_posix() for path in found]


def _is(name: str, suffixes: tuple[str, ...]) -> bool:
    return name[0] != "." and name.lower().endswith(suffixes)


def _item(video: str) -> str:
    """The person or the source video, where the name has it; else the video itself."""
    known = PERSON.search(video) or SOURCE_VIDEO.search(video)
    return known[1] if known else video
