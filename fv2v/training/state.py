"""Checkpoints of a training run: all that it takes to go on as if nothing had happened, in one file each.

They lie in the run's folder as `step-00001000.pt`: tensors, numbers and strings, read without running
anything. A file appears whole or not at all, so whoever is killed leaves the one before it.
"""

import re
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fv2v.checkpoints.storage import read_torch
from fv2v.io.paths import whole_file
from fv2v.training.learner import LearnerState

PATTERN = re.compile(r"step-(\d{8})\.pt")
FORMAT = "fv2v training"


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A run after `step` steps. Its data order and the random numbers of a step follow from the step."""

    step: int
    config: dict[str, Any]  # as `settings.plain` makes it
    learner: LearnerState
    random: list[Tensor]  # the states of torch's own generators: the CPU's, and a GPU's where there is one


def write(state: TrainingState, folder: Path, keep: int) -> Path:
    """Save into `folder`, and then leave the newest `keep` there. Returns the file.

    Raises:
        ValueError: it cannot be written; those before it stay.
    """
    path = folder / f"step-{state.step:08d}.pt"
    try:
        with whole_file(path) as temporary:
            torch.save({"format": FORMAT, **_plain(state)}, temporary)
    except (OSError, RuntimeError) as error:  # torch raises the latter for a full disk
        raise ValueError(f"cannot write {path}: {error}") from error
    for old in found(folder)[:-keep]:
        old.unlink()
    return path


def found(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if PATTERN.fullmatch(path.name))


def latest(folder: Path) -> TrainingState | None:
    """The newest checkpoint in `folder` that can be read; None where there is none. Warns of damaged ones."""
    for path in reversed(found(folder)):
        try:
            return read(path)
        except ValueError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return None


def read(path: Path) -> TrainingState:
    """ValueError for a file that is damaged, or none of these."""
    stored = read_torch(path)
    try:
        if stored.pop("format") != FORMAT:
            raise KeyError
        return TrainingState(**stored | {"learner": LearnerState(**stored["learner"])})
    except (AttributeError, KeyError, TypeError):
        raise ValueError(f"{path.name} is no training checkpoint of this version of fv2v") from None


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed run left of files that it was writing."""
    for path in folder.glob(".step-*.pt"):
        path.unlink(missing_ok=True)
    for path in folder.glob(".model.*.safetensors"):
        path.unlink(missing_ok=True)


def _plain(state: TrainingState) -> dict[str, Any]:
    """In containers that are read back without running anything."""
    return {f.name: getattr(state, f.name) for f in fields(state)} | {"learner": state.learner._asdict()}
