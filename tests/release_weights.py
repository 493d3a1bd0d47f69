"""The public releases' files, with the deterministic weights that their outputs were recorded with."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import parity
import torch
from safetensors.torch import save_file

DATA = Path(__file__).parent / "data"
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
    "lp": (
        "liveportrait",
        {
            name: name
            for name in (
                "appearance_feature_extractor",
                "motion_extractor",
                "warping_module",
                "spade_generator",
                "stitching_retargeting_module.stitching",
                "stitching_retargeting_module.lip",
                "stitching_retargeting_module.eye",
            )
        },
    ),
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


def state_dicts(release: str) -> dict[str, dict[str, torch.Tensor]]:
    """The networks that run, under the release's names."""
    family = "zlh" if release == "zlh_jac" else "sad" if release == "sad_full" else release
    networks = {}
    for network, shapes in key_shapes(release).items():
        filled = dict(parity.fill_network(family, network, shapes))
        if network == "kp_detector":
            filled["down.weight"] = anti_alias_kernel()
        # in the order of the release's file
        networks[network] = {key: torch.from_numpy(np.array(filled[key])) for key in shapes}
    return networks


def write_release(release: str, folder: Path) -> list[Path]:
    """The release's files in `folder`, laid out as people have them on disk. Returns those to load."""
    networks = state_dicts(release)
    if release.startswith("zlh"):
        file = folder / "00000189-checkpoint.pth.tar"
        torch.save({**networks, "epoch": 189}, file)
        return [file]
    if release.startswith("sad"):
        renderer = {
            f"{prefix}.{key}": tensor
            for prefix, network in (("kp_extractor", "kp_detector"), ("generator", "generator"))
            for key, tensor in networks[network].items()
        }
        # what speaks and reads pictures: no part of the renderer
        others = {
            f"{prefix}.weight": torch.ones(2, 3) for prefix in ("audio2exp", "audio2pose", "face_3drecon")
        }
        file = folder / "SadTalker_V0.0.2_256.safetensors"
        save_file(renderer | others, file)
        number = "00109" if release == "sad_full" else "00229"
        mapping = folder / f"mapping_{number}-model.pth.tar"
        torch.save({"mapping": networks["mapping"]}, mapping)
        return [file, mapping]
    (folder / "base_models").mkdir()
    (folder / "retargeting_models").mkdir()
    for network, tensors in networks.items():
        if "." not in network:
            torch.save(tensors, folder / "base_models" / f"{network}.pth")
    parts = {"retarget_shoulder": "stitching", "retarget_mouth": "lip", "retarget_eye": "eye"}
    torch.save(
        {
            stored: {
                f"module.{key}": tensor
                for key, tensor in networks[f"stitching_retargeting_module.{part}"].items()
            }
            for stored, part in parts.items()
        },
        folder / "retargeting_models" / "stitching_retargeting_module.pth",
    )
    return [folder]
