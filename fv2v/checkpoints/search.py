# SPDX-License-Identifier: Apache-2.0
"""A release's weights somewhere below a folder: a checkout, ComfyUI's models, HuggingFace's cache."""

import os
from collections.abc import Iterator
from pathlib import Path

from fv2v.checkpoints import fomm, liveportrait, native, performrecast, sadtalker, zhanglonghao1992
from fv2v.checkpoints.storage import weights_in
from fv2v.config import ModelConfig

DEPTH = 7  # folders below the one that is given
MOST = 2000  # folders that are looked into
NAME = 256  # characters of a snapshot's name
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
    for release in (performrecast, liveportrait):
        found = release.find(folder)
        if len({release.part(path) for path in found}) == len(release.FILES) == len(found):
            return found
    if not weights_in(folder):
        return []
    if sadtalker.holds_both(folder):
        return sadtalker.find(folder, config)
    kinds = native.is_ours, zhanglonghao1992.holds, fomm.holds
    alone = [path for path in weights_in(folder) if any(holds(path) for holds in kinds)]
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
    for below in folders_below(folder):
        if done.isdisjoint((below, *below.parents)) and (files := whole_set(below, config)):
            sets.append((below, files))
            done.add(below)
    if len(sets) > 1:
        places = ", ".join(str(place) for place, _ in sets[:5])
        raise ValueError(f"{folder} holds {len(sets)} sets of weights: give the folder of one, as {places}")
    return sets[0][1] if sets else []


def folders_below(top: Path) -> Iterator[Path]:
    """The folders below, from the top down, each once; of a HuggingFace snapshot that which `main` names.

    ValueError where there are more than `MOST`.
    """
    level = [top]
    known = {os.path.realpath(top)}  # links may name a folder again, also one that is above
    count = 0
    for _ in range(DEPTH):
        following: list[Path] = []
        for folder in level:
            named = _named_by_main(folder)
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir())
            kept = [name for name in names if name[0] != "." and name not in PASSED_OVER]
            for name in [named] if named in kept else kept:
                if (real := os.path.realpath(folder / name)) not in known:
                    known.add(real)
                    following.append(folder / name)
        count += len(following)
        if count > MOST:
            raise ValueError(
                f"{top}: expected the folder with weights, got one with more than {MOST} folders"
            )
        yield from following
        level = following


def _named_by_main(folder: Path) -> str:
    """Which of a HuggingFace repository's snapshots is the current one; "" where nothing tells."""
    main = folder.parent / "refs" / "main"
    if folder.name != "snapshots" or not main.is_file():
        return ""
    with main.open(errors="replace") as file:
        return file.read(NAME).strip()
