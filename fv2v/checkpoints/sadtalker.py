# SPDX-License-Identifier: Apache-2.0
"""SadTalker: the renderer, `SadTalker_V0.0.2_256.safetensors` or `_512`, and its mapping network.

The renderer's file is flat: `kp_extractor.` and `generator.` run here; `audio2exp.`, `audio2pose.`,
`face_3drecon.` and what else it holds are carried along, as is what the mapping's file holds beside it. The
two are known by what they hold, and only files that do not tell by their names. The two sizes have the same
tensors: only a preset or the file's name tells them apart. The first versions' renderer, for 256 pixels, is
`facevid2vid_00189-model.pth.tar`, a dict of networks, whose `kp_detector` is `kp_extractor` here.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from fv2v.checkpoints.renames import (
    APPEARANCE,
    CANONICAL,
    WARPING,
    Networks,
    Renames,
    heads,
    spade_decoder,
    to_ours,
)
from fv2v.checkpoints.storage import (
    Checkpoint,
    contents,
    is_state_dict,
    nested,
    outline,
    read_file,
    state_dicts,
    weights_in,
    write_safetensors,
    write_torch,
)
from fv2v.config import ModelConfig
from fv2v.presets import SADTALKER_256, SADTALKER_512

NAME = "SadTalker"
SUFFIX = ""  # `write` writes a folder
MAPPINGS = {70: "mapping_00229-model.pth.tar", 73: "mapping_00109-model.pth.tar"}  # by coefficients
EXAMPLE = f"SadTalker_V0.0.2_256.safetensors, {MAPPINGS[70]}"
MAPPING_NEEDED = (
    f"give {MAPPINGS[70]} (70 coefficients) or {MAPPINGS[73]} (73) with it: both paths (--weights twice), or "
    "the folder that holds the two"
)

_RENDERER = ("kp_extractor", "generator")
_OLD, _OLD_NAMES = "first renderer", ("kp_detector", "generator")
_FLAT = "renderer"  # what `others` calls the renderer's tensors that do not run
_MAPPING: Renames = [("first.0", "head.trunk.first"), ("encoder{i}.1", "head.trunk.residual.{i}"), *heads()]


def renames(config: ModelConfig) -> dict[str, Renames]:
    """The tables of each network."""
    return {
        "kp_extractor": CANONICAL,
        "generator": APPEARANCE + WARPING + spade_decoder("decoder.", "conv_img"),
        "mapping": _MAPPING,
    }


def configs() -> list[ModelConfig]:
    """What its files may be."""
    return [_config(size, inputs) for size in (256, 512) for inputs in MAPPINGS]


def find(folder: Path, config: ModelConfig | None) -> list[Path]:
    """Renderer and mapping in a folder, those of `config` where there are several; none if it is another's.

    Raises:
        ValueError: one of the two is missing, or nothing tells which of several is meant.
    """
    renderers, mappings = _renderers_and_mappings(folder)
    if not renderers and not mappings:
        return []
    if not renderers:
        raise ValueError(
            f"{folder} holds SadTalker's mapping network without SadTalker_V0.0.2_256.safetensors"
        )
    if not mappings:
        raise ValueError(f"{folder} holds SadTalker's renderer without its mapping network; {MAPPING_NEEDED}")
    wanted = config.head.inputs if config is not None else 70
    size = str(config.image_size) if config else ""
    return [
        _chosen(
            renderers,
            [path for path in renderers if size and size in path.name],
            "say which by the preset's name",
        ),
        _chosen(
            mappings,
            [path for path in mappings if _inputs(path) == wanted],
            "give the renderer's file and the mapping's instead",
        ),
    ]


def holds_both(folder: Path) -> bool:
    """Whether a renderer and a mapping network are in a folder."""
    return all(_renderers_and_mappings(folder))


def _renderers_and_mappings(folder: Path) -> tuple[list[Path], list[Path]]:
    """The first versions' renderer counts beside a mapping network, and where there is no other."""
    parts = {path: part(path) for path in weights_in(folder)}
    renderers, mappings, old = ([p for p in parts if parts[p] == kind] for kind in (_FLAT, "mapping", _OLD))
    return renderers or (old if mappings else []), mappings


def part(path: Path) -> str | None:
    """Which of the two a file is, "renderer", "first renderer" or "mapping"; None for another."""
    names = {name.partition(".")[0] for name in outline(path)}
    if names.issuperset(_RENDERER):
        return _FLAT
    if names.issuperset(_OLD_NAMES):
        return _OLD
    if "mapping" in names:
        return "mapping"
    by_name = {"SadTalker*.safetensors": _FLAT, "mapping*.pth.tar": "mapping"}
    return next((kind for pattern, kind in by_name.items() if path.match(pattern)), None)


