# SPDX-License-Identifier: Apache-2.0
"""zhanglonghao1992's release, `NNNNNNNN-checkpoint.pth.tar`, with either of its generators.

The file is a dict of state dicts. `discriminator` matters to training only; it may be absent, and is carried
along. The optimizers and `epoch` are dropped.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

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
    networks_of,
    outline,
    write_torch,
)
from fv2v.config import ModelConfig
from fv2v.presets import VOX_256, VOX_256_JACOBIAN, VOX_256_SPADE

NAME = "zhanglonghao1992"
SUFFIX = ".pth.tar"  # of what `write` writes
NETWORKS = ("generator", "kp_detector", "he_estimator")

_ORIGINAL: Renames = [  # G's first decoder
    ("resblocks_2d.2dr{i}", "generator.decoder.residual.{i}"),
    ("up_blocks.{i}", "generator.decoder.up.{i}"),
    ("final", "generator.decoder.final"),
]
_HE_ESTIMATOR: Renames = [  # H and Δ
    ("conv1", "head.trunk.stem.0"),
    ("norm1", "head.trunk.stem.1"),
    *((f"{part}{i + 2}", f"head.trunk.stages.{i}.{part}") for i in range(4) for part in ("conv", "norm")),
    *(
        (f"block{2 * i}.{theirs}", f"head.trunk.stages.{i}.halve.{ours}")
        for i in (1, 2, 3)
        for theirs, ours in (
            *((f"{part}{n}", f"{part}{n}") for part in ("conv", "norm") for n in (1, 2, 3)),
            ("skip", "skip.0"),
            ("norm4", "skip.1"),
        )
    ),
    *((f"block{2 * i + 1}.b{2 * i + 1}_{{j}}", f"head.trunk.stages.{i}.blocks.{{j}}") for i in range(4)),
    # The release feeds fc_roll to yaw and fc_yaw to roll; the weights learned it that way.
    *heads(yaw="fc_roll", roll="fc_yaw"),
]


def renames(config: ModelConfig) -> dict[str, Renames]:
    """The tables of each network."""
    decoder = spade_decoder("decoder.", "conv_img") if config.generator.decoder == "spade" else _ORIGINAL
    return {
        "generator": APPEARANCE + WARPING + decoder,  # F, M and G
        "kp_detector": CANONICAL,
        "he_estimator": _HE_ESTIMATOR,
    }


def configs() -> list[ModelConfig]:
    """What its files may be."""
    return [_config(spade, jacobian) for spade in (False, True) for jacobian in (False, True)]


def holds(path: Path) -> bool:
    """Whether a file has its networks, of a .safetensors flat."""
    return {name.partition(".")[0] for name in outline(path)} >= set(NETWORKS)


def read(path: Path, stored: Any) -> Checkpoint:
    """The checkpoint in what was read of a file. ValueError for one that is none."""
    networks = networks_of(stored)
    if not all(name in networks for name in NETWORKS):
        hint = "; with SadTalker's mapping network give its renderer" if "mapping" in networks else ""
        raise ValueError(
            f"{path.name} is not laid out as a release that fv2v reads: expected the networks "
            f"{', '.join(NETWORKS)}; the file holds {contents(stored)}{hint}"
        )
    config = _config(
        "decoder.fc.weight" in networks["generator"], "jacobian.weight" in networks["kp_detector"]
    )
    others = {name: network for name, network in networks.items() if name not in NETWORKS}
    return Checkpoint(path.name, NAME, config, to_ours(networks, renames(config)), others)


def write(networks: Networks, others: Networks, config: ModelConfig, target: Path) -> None:
    """The release's file, without what only a training that goes on needs."""
    write_torch(networks | others, target)


def _config(spade: bool, jacobian: bool) -> ModelConfig:
    config = VOX_256_SPADE if spade else VOX_256
    if jacobian:
        config = replace(config, name=f"{config.name}-jacobian", canonical=VOX_256_JACOBIAN.canonical)
    return config
