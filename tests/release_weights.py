"""zhanglonghao1992's checkpoint with the deterministic weights its outputs were recorded with."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import parity
import torch

DATA = Path(__file__).parent / "data"
STATE_DICTS = json.loads((DATA / "state_dict_zlh.json").read_text())


def key_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Every key of one of the release's networks, and its shape."""
    return {key: tuple(entry["shape"]) for key, entry in STATE_DICTS[network]["keys"].items()}


@cache
def filled(network: str) -> dict[str, np.ndarray]:
    return parity.fill_network("zlh", network, key_shapes(network))


def anti_alias_kernel() -> np.ndarray:
    """The release's `down.weight`: σ = 1.5, 13 × 13, one a colour, as a formula in SEMANTICS.md 2.2."""
    i = np.arange(13) - 6.0
    kernel = np.exp(-(i[:, None] ** 2 + i**2) / (2 * 1.5**2))
    return np.repeat((kernel / kernel.sum()).astype(np.float32)[None, None], 3, axis=0)


def state_dicts(jacobian: bool) -> dict[str, dict[str, torch.Tensor]]:
    """The three networks that run, in the release's layout."""
    kp_detector = dict(filled("kp_detector"), **{"down.weight": anti_alias_kernel()})
    if jacobian:
        shapes = key_shapes("kp_detector__estimate_jacobian_True")
        head = {key: shape for key, shape in shapes.items() if key.startswith("jacobian.")}
        kp_detector |= parity.fill_network("zlh", "kp_detector", head)
    arrays = {
        "generator": filled("generator"),
        "kp_detector": kp_detector,
        "he_estimator": filled("he_estimator"),
    }
    return {
        name: {key: torch.from_numpy(np.array(array)) for key, array in network.items()}
        for name, network in arrays.items()
    }
