# SPDX-License-Identifier: Apache-2.0
"""Motion sequences and LivePortrait's templates, made for tests; models whose motion shows."""

import pickle
from copy import deepcopy
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny import sized_as_trained

from fv2v import Motion, MotionSequence, Reenactor, Timing
from fv2v.config import ModelConfig
from fv2v.geometry import rotation_from_euler

K = 21


def template(T: int = 4, seed: int = 0, **changed: object) -> dict[str, Any]:
    """What LivePortrait stores in a motion template of T frames."""
    random = np.random.default_rng(seed)
    angles = torch.from_numpy(random.uniform(-20, 20, (3, T)))
    rows = rotation_from_euler(*angles, order="zyx").mT.float().numpy()  # the release multiplies rows
    motion = [
        {
            "scale": random.uniform(1, 1.5, (1, 1)).astype(np.float32),
            "R": rows[i : i + 1],
            "exp": random.normal(0, 0.01, (1, K, 3)).astype(np.float32),
            "t": random.normal(0, 0.1, (1, 3)).astype(np.float32),
            "kp": random.normal(0, 0.3, (1, K, 3)).astype(np.float32),
            "x_s": random.normal(0, 0.3, (1, K, 3)).astype(np.float32),
        }
        for i in range(T)
    ]
    ratios = {
        "c_eyes_lst": list(random.uniform(0, 0.4, (T, 1, 2)).astype(np.float32)),
        "c_lip_lst": list(random.uniform(0, 0.2, (T, 1, 1)).astype(np.float32)),
    }
    return {"n_frames": T, "output_fps": 25, "motion": motion, **ratios} | changed


def saved(path: Path, stored: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(stored, protocol))
    return path


def frame_with(**changed: object) -> dict[str, Any]:
    stored = template()
    stored["motion"][2] |= changed
    return stored


def moving(config: ModelConfig) -> Reenactor:
    """Fresh weights that move a face within its picture, and magnify no rounding."""
    reenactor = Reenactor(config, weights="random")
    reenactor.model.load_state_dict(sized_as_trained(config).state_dict())
    for layer in (reenactor.model.head.translation, reenactor.model.head.expression):
        layer.weight.mul_(10)
    reenactor._run(deepcopy(reenactor.model), optimize=True)
    return reenactor


class Trap:
    """A pickle of it makes a file where it is read without restriction."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, "w")


ARRAYS = ("rotation", "translation", "expression", "scale")


def sequence(T: int = 3, K: int = 5, seed: int = 0, **changed: object) -> MotionSequence:
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(T, 3, 3, generator=generator))
    rotation *= torch.linalg.det(rotation)[:, None, None].sign()
    given = {
        "rotation": rotation,
        "translation": torch.randn(T, 3, generator=generator),
        "expression": torch.randn(T, K, 3, generator=generator),
        "scale": torch.rand(T, 1, generator=generator) + 0.5,
    }
    given |= {name: changed.pop(name) for name in ARRAYS if name in changed}
    timing = Timing(tuple(7 * i * i + 3 for i in range(T)), Fraction(1, 90_000), Fraction(30_000, 1001))
    return MotionSequence(**({"motion": Motion(**given), "timing": timing, "preset": "some"} | changed))


def assert_same_sequence(one: MotionSequence, other: MotionSequence) -> None:
    """Bit for bit."""
    assert (one.timing, one.preset) == (other.timing, other.preset)
    for name in ARRAYS:
        assert torch.equal(getattr(one.motion, name), getattr(other.motion, name)), name
    for name in ("eyes", "lips"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None and b is None) or torch.equal(a, b), name
