# SPDX-License-Identifier: Apache-2.0
"""The public releases' files, with the deterministic weights that their outputs were recorded with."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import parity
import torch
from places import DATA
from safetensors.torch import save_file

from fv2v import checkpoints
from fv2v.checkpoints import fomm, liveportrait, performrecast, sadtalker, zhanglonghao1992
from fv2v.checkpoints.renames import to_ours, to_release
from fv2v.config import ModelConfig
from fv2v.networks import FaceVid2Vid
from fv2v.presets import (
    FOMM_256,
    FOMM_256_MGIF,
    LIVEPORTRAIT,
    PERFORMRECAST,
    SADTALKER_256,
    VOX_256,
    VOX_256_JACOBIAN,
    VOX_256_SPADE,
)

Network = dict[str, torch.Tensor]
# of LivePortrait's release, and of PerformRecast's
FOUR = ("appearance_feature_extractor", "motion_extractor", "warping_module", "spade_generator")
# by release: the key list that is beside this file, and which of its entries is which network
RECORDED: dict[str, tuple[str, dict[str, str]]] = {
    "zlh": ("zlh", {name: name for name in ("generator", "kp_detector", "he_estimator")}),
    "zlh_jac": (
        "zlh",
        {
            "generator": "generator",
            "kp_detector": "kp_detector__estimate_jacobian_True",
            "he_estimator": "he_estimator",
        },
    ),
    "zlh_spade": ("zlh_spade", {name: name for name in ("generator", "kp_detector", "he_estimator")}),
    "sad": ("sadtalker", {name: name for name in ("generator", "kp_detector", "mapping")}),
    "sad_full": (
        "sadtalker",
        {"generator": "generator", "kp_detector": "kp_detector", "mapping": "mapping__still(full)"},
    ),
    "fomm": ("fomm", {name: name for name in ("generator", "kp_detector")}),
    "fomm_mgif": (
        "fomm",
        {"generator": "generator", "kp_detector": "kp_detector__single_jacobian_map_True"},
    ),
    "lp": (
        "liveportrait",
        {
            name: name
            for name in (
                *FOUR,
                "stitching_retargeting_module.stitching",
                "stitching_retargeting_module.lip",
                "stitching_retargeting_module.eye",
            )
        },
    ),
    "performrecast": ("performrecast", {name: name for name in FOUR}),
}

# what each loads as, and whose tables serve
CONFIGS = {
    "zlh": (VOX_256, zhanglonghao1992),
    "zlh_jac": (VOX_256_JACOBIAN, zhanglonghao1992),
    "zlh_spade": (VOX_256_SPADE, zhanglonghao1992),
    "sad": (SADTALKER_256, sadtalker),
    "sad_full": (replace(SADTALKER_256, head=replace(SADTALKER_256.head, inputs=73)), sadtalker),
    "fomm": (FOMM_256, fomm),
    "fomm_mgif": (FOMM_256_MGIF, fomm),
    "lp": (LIVEPORTRAIT, liveportrait),
    "performrecast": (PERFORMRECAST, performrecast),
}


@cache
def _key_list(name: str) -> dict[str, Any]:
    return json.loads((DATA / f"state_dict_{name}.json").read_text())


def entries(release: str) -> dict[str, dict[str, Any]]:
    """What is recorded of each network that runs: `keys` with shapes, `_n_params`, …"""
    file, networks = RECORDED[release]
    return {name: _key_list(file)[entry] for name, entry in networks.items()}


def key_shapes(release: str) -> dict[str, dict[str, tuple[int, ...]]]:
    """Every key of every network that runs, and its shape."""
    return {
        network: {key: tuple(facts["shape"]) for key, facts in entry["keys"].items()}
        for network, entry in entries(release).items()
    }


def anti_alias_kernel() -> np.ndarray:
    """The release's `down.weight`: σ = 1.5, 13 × 13, one a colour, from its formula."""
    i = np.arange(13) - 6.0
    kernel = np.exp(-(i[:, None] ** 2 + i**2) / (2 * 1.5**2))
    return np.repeat((kernel / kernel.sum()).astype(np.float32)[None, None], 3, axis=0)


