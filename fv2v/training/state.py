"""Checkpoints of a training run: everything that resuming needs, in one file each.

They are in the run's folder as `step-00001000.pt`: tensors, numbers and strings, read without executing code
from the file. A file appears whole or not at all, so a killed run leaves the checkpoint before it.
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
    """A run after `step` steps. The order of the data and the random numbers of a step depend on it alone."""

    step: int
    config: dict[str, Any]  # in the form that `toml.plain` returns
    learner: LearnerState
    random: list[Tensor]  # the states of torch's own generators: the CPU's, and a GPU's where there is one


def write(state: TrainingState, folder: Path, keep: int) -> Path:
    """Save into `folder`, then delete all but the newest `keep` there. Returns the file.

    Raises:
        ValueError: it cannot be written; older checkpoints stay.
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
    """The newest checkpoint in `folder` that can be read, or None; warns of damaged ones."""
    for path in reversed(found(folder)):
        try:
            return read(path)
        except ValueError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return None


def read(path: Path) -> TrainingState:
    """ValueError for a file that is damaged, or no training checkpoint."""
    stored = read_torch(path)
    try:
        if stored.pop("format") != FORMAT:
            raise KeyError
        return TrainingState(**stored | {"learner": LearnerState(**stored["learner"])})
    except (AttributeError, KeyError, TypeError):
        raise ValueError(f"{path.name} is no training checkpoint of this version of fv2v") from None


def remove_unfinished(folder: Path) -> None:
    """Delete the temporary files of a run that was killed while writing."""
    for path in folder.glob(".step-*.pt"):
        path.unlink(missing_ok=True)
    for path in folder.glob(".model.*.safetensors"):
        path.unlink(missing_ok=True)


def _plain(state: TrainingState) -> dict[str, Any]:
    """In containers that `torch.load` reads with `weights_only=True`."""
    return {f.name: getattr(state, f.name) for f in fields(state)} | {"learner": state.learner._asdict()}