def is_pair(files: Sequence[Path]) -> bool:
    """Whether two files are renderer and mapping, in any order."""
    return len(files) == 2 and sorted(map(_is_renderer, files)) == [False, True]


def read(files: Sequence[Path], config: ModelConfig | None) -> Checkpoint:
    """Renderer and mapping, in any order. ValueError for files that are not those, or of unknown size."""
    renderer, mapping = sorted(files, key=lambda path: not _is_renderer(path))
    is_old = part(renderer) == _OLD
    size = config.image_size if config else 256 if is_old else _size_in_name(renderer)
    flat = _flattened(read_file(renderer)) if is_old else read_file(renderer)
    if not is_state_dict(flat):  # of another layout, in which the error below will say so
        flat = {}
    networks = {
        name: {key.removeprefix(f"{name}."): flat[key] for key in flat if key.startswith(f"{name}.")}
        for name in _RENDERER
    }
    if not all(networks.values()):
        raise ValueError(
            f"{renderer.name} is not laid out as SadTalker's renderer: expected tensors of "
            f"{' and '.join(_RENDERER)}; the file holds {contents(flat)}"
        )
    stored = read_file(mapping)
    beside = nested(stored) if is_state_dict(stored) else state_dicts(stored)
    if "mapping" not in beside:
        raise ValueError(
            f"{mapping.name} is not laid out as SadTalker's mapping network: expected `mapping`; the file "
            f"holds {contents(stored)}"
        )
    networks["mapping"] = beside.pop("mapping")
    rest = {key: flat[key] for key in flat if not key.startswith(tuple(f"{name}." for name in _RENDERER))}
    first = networks["mapping"].get("first.0.weight")
    found = _config(size, 73 if first is not None and first.shape[1:2] == (73,) else 70)
    label = f"{renderer.name} with {mapping.name}"
    return Checkpoint(label, NAME, found, to_ours(networks, renames(found)), {_FLAT: rest, **beside})


def _flattened(stored: Any) -> dict[str, Tensor]:
    """The first versions' networks as the later file has them, without what only training needs."""
    networks = nested(stored) if is_state_dict(stored) else state_dicts(stored)
    names = {"kp_detector": _RENDERER[0], "generator": _RENDERER[1]}
    return {
        f"{names[network]}.{key}": tensor
        for network in networks.keys() & names.keys()
        for key, tensor in networks[network].items()
    }


def write(networks: Networks, others: Networks, config: ModelConfig, target: Path) -> None:
    """Both files into the folder `target`."""
    flat = {f"{name}.{key}": tensor for name in _RENDERER for key, tensor in networks[name].items()}
    beside = {name: network for name, network in others.items() if name != _FLAT}
    write_safetensors(
        flat | others.get(_FLAT, {}), target / f"SadTalker_V0.0.2_{config.image_size}.safetensors"
    )
    write_torch({"mapping": networks["mapping"], **beside}, target / MAPPINGS[config.head.inputs])


def meant(config: ModelConfig, found: ModelConfig) -> ModelConfig:
    """What is asked for, given what was found: SadTalker's presets are for either mapping network."""
    if config in (SADTALKER_256, SADTALKER_512) and found.head.inputs == 73:
        return _config(config.image_size, 73)
    return config


def _config(size: int, inputs: int) -> ModelConfig:
    config = SADTALKER_512 if size == 512 else SADTALKER_256
    return replace(config, head=replace(config.head, inputs=inputs))


def _size_in_name(renderer: Path) -> int:
    numbers = re.findall(r"(?<!\d)(?:256|512)(?!\d)", renderer.name)
    if len(numbers) != 1:
        raise ValueError(
            f"{renderer.name} does not tell whether it paints 256 or 512 px; say so by the preset's name, "
            f"{SADTALKER_256.name} or {SADTALKER_512.name}"
        )
    return int(numbers[0])


def _is_renderer(path: Path) -> bool:
    kind = part(path)
    return kind in (_FLAT, _OLD) if kind else path.suffix.lower() == ".safetensors"


def _inputs(mapping: Path) -> int | None:
    """How many coefficients it reads, by its shape, or else by its name."""
    names = outline(mapping)
    shape = names.get("mapping.first.0.weight") or (names.get("mapping") or {}).get("first.0.weight")
    if shape is not None and len(shape) > 1:
        return int(shape[1])
    return next((inputs for inputs, name in MAPPINGS.items() if name[:13] == mapping.name[:13]), None)


def _chosen(files: list[Path], fitting: list[Path], otherwise: str) -> Path:
    """The one there is, or the one that fits."""
    fitting = files if len(files) == 1 else fitting
    if len(fitting) != 1:
        names = ", ".join(path.name for path in files)
        raise ValueError(f"{files[0].parent} holds {names}: {otherwise}")
    return fitting[0]
