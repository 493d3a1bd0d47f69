"""Files of tensors, read without running anything in them, and what a whole checkpoint comes to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fv2v.checkpoints.renames import Networks
from fv2v.config import ModelConfig


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What files of weights hold, whoever wrote them."""

    label: str  # what errors call it
    release: str | None  # whose it is, a name in `RELEASES`; None: trained here
    config: ModelConfig
    weights: dict[str, Tensor]  # under our names
    others: Networks  # networks that fv2v does not run, as the release's writer takes them back


def read_torch(path: Path, expected: str = "a release's own file, whole, or a .safetensors of fv2v") -> Any:
    """What `torch.save` wrote: tensors in plain containers. Anything else never runs: a ValueError.

    `expected` is what the error then asks for.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged and foreign bytes make the unpickler raise nearly anything
        # not torch's own words: they tell to switch the safety off
        raise ValueError(
            f"{path.name} is no checkpoint that can be read safely: it is damaged, cut short, no checkpoint "
            f"at all, or would run code. Expected {expected}"
        ) from error


def write_torch(stored: Mapping[str, Any], path: Path) -> None:
    """Tensors and dicts of them. One read from a .safetensors is copied: it would bring its file along."""
    torch.save(
        {
            key: value.clone() if isinstance(value, Tensor) else {k: t.clone() for k, t in value.items()}
            for key, value in stored.items()
        },
        path,
    )


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors. ValueError for a file that is none, or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name} is no .safetensors file, or a damaged one: {error}") from error


def write_safetensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    path.touch()
    mode = path.stat().st_mode
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata)
    path.chmod(mode)  # of a file of anybody's: safetensors makes files that only their owner may read


def state_dicts(stored: Any) -> Networks:
    """The networks in a dict of them. Optimizers, the epoch and whatever else is there are left out."""
    if not isinstance(stored, Mapping):
        return {}
    return {
        name: dict(value) for name, value in stored.items() if isinstance(name, str) and is_state_dict(value)
    }


def is_state_dict(value: Any) -> bool:
    """Whether it is tensors under names, and nothing else."""
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in value.items()
    )


def misfits(stored: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What keeps the tensors of a file from being those of a model, a line each; none where they fit."""
    problems = [f"not in the file: {key}" for key in sorted(wanted.keys() - stored.keys())]
    problems += [f"not in the model: {key}" for key in sorted(stored.keys() - wanted.keys())]
    problems += [
        f"shape of {key}: file {tuple(stored[key].shape)}, model {tuple(wanted[key].shape)}"
        for key in sorted(wanted.keys() & stored.keys())
        if stored[key].shape != wanted[key].shape
    ]
    problems += [
        f"dtype of {key}: file {stored[key].dtype}, model {wanted[key].dtype}"
        for key in sorted(wanted.keys() & stored.keys())
        if stored[key].is_floating_point() != wanted[key].is_floating_point()
    ]
    return problems


def contents(stored: Any) -> str:
    """What a file holds, for errors."""
    if not isinstance(stored, Mapping):
        return type(stored).__name__
    return ", ".join(map(str, list(stored)[:8])) or "nothing"
