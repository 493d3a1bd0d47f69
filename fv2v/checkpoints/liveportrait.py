# SPDX-License-Identifier: Apache-2.0
"""LivePortrait's release: four `.pth` files that are one state dict each, and a fifth that is three.

Files are known by what they hold, and only those that do not tell by their names; either format of a file
will do. Keys in the fifth begin with `module.`; networks that it holds beside its three are carried along.
ComfyUI's conversions have five .safetensors, whose fifth is flat: `retarget_eye_module.mlp.0.weight`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from fv2v.checkpoints import performrecast
from fv2v.checkpoints.renames import (
    APPEARANCE,
    WARPING,
    Networks,
    Renames,
    motion_extractor,
    spade_decoder,
    to_ours,
)
from fv2v.checkpoints.storage import (
    Checkpoint,
    contents,
    is_state_dict,
    outline,
    read_file,
    state_dicts,
    weights_in,
    write_torch,
)
from fv2v.config import ModelConfig
from fv2v.presets import LIVEPORTRAIT

NAME = "LivePortrait"
SUFFIX = ""  # `write` writes a folder

_BASE: dict[str, Renames] = {
    "appearance_feature_extractor": APPEARANCE,
    "motion_extractor": motion_extractor("detector."),
    "warping_module": WARPING,
    "spade_generator": spade_decoder("", "conv_img.0"),
}
_RETARGETING: dict[str, Renames] = {
    "retarget_shoulder": [("module.mlp.{i}", "retargeting.stitching.{i}")],
    "retarget_mouth": [("module.mlp.{i}", "retargeting.lips.{i}")],
    "retarget_eye": [("module.mlp.{i}", "retargeting.eyes.{i}")],
}
_STITCHING = "stitching_retargeting_module"
FILES = {  # and the folder of each in the release
    **{f"{network}.pth": "base_models" for network in _BASE},
    f"{_STITCHING}.pth": "retargeting_models",
}
_ABOVE = "liveportrait"  # the folder of all, in `pretrained_weights` and in ComfyUI's `models`
_SIGNS = {  # how a key begins that no other of the five has, by file
    "appearance_feature_extractor": "resblocks_3d.",
    "motion_extractor": "detector.fc_kp.",
    "warping_module": "dense_motion_network.",
    "spade_generator": "G_middle_0.",
    _STITCHING: "retarget_shoulder",
}


def renames(config: ModelConfig) -> dict[str, Renames]:
    """The tables of each network."""
    return _BASE | _RETARGETING


def configs() -> list[ModelConfig]:
    """What its files may be."""
    return [LIVEPORTRAIT]


def part(path: Path) -> str | None:
    """Which of the five a file is, as the release calls it, without `.pth`; None for another."""
    names = outline(path)
    if performrecast.tells(names):
        return None
    for network, sign in _SIGNS.items():
        if any(name.startswith(sign) for name in names):
            return network
    return path.stem if path.stem in _SIGNS else None


def find(folder: Path) -> list[Path]:
    """Those of its files that are in a folder, in the release's folders below it, or in `liveportrait`."""
    for top in (folder, folder / _ABOVE):
        places = (top, *(top / below for below in dict.fromkeys(FILES.values())))
        parts = {path: part(path) for place in places for path in weights_in(place)}
        found = [path for network in _SIGNS for path in parts if parts[path] == network]
        if found:
            return found
    return []


def check(files: Sequence[Path]) -> None:
    """ValueError unless the five are there, once each, and nothing else."""
    parts = [part(path) for path in files]
    if missing := [f"{network}.pth" for network in _SIGNS if network not in parts]:
        raise ValueError(
            f"{files[0].parent}: LivePortrait's weights are five files; missing: {', '.join(missing)}. Give "
            f"the folder that holds them all, directly, in base_models and retargeting_models, or in {_ABOVE}"
        )
    if len(parts) != len(FILES):
        raise ValueError(f"expected LivePortrait's five files, once each, got {', '.join(map(str, files))}")


def read(files: Sequence[Path]) -> Checkpoint:
    """The five files, in any order. ValueError for one that is not laid out as the release's."""
    networks: Networks = {}
    others: Networks = {}
    for path in files:
        stored, network = read_file(path), part(path)
        assert network is not None  # by `check`
        if network == _STITCHING:
            others = _grouped(stored) if is_state_dict(stored) else state_dicts(stored)
            fits = all(name in others for name in _RETARGETING)
            networks |= {name: _wrapped(others.pop(name)) for name in _RETARGETING if name in others}
        else:
            fits = is_state_dict(stored)
            networks[network] = stored
        if not fits:
            raise ValueError(
                f"{path.name} is not laid out as LivePortrait's: expected "
                f"{', '.join(_RETARGETING) if network == _STITCHING else 'tensors'}; the file holds "
                f"{contents(stored)}"
            )
    return Checkpoint(
        "LivePortrait's release", NAME, LIVEPORTRAIT, to_ours(networks, renames(LIVEPORTRAIT)), others
    )


def _grouped(flat: Mapping[str, Tensor]) -> Networks:
    """The three networks of the fifth file where it is flat."""
    networks: Networks = {}
    for key, tensor in flat.items():
        if match := re.match(r"(retarget_[a-z]+)[._](?:module\.)?(.+)", key):
            networks.setdefault(match[1], {})[match[2]] = tensor
    return networks


def _wrapped(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With keys that begin with `module.`, as the release's do; its own loader takes those without, too."""
    return {f"module.{key.removeprefix('module.')}": tensor for key, tensor in network.items()}


def write(networks: Networks, others: Networks, config: ModelConfig, target: Path) -> None:
    """The five files into the folder `target`, in the release's folders."""
    retargeting = {name: networks[name] for name in _RETARGETING} | others
    for name, below in FILES.items():
        (target / below).mkdir(exist_ok=True)
        network = name.removesuffix(".pth")
        write_torch(retargeting if network == _STITCHING else networks[network], target / below / name)
