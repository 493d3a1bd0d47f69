# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a training run: everything that resuming needs, in one file each.

They are in the run's folder as `step-00001000.pt`: tensors, numbers and strings, read without executing code
from the file. A file appears whole or not at all, so a killed run leaves the checkpoint before it. torch.save
writes a CRC-32 of every tensor, which torch.load does not look at: `read` does.
"""

import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fv2v.checkpoints.storage import check_torch, read_torch
from fv2v.io.paths import whole_file
from fv2v.training.learner import LearnerState

PATTERN = re.compile(r"step-(\d{8})\.pt")
FORMAT = "fv2v training"


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A run after `step` steps. The order of the data and the random numbers of a step depend on it alone."""

    step: int
    config: dict[str, Any]  # in the form that `toml.plain` returns
    learner: LearnerState
    random: list[Tensor]  # the states of torch's own generators: the CPU's, and a GPU's where there is one


class Latest(NamedTuple):
    """What a run's folder has to go on from."""

    state: TrainingState | None  # of the newest whole checkpoint; None: there is none
    left_out: list[str]  # what is wrong with each newer one


def write(state: TrainingState, folder: Path, keep: int) -> Path:
    """Save into `folder`; of older checkpoints the newest stay, so that `keep` are whole. Returns the file.

    Damaged ones count for nothing and stay, too: somebody may know how to mend them.

    Raises:
        ValueError: it cannot be written; older checkpoints stay.
    """
    path = folder / f"step-{state.step:08d}.pt"
    try:
        with whole_file(path) as temporary, temporary.open("wb") as file:
            torch.save({"format": FORMAT, **_plain(state)}, file)
    except (OSError, RuntimeError) as error:  # torch raises the latter for a full disk
        raise ValueError(f"cannot write {path}: {error}") from error
    whole = [each for each in found(folder) if each <= path and _is_whole(each)]
    for old in whole[:-keep]:
        old.unlink()
    return path


def found(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if PATTERN.fullmatch(path.name))


def latest(folder: Path) -> Latest:
    """The newest checkpoint in `folder` that is whole, and what is wrong with those after it."""
    left_out = list[str]()
    for path in reversed(found(folder)):
        try:
            return Latest(read(path), left_out)
        except ValueError as error:
            left_out.append(f"left out: {error}")
    return Latest(None, left_out)


def read(path: Path) -> TrainingState:
    """ValueError for a file that is damaged, or no training checkpoint."""
    if not _is_whole(path):
        raise ValueError(f"{path.name} is damaged: cut short, or changed since it was written")
    stored = read_torch(path)
    try:
        if stored.pop("format") != FORMAT:
            raise KeyError
        state = TrainingState(**stored | {"learner": LearnerState(**stored["learner"])})
        if type(state.step) is not int:
            raise TypeError
    except (AttributeError, KeyError, TypeError):
        raise ValueError(f"{path.name} is no training checkpoint of this version of fv2v") from None
    if path.name != f"step-{state.step:08d}.pt":
        raise ValueError(f"{path.name} holds step {state.step}: it was renamed")
    return state


def set_aside(folder: Path, others: Iterable[Path]) -> Path | None:
    """Move all checkpoints, and the other files, into a new folder in `folder`; None: there are none."""
    old = [path for path in (*found(folder), *others) if path.exists()]
    if not old:
        return None
    aside = next(each for n in count(1) if not (each := folder / f"before-{n}").exists())
    aside.mkdir()
    for path in old:
        path.rename(aside / path.name)
    return aside


def _is_whole(path: Path) -> bool:
    """Whether each tensor, and the structure around them, has the CRC-32 that it was written with."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        check_torch(path)
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # damaged bytes make zipfile raise nearly anything
        return False


def _plain(state: TrainingState) -> dict[str, Any]:
    """In containers that `torch.load` reads with `weights_only=True`."""
    return {f.name: getattr(state, f.name) for f in fields(state)} | {"learner": state.learner._asdict()}
