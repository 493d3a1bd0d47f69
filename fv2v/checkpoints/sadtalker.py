"""SadTalker: the renderer, `SadTalker_V0.0.2_256.safetensors` or `_512`, and its mapping network.

The renderer's file is flat: `kp_extractor.` and `generator.` run here; `audio2exp.`, `audio2pose.`,
`face_3drecon.` and what else it holds are carried along, as is what the mapping's file holds beside it. The
two sizes have the same tensors: only a preset or the file's name tells them apart.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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
    read_safetensors,
    read_torch,
    state_dicts,
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
    renderers, mappings = (
        sorted(folder.glob("SadTalker*.safetensors")),
        sorted(folder.glob("mapping*.pth.tar")),
    )
    if not renderers and not mappings:
        return []
    if not renderers:
        raise ValueError(
            f"{folder} holds SadTalker's mapping network without SadTalker_V0.0.2_256.safetensors"
        )
    if not mappings:
        raise ValueError(f"{folder} holds SadTalker's renderer without its mapping network; {MAPPING_NEEDED}")
    full = config is not None and config.head.inputs == 73
    return [
        _chosen(renderers, str(config.image_size) if config else "", "say which by the preset's name"),
        _chosen(mappings, "00109" if full else "00229", "give the renderer's file and the mapping's instead"),
    ]


def read(files: Sequence[Path], config: ModelConfig | None) -> Checkpoint:
    """Renderer and mapping, in any order. ValueError for files that are not those, or of unknown size."""
    renderer, mapping = sorted(files, key=lambda path: path.suffix.lower() != ".safetensors")
    size = config.image_size if config else _size_in_name(renderer)
    _, flat = read_safetensors(renderer)
    networks = {
        name: {key.removeprefix(f"{name}."): flat[key] for key in flat if key.startswith(f"{name}.")}
        for name in _RENDERER
    }
    if not all(networks.values()):
        raise ValueError(
            f"{renderer.name} is not laid out as SadTalker's renderer: expected tensors of "
            f"{' and '.join(_RENDERER)}; the file holds {contents(flat)}"
        )
    stored = read_torch(mapping)
    beside = state_dicts(stored)
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


def _chosen(files: list[Path], number: str, otherwise: str) -> Path:
    """The one there is, or the one with that number in its name."""
    fitting = files if len(files) == 1 else [path for path in files if number and number in path.name]
    if len(fitting) != 1:
        names = ", ".join(path.name for path in files)
        raise ValueError(f"{files[0].parent} holds {names}: {otherwise}")
    return fitting[0]
