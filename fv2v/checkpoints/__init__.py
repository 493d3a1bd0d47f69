"""Weights in and out of files, all or nothing.

Two kinds are read: public releases (`.pth.tar`, one rename table each, beside this file) and our own
`.safetensors`, which carries its config in its metadata. Nothing in a file is ever run: `weights_only=True`,
or safetensors.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fv2v.checkpoints import zhanglonghao1992
from fv2v.config import ModelConfig, preset
from fv2v.networks import FaceVid2Vid
from fv2v.paths import PathLike, check_input, check_output, whole_file

__all__ = ["NO_WEIGHTS", "convert", "load", "random", "save"]

SUFFIXES = (".safetensors",)  # what `save` writes
NO_WEIGHTS = (
    "no weights given, and none ship with fv2v. weights=PATH (--weights PATH) takes the vox-256 release's "
    "00000189-checkpoint.pth.tar (linked from "
    "github.com/zhanglonghao1992/One-Shot_Free-View_Neural_Talking_Head_Synthesis) or a .safetensors made "
    'from it by `fv2v convert`. weights="random" (--weights random) serves for timing and plumbing only: '
    "its pictures are grey"
)


def random(config: ModelConfig) -> FaceVid2Vid:
    """Weights nobody trained, the same ones every time. For timing and plumbing: the pictures are grey."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FaceVid2Vid(config)


def load(path: PathLike, config: ModelConfig | None = None) -> FaceVid2Vid:
    """The model in the file at `path`, on the CPU, in the file's dtype.

    `config` says what the caller expects; left out, the file tells.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, or damaged; or another preset's: then every missing, unexpected and
            misshapen tensor is listed.
    """
    path = check_input(path)
    ours = path.suffix.lower() == ".safetensors"
    found, weights = _read_own(path) if ours else _read_release(path)
    if ours and config not in (None, found):
        raise ValueError(
            f"{path.name} holds a {found.name!r} model with its own settings, which are not those of the "
            f"{config.name!r} asked for; leave the preset out to take the file's"
        )
    with torch.device("meta"):
        model = FaceVid2Vid(config or found)
    _check_fit(path, model, weights, found)
    model.load_state_dict(weights, assign=True)
    return model


def save(model: FaceVid2Vid, path: PathLike) -> None:
    """Write `model` to a .safetensors with its config inside; the file appears whole or not at all."""
    path = check_output(path, SUFFIXES)
    weights = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    metadata = {"format": "fv2v", "config": json.dumps(model.config.as_dict())}
    try:
        with whole_file(path) as temporary:
            save_file(weights, temporary, metadata)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"cannot write {path}: {error}") from error


def convert(source: PathLike, target: PathLike, name: str | None = None) -> ModelConfig:
    """Turn a release's checkpoint (or one of ours) into our .safetensors; returns the config it was given.

    `name` is a preset; left out, the file tells. Errors as `load`, and a target that cannot be written.
    """
    check_output(target, SUFFIXES, inputs=(source,))
    model = load(source, preset(name) if name else None)
    save(model, target)
    return model.config


def _read_own(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name} is no .safetensors file, or a damaged one: {error}") from error
    if metadata.get("format") != "fv2v":
        raise ValueError(
            f"{path.name} was not written by fv2v: it carries no config. Convert the release's own file with "
            "`fv2v convert`"
        )
    try:
        return ModelConfig.from_dict(json.loads(metadata.get("config", "null"))), weights
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path.name} carries a config that this version does not know: {error}") from error


def _read_release(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged and foreign bytes make the unpickler raise nearly anything
        # not torch's own words: they tell to switch the safety off
        raise ValueError(
            f"{path.name} is no checkpoint that can be read safely: it is damaged, cut short, no checkpoint "
            "at all, or would run code. Expected the release's .pth.tar, whole, or a .safetensors of fv2v"
        ) from error
    networks = zhanglonghao1992.RENAMES
    if not isinstance(stored, Mapping) or not all(_is_state_dict(stored.get(name)) for name in networks):
        held = ", ".join(map(str, list(stored)[:8])) if isinstance(stored, Mapping) else type(stored).__name__
        raise ValueError(
            f"{path.name} is not laid out as a release that fv2v reads: expected the networks "
            f"{', '.join(networks)}; the file holds {held or 'nothing'}"
        )
    return zhanglonghao1992.recognise(stored), zhanglonghao1992.rename(stored)


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in value.items()
    )


def _check_fit(path: Path, model: FaceVid2Vid, weights: Mapping[str, Tensor], found: ModelConfig) -> None:
    wanted = model.state_dict()
    problems = [f"not in the file: {key}" for key in sorted(wanted.keys() - weights.keys())]
    problems += [f"not in the model: {key}" for key in sorted(weights.keys() - wanted.keys())]
    problems += [
        f"shape of {key}: file {tuple(weights[key].shape)}, model {tuple(wanted[key].shape)}"
        for key in sorted(wanted.keys() & weights.keys())
        if weights[key].shape != wanted[key].shape
    ]
    if problems:
        hint = f"; it looks like {found.name!r}" if found != model.config else ""
        raise ValueError(f"{path.name} does not fit {model.config.name!r}{hint}:\n  " + "\n  ".join(problems))