def state_dicts(release: str) -> dict[str, Network]:
    """The networks that run, under the release's names."""
    family = {"zlh_jac": "zlh", "sad_full": "sad", "fomm_mgif": "fomm"}.get(release, release)
    networks = {}
    for network, shapes in key_shapes(release).items():
        filled = dict(parity.fill_network(family, network, shapes))
        if network == "kp_detector":
            filled["down.weight"] = anti_alias_kernel()
        if release.startswith("fomm") and network == "generator":
            filled["dense_motion_network.down.weight"] = anti_alias_kernel()
        # in the order of the release's file
        networks[network] = {key: torch.from_numpy(np.array(filled[key])) for key in shapes}
    return networks


def filled(config: ModelConfig) -> FaceVid2Vid:
    """A model of ours, whose sizes no release has, filled as if it were zhanglonghao1992's."""
    model, tables = checkpoints.random(config), zhanglonghao1992.renames(config)
    networks = to_release(model.state_dict(), tables)
    for network, tensors in networks.items():
        values = parity.fill_network("zlh", network, {key: tuple(t.shape) for key, t in tensors.items()})
        tensors |= {key: torch.from_numpy(np.array(value)) for key, value in values.items()}
    model.load_state_dict(to_ours(networks, tables))
    return model


def as_stored(release: str, networks: dict[str, Network]) -> dict[str, Network]:
    """The networks of `RECORDED` as the release's files call them and their keys."""
    parts = {"stitching": "shoulder", "lip": "mouth", "eye": "eye"}
    stored = {}
    for network, tensors in networks.items():
        module, _, part = network.partition(".")
        if part:
            stored[f"retarget_{parts[part]}"] = {f"module.{key}": t for key, t in tensors.items()}
        else:
            sad = release.startswith("sad") and network == "kp_detector"
            stored["kp_extractor" if sad else module] = tensors
    return stored


def hollow_state_dicts(release: str) -> dict[str, Network]:
    """As `state_dicts`, of zeros that take no room, in memory or in a file: for tests of names and shapes."""
    return {
        network: {
            key: torch.zeros((), dtype=getattr(torch, facts["dtype"])).expand(facts["shape"])
            for key, facts in entry["keys"].items()
        }
        for network, entry in entries(release).items()
    }


def in_our_shapes(layout: Any, weights: Network) -> Network:
    """Weights under our names; First Order Motion's kernels are flat in its files."""
    return fomm.in_volumes(weights) if layout is fomm else weights


def training_left() -> dict[str, Any]:
    """What a release's training leaves in a file beside the networks that run."""
    steps = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 2e-4}]}
    discriminator = {
        "discs.1.conv.weight_orig": torch.randn(1, 4, 1, 1),
        "discs.1.norm.num_batches_tracked": torch.tensor(7),
    }
    return {"discriminator": discriminator, "optimizer_generator": steps, "epoch": 189}


def write_release(release: str, folder: Path) -> list[Path]:
    """The release's files in `folder`, laid out as people have them on disk. Returns those to load."""
    networks = as_stored(release, state_dicts(release))
    if release.startswith("zlh"):
        file = folder / "00000189-checkpoint.pth.tar"
        torch.save(networks | training_left(), file)
        return [file]
    if release.startswith("fomm"):
        file = folder / "vox-adv-cpk.pth.tar"
        # as torch before 1.6 wrote it
        torch.save(networks | training_left(), file, _use_new_zipfile_serialization=False)
        return [file]
    if release.startswith("sad"):
        mapping = folder / f"mapping_{'00109' if release == 'sad_full' else '00229'}-model.pth.tar"
        torch.save({"mapping": networks.pop("mapping"), **training_left()}, mapping)
        # what speaks and reads pictures: no part of the renderer
        others = {f"{name}.weight": torch.rand(2, 3) for name in ("audio2exp", "audio2pose", "face_3drecon")}
        flat = {
            f"{name}.{key}": tensor for name, network in networks.items() for key, tensor in network.items()
        }
        file = folder / "SadTalker_V0.0.2_256.safetensors"
        save_file(flat | others, file)
        return [file, mapping]
    if release == "performrecast":
        for network, tensors in networks.items():
            torch.save(tensors, folder / f"{network}.pth")
        return [folder]
    base, retargeting = folder / "base_models", folder / "retargeting_models"
    base.mkdir()
    retargeting.mkdir()
    parts = {name: networks.pop(name) for name in list(networks) if name.startswith("retarget_")}
    torch.save(parts | training_left(), retargeting / "stitching_retargeting_module.pth")
    for network, tensors in networks.items():
        torch.save(tensors, base / f"{network}.pth")
    return [folder]
