# SPDX-License-Identifier: Apache-2.0
"""Training runs that take a second: tiny networks, clips of a few frames made on the spot."""

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from places import SUPPORT
from tiny import TINY
from torch.nn.functional import interpolate

from fv2v.config import DiscriminatorConfig
from fv2v.data.pairs import Pairs, Truth
from fv2v.geometry import Motion, rotation_from_euler
from fv2v.io.image import write_image
from fv2v.losses import LossConfig
from fv2v.training.build import loss_networks, starting_model
from fv2v.training.config import OptimiserConfig, TrainConfig
from fv2v.training.distributed import World
from fv2v.training.learner import Learner
from fv2v.training.trainer import Trainer

CPU = World(torch.device("cpu"))
# every term that a clip without a truth can have, but the VGG's, which wants larger pictures
LOSSES = LossConfig(perceptual=0, head_pose=0, reconstruction=10)
PIXELS = LossConfig(**dict.fromkeys(LossConfig.__slots__, 0.0) | {"reconstruction": 1.0})
WITHOUT_JACOBIANS = replace(LOSSES, equivariance_jacobians=0)  # nothing reaches their head then


def clips(folder: Path, count: int = 3, frames: int = 4, size: int = 32) -> Path:
    """Folders of frames: a bright disc that wanders over colours of its clip's own."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    for clip in range(count):
        colours = rng.integers(0, 200, (2, 3))
        (folder / f"clip{clip}").mkdir(parents=True)
        for frame in range(frames):
            centre = 0.3 + 0.4 * rng.random(2)
            disc = np.hypot(x - centre[0], y - centre[1]) < 0.2
            image = np.where(disc[..., None], 55 + colours[0], colours[1] * y[..., None]).astype(np.uint8)
            write_image(folder / f"clip{clip}" / f"{frame}.png", image)
    return folder


def config(folder: Path, **values: Any) -> TrainConfig:
    """A run in `folder`/run of the clips in `folder`/clips."""
    usual: dict[str, Any] = {
        "data": folder / "clips",
        "output": folder / "run",
        "model": TINY,
        "steps": 4,
        "batch": 2,
        "losses": LOSSES,
        "discriminator": DiscriminatorConfig(widths=(8, 16)),
        "optimiser": OptimiserConfig(lr=1e-3),
        "workers": 0,
        "save_every": 2,
    }
    return TrainConfig(**usual | values)


def trained(folder: Path, **values: Any) -> Trainer:
    """The run of `config`, done."""
    trainer = Trainer(config(folder, **values), CPU)
    trainer.run()
    return trainer


def pairs(count: int, size: int = 32, seed: int = 0) -> Pairs:
    """Smooth random pictures."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2 * count, 3, 4, 4, generator=generator)
    pictures = interpolate(coarse, (size, size), mode="bilinear")
    return Pairs(*(255 * pictures).to(torch.uint8).split(count))


def truth(count: int, keypoints: int = TINY.keypoints) -> Truth:
    """Of random heads, alike in every call."""
    generator = torch.Generator().manual_seed(1)

    def points() -> torch.Tensor:
        return 0.2 * torch.randn(count, keypoints, 3, generator=generator)

    motions = (
        Motion(
            rotation_from_euler(*10 * torch.randn(3, count, generator=generator)),
            points()[:, 0],
            points(),
            torch.ones(count, 1),
        )
        for _ in range(2)
    )
    return Truth(points(), *motions)


def learner(world: World = CPU, dtype: torch.dtype = torch.float32, **values: Any) -> Learner:
    """Of the tiny model, with a discriminator."""
    chosen = config(Path(), **{"spectral_norm": True} | values)
    model = starting_model(chosen).to(dtype)
    networks = loss_networks(chosen, knows_truth=False, device=world.device)
    if networks.discriminator is not None:
        networks.discriminator.to(dtype)
    return Learner(model, chosen, networks, world, steps=4, size=model.config.image_size)


def gradients(learning: Learner, parts: Sequence[Pairs]) -> dict[str, Any]:
    """A first step: its gradients, of model and discriminator, and its values."""
    found: dict[str, Any] = {}
    for name, optimiser in zip(("model", "discriminator"), learning.optimisers, strict=False):
        optimiser.register_step_pre_hook(partial(_note, found, name))
    return found | {"values": learning.step(0, parts).values}


def gradients_of_a_step(world: World) -> dict[str, Any]:
    """`gradients` in float64 of four pairs that processes share, and the statistics of batch norms then."""
    learning, whole, share = learner(world, torch.float64), pairs(4), 4 // world.size
    part = slice(world.rank * share, (world.rank + 1) * share)
    found = gradients(learning, [Pairs(whole.source[part], whole.driving[part])])
    return found | {
        "norms": {name: each for name, each in learning.model.state_dict().items() if "running" in name}
    }


def gradients_of(parameters: Iterable[torch.nn.Parameter]) -> torch.Tensor:
    """In a row; zeros where there are none."""
    return torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters]
    )


def _note(found: dict[str, Any], name: str, optimiser: torch.optim.Optimizer, *rest: Any) -> None:
    parameters = [each for group in optimiser.param_groups for each in group["params"]]
    found[name] = gradients_of(parameters).clone()


def start_child(name: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """A function of training_children.py in a process, and a group of processes, of its own."""
    paths = [str(SUPPORT), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [
            sys.executable,
            str(SUPPORT / "training_children.py"),
            name,
            str(folder),
            str(torch.get_num_threads()),
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
