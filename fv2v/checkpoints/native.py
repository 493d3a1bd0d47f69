# SPDX-License-Identifier: Apache-2.0
"""Our own `.safetensors`: a model with its config, and what its release's files held beside it.

The config and, if there is one, the release's name are in the metadata. Tensors that fv2v does not run are
named `other/NETWORK/KEY`.
"""

import json
from pathlib import Path

from fv2v.checkpoints import sadtalker
from fv2v.checkpoints.renames import Networks
from fv2v.checkpoints.storage import (
    Checkpoint,
    is_safetensors,
    open_safetensors,
    tensors_of,
    write_safetensors,
)
from fv2v.config import ModelConfig
from fv2v.io.limits import shown
from fv2v.io.tensor_file import TensorFile
from fv2v.presets import completed

SUFFIX = ".safetensors"
_OTHER = "other"
_FORMAT = "fv2v"


def is_ours(path: Path) -> bool:
    """Whether fv2v wrote a file, whatever its name."""
    if not is_safetensors(path):
        return False
    try:
        with open_safetensors(path) as file:
            return file.metadata.get("format") == _FORMAT
    except ValueError:
        return False


def release(path: Path) -> str | None:
    """Whose weights a file that fv2v wrote was made from; None: they were trained here."""
    with open_safetensors(path) as file:
        return file.metadata.get("release")


def preset_of(path: Path) -> str:
    """The name of its preset. ValueError as `read`."""
    with open_safetensors(path) as file:
        return _config(file, path, None).name


def read(path: Path, asked: ModelConfig | None) -> Checkpoint:
    """The checkpoint. ValueError for a file not of fv2v, of another version, or of another config."""
    with open_safetensors(path) as file:
        config = _config(file, path, asked)
        stored = tensors_of(file, path)
    others: Networks = {}
    for name in [name for name in stored if name.startswith(f"{_OTHER}/")]:
        network, _, key = name.removeprefix(f"{_OTHER}/").partition("/")
        others.setdefault(network, {})[key] = stored.pop(name)
    return Checkpoint(path.name, file.metadata.get("release"), config, stored, others)


def _config(file: TensorFile, path: Path, asked: ModelConfig | None) -> ModelConfig:
    if file.metadata.get("format") != _FORMAT:
        if any(key.startswith("kp_extractor.") for key in file.shapes):
            raise ValueError(
                f"{path.name} is SadTalker's renderer, without the mapping network that drives it; "
                f"{sadtalker.MAPPING_NEEDED}"
            )
        raise ValueError(
            f"{path.name} was not written by fv2v: it carries no config. Convert the release's own file with "
            "`fv2v convert`"
        )
    try:
        config = ModelConfig.from_dict(completed(json.loads(file.metadata.get("config", "null"))))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path.name} carries a config that this version does not know: {shown(error)}"
        ) from error
    if asked and sadtalker.meant(asked, config) != config:
        raise ValueError(
            f"{path.name} holds a {config.name!r} model with its own settings, which are not those of the "
            f"{asked.name!r} asked for; leave the preset out to take the file's"
        )
    return config


def write(checkpoint: Checkpoint, path: Path) -> None:
    """All of it."""
    others = {
        f"{_OTHER}/{network}/{key}": tensor
        for network, tensors in checkpoint.others.items()
        for key, tensor in tensors.items()
    }
    metadata = {"format": _FORMAT, "config": json.dumps(checkpoint.config.as_dict())}
    if checkpoint.release:
        metadata["release"] = checkpoint.release
    write_safetensors(checkpoint.weights | others, path, metadata)
