# SPDX-License-Identifier: Apache-2.0
"""PerformRecast's release: four `.pth` files, one state dict each, that are called as LivePortrait's are.

So what they hold tells: F's transformer, M's keys without LivePortrait's prefix, how many keypoints W moves.
G's file is alike in both releases.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fv2v.checkpoints.renames import WARPING, Networks, Renames, motion_extractor, spade_decoder, to_ours
from fv2v.checkpoints.storage import (
    Checkpoint,
    contents,
    is_state_dict,
    outline,
    read_file,
    weights_in,
    write_torch,
)
from fv2v.config import ModelConfig
from fv2v.presets import PERFORMRECAST

NAME = "PerformRecast"
SUFFIX = ""  # `write` writes a folder

_APPEARANCE: Renames = [  # F
    *(
        (f"dinov2_img_encoder.model.{theirs}", f"appearance.transformer.{ours}")
        for theirs, ours in (
            ("cls_token", "class_token"),
            ("pos_embed", "positions"),
            ("patch_embed.proj", "patches"),
            ("norm", "norm"),
            *(
                (f"blocks.{{i}}.{theirs}", f"blocks.{{i}}.{ours}")
                for theirs, ours in (
                    ("norm1", "norm1"),
                    ("attn.qkv", "qkv"),
                    ("attn.proj", "join"),
                    ("norm2", "norm2"),
                    ("mlp.fc1", "widen"),
                    ("mlp.fc2", "narrow"),
                )
            ),
        )
    ),
    ("t_conv", "appearance.enlarge"),
    ("conv", "appearance.lift"),
    ("resblocks_3d.3dr{i}", "appearance.residual.{i}"),
]
_TABLES: dict[str, Renames] = {
    "appearance_feature_extractor": _APPEARANCE,
    "motion_extractor": motion_extractor(),
    "warping_module": WARPING,
    "spade_generator": spade_decoder("", "conv_img.0"),
}
FILES = tuple(f"{network}.pth" for network in _TABLES)
_SIGNS = {  # how a key begins that no other of the four has, by file
    "appearance_feature_extractor": "dinov2_img_encoder.",
    "motion_extractor": "fc_kp.",
    "warping_module": "dense_motion_network.",
    "spade_generator": "G_middle_0.",
}
_MASK = "dense_motion_network.mask.weight"


def renames(config: ModelConfig) -> dict[str, Renames]:
    """The tables of each network."""
    return _TABLES


def configs() -> list[ModelConfig]:
    """What its files may be."""
    return [PERFORMRECAST]


def tells(names: Mapping[str, Any]) -> bool:
    """Whether what `outline` says of a file makes it one of these, and not of LivePortrait's."""
    if shape := names.get(_MASK):
        return bool(shape[0] == PERFORMRECAST.flows)
    signs = (_SIGNS["appearance_feature_extractor"], _SIGNS["motion_extractor"])
    return any(name.startswith(signs) for name in names)


def part(path: Path) -> str | None:
    """Which of the four a file is, as the release calls it, without `.pth`; None for another."""
    names = outline(path)
    if any(name.startswith(_SIGNS["spade_generator"]) for name in names):
        return "spade_generator"
    if not tells(names):
        return None
    return next(network for network, sign in _SIGNS.items() if any(name.startswith(sign) for name in names))


def holds(files: Sequence[Path]) -> bool:
    """Whether one of the files can be no other release's."""
    return any(tells(outline(path)) for path in files)


def find(folder: Path) -> list[Path]:
    """Those of its files that are in a folder; none where they may all be LivePortrait's."""
    parts = {path: part(path) for path in weights_in(folder)}
    found = [path for network in _TABLES for path in parts if parts[path] == network]
    return found if holds(found) else []


def check(files: Sequence[Path]) -> None:
    """ValueError unless the four are there, once each, and nothing else."""
    parts = [part(path) for path in files]
    if missing := [f"{network}.pth" for network in _TABLES if network not in parts]:
        raise ValueError(
            f"{files[0].parent}: PerformRecast's weights are four files; missing: {', '.join(missing)}. Give "
            "the folder that holds them all"
        )
    if len(parts) != len(FILES):
        raise ValueError(f"expected PerformRecast's four files, once each, got {', '.join(map(str, files))}")


def read(files: Sequence[Path]) -> Checkpoint:
    """The four files, in any order. ValueError for one that is not laid out as the release's."""
    networks: Networks = {}
    for path in files:
        stored, network = read_file(path), part(path)
        assert network is not None  # by `check`
        if not is_state_dict(stored):
            raise ValueError(
                f"{path.name} is not laid out as PerformRecast's: expected tensors; the file holds "
                f"{contents(stored)}"
            )
        networks[network] = stored
    return Checkpoint("PerformRecast's release", NAME, PERFORMRECAST, to_ours(networks, _TABLES), {})


def write(networks: Networks, others: Networks, config: ModelConfig, target: Path) -> None:
    """The four files into the folder `target`."""
    for network, tensors in networks.items():
        write_torch(tensors, target / f"{network}.pth")
