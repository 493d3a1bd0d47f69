# SPDX-License-Identifier: Apache-2.0
"""First Order Motion's release, `vox-cpk.pth.tar`, `vox-adv-cpk.pth.tar` and those of its other data sets.

The file is a dict of state dicts, as zhanglonghao1992's, which descends from it, but without a head:
`generator` and `kp_detector` run. `discriminator` matters to training only; it may be absent, and is carried
along. The optimizers and `epoch` are dropped. Its 2D convolutions of what is a volume of depth 1 here are
stored without that dimension.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from fv2v.checkpoints.renames import WARPING, Networks, Renames, to_ours
from fv2v.checkpoints.storage import Checkpoint, networks_of, outline, read_torch, write_torch
from fv2v.config import ModelConfig
from fv2v.presets import FOMM_256, FOMM_256_MGIF

NAME = "first-order-model"
SUFFIX = ".pth.tar"
NETWORKS = ("generator", "kp_detector")

_GENERATOR: Renames = [  # F, M and G
    ("first", "appearance.first"),
    ("down_blocks.{i}", "appearance.down.{i}"),
    ("dense_motion_network.down", "dense_motion.reduce"),
    *(
        pair
        for pair in WARPING
        if pair[0].startswith(("dense_motion_network.mask", "dense_motion_network.occlusion"))
        or pair[0].endswith("_blocks.{i}")
    ),
    ("bottleneck.r{i}", "generator.decoder.residual.{i}"),
    ("up_blocks.{i}", "generator.decoder.up.{i}"),
    ("final", "generator.decoder.final"),
]
_KP_DETECTOR: Renames = [  # L
    ("down", "canonical.reduce"),
    ("predictor.encoder.down_blocks.{i}", "canonical.hourglass.down.{i}"),
    ("predictor.decoder.up_blocks.{i}", "canonical.hourglass.up.{i}"),
    ("kp", "canonical.heatmap"),
    ("jacobian", "canonical.jacobian"),
]
_IN_VOLUMES = tuple(  # where convolutions have a depth
    f"{place}."
    for place in (
        "dense_motion.hourglass",
        "dense_motion.mask",
        "canonical.hourglass",
        "canonical.heatmap",
        "canonical.jacobian",
    )
)


def renames(config: ModelConfig) -> dict[str, Renames]:
    """The tables of each network."""
    return {"generator": _GENERATOR, "kp_detector": _KP_DETECTOR}


def configs() -> list[ModelConfig]:
    """What its files may be."""
    return [FOMM_256, FOMM_256_MGIF]


def fits(networks: Networks) -> bool:
    """Whether these are its networks, and not zhanglonghao1992's."""
    return (
        networks.keys() >= set(NETWORKS)
        and "he_estimator" not in networks
        and _is_ours(networks["generator"])
    )


def holds(path: Path) -> bool:
    """Whether a file has its networks, of a .safetensors flat.

    Torch before 1.6 wrote what can be read as a whole only.
    """
    names: Mapping[str, object] = outline(path)
    if not names and path.name.lower().endswith(SUFFIX):
        try:
            return fits(networks_of(read_torch(path)))
        except ValueError:
            return False
    if all(name in names for name in NETWORKS):
        inside = names["generator"]
        return "he_estimator" not in names and isinstance(inside, Mapping) and _is_ours(inside)
    flat = {name.removeprefix("generator."): None for name in names if name.startswith("generator.")}
    return _is_ours(flat) and any(name.startswith("kp_detector.") for name in names)


def read(path: Path, networks: Networks) -> Checkpoint:
    """The checkpoint in what was read of a file."""
    config = _config(networks["kp_detector"])
    weights = in_volumes(to_ours(networks, renames(config)))
    others = {name: network for name, network in networks.items() if name not in NETWORKS}
    return Checkpoint(path.name, NAME, config, weights, others)


def write(networks: Networks, others: Networks, config: ModelConfig, target: Path) -> None:
    """The release's file, without what only a training that goes on needs."""
    write_torch({name: _flat(network) for name, network in networks.items()} | others, target)


def in_volumes(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The release's weights under our names, with the depth of 1 that kernels have here."""
    return {
        key: tensor.unsqueeze(2) if tensor.dim() == 4 and key.startswith(_IN_VOLUMES) else tensor
        for key, tensor in weights.items()
    }


def _flat(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor.squeeze(2) if tensor.dim() == 5 else tensor for key, tensor in network.items()}


def _is_ours(generator: Mapping[str, object]) -> bool:
    """By the names in a generator: of no other release they begin so."""
    return "first.conv.weight" in generator and "bottleneck.r0.conv1.weight" in generator


def _config(kp_detector: Mapping[str, Tensor]) -> ModelConfig:
    """Its keypoints and Jacobians as the heads have them."""
    heads = {
        name: len(head)
        for name in ("kp", "jacobian")
        if (head := kp_detector.get(f"{name}.weight")) is not None
    }
    keypoints, maps = heads.get("kp", FOMM_256.keypoints), heads.get("jacobian", 0)
    config = FOMM_256_MGIF if maps == 4 and keypoints > 1 else FOMM_256
    if not maps and config.canonical:
        canonical = replace(config.canonical, jacobian=False)
        config = replace(config, name=f"{config.name}-translation", canonical=canonical)
    if keypoints != config.keypoints:
        config = replace(config, name=f"{config.name}-k{keypoints}", keypoints=keypoints)
    return config
