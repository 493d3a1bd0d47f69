# SPDX-License-Identifier: Apache-2.0
"""A release's weights somewhere below a folder: a checkout, ComfyUI's models, HuggingFace's cache."""

import os
from collections.abc import Iterator
from pathlib import Path

from fv2v.checkpoints import liveportrait, native, sadtalker, zhanglonghao1992
from fv2v.checkpoints.storage import weights_in
from fv2v.config import ModelConfig

DEPTH = 7  # folders below the one that is given
MOST = 2000  # folders that are looked into
PASSED_OVER = {
    "blobs",
    "refs",
    "node_modules",
    "__pycache__",
}  # of HuggingFace's cache, whose links name these


def whole_set(folder: Path, config: ModelConfig | None) -> list[Path]:
    """The files of one release in a folder, or in those that it makes there; none where some are missing.

    ValueError where several files in it would each do.
    """
    found = liveportrait.find(folder)
    if len({liveportrait.part(path) for path in found}) == len(liveportrait.FILES) == len(found):
        return found
    if not weights_in(folder):
        return []
    if sadtalker.holds_both(folder):
        return sadtalker.find(folder, config)
    alone = [path for path in weights_in(folder) if native.is_ours(path) or zhanglonghao1992.holds(path)]
    if len(alone) > 1:
        names = ", ".join(path.name for path in alone)
        raise ValueError(f"{folder} holds {names}, each of which would do: give one of them")
    return alone


def search(folder: Path, config: ModelConfig | None) -> list[Path]:
    """The files of the one release below a folder; none where there is none.

    Raises:
        ValueError: several are there; it names them.
    """
    sets: list[tuple[Path, list[Path]]] = []
    done: set[Path] = set()
    for below in _folders(folder):
        if done.isdisjoint((below, *below.parents)) and (files := whole_set(below, config)):
            sets.append((below, files))
            done.add(below)
    if len(sets) > 1:
        places = ", ".join(str(place) for place, _ in sets[:5])
        raise ValueError(f"{folder} holds {len(sets)} sets of weights: give the folder of one, as {places}")
    return sets[0][1] if sets else []


def _folders(top: Path) -> Iterator[Path]:
    """The folders below, from the top down; of a HuggingFace snapshot that which `main` names."""
    level = [top]
    count = 0
    for _ in range(DEPTH):
        following: list[Path] = []
        for folder in level:
            main = folder.parent / "refs" / "main"
            named = main.read_text().strip() if folder.name == "snapshots" and main.is_file() else None
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir())
            kept = [name for name in names if name[0] != "." and name not in PASSED_OVER]
            following += [folder / name for name in ([named] if named in kept else kept) if name]
        count += len(following)
        if count > MOST:
            raise ValueError(
                f"{top}: expected the folder with weights, got one with more than {MOST} folders"
            )
        yield from following
        level = following
