"""Training runs that take a second: tiny networks, clips of a few frames made on the spot."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny import TINY

from fv2v.config import DiscriminatorConfig
from fv2v.data.pairs import Pairs
from fv2v.image import write_image
from fv2v.losses import LossConfig
from fv2v.training.config import OptimiserConfig, TrainConfig
from fv2v.training.distributed import World
from fv2v.training.learner import Learner
from fv2v.training.start import judges, starting_model
from fv2v.training.trainer import Trainer

TESTS = Path(__file__).parent
CPU = World(torch.device("cpu"))
# every term that a clip without a truth can have, but the VGG's, which wants larger pictures
LOSSES = LossConfig(perceptual=0, head_pose=0, reconstruction=10)


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
    """Random pictures."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.rand(2, count, 3, size, size, generator=generator)
    return Pairs(*(255 * pictures).to(torch.uint8).unbind())


def learner(world: World = CPU, dtype: torch.dtype = torch.float32, **values: Any) -> Learner:
    """Of the tiny model, with a discriminator."""
    chosen = replace(config(Path(), **values), spectral_norm=True)
    model = starting_model(chosen).to(dtype)
    seen = judges(chosen, knows_truth=False, device=world.device)
    if seen.discriminator is not None:
        seen.discriminator.to(dtype)
    return Learner(model, chosen, seen, world, steps=4, size=TINY.image_size)


def gradients_of_a_step(world: World) -> dict[str, Any]:
    """What one step in float64 with four pairs, shared among the processes, leaves behind."""
    learning = learner(world, torch.float64)
    found: dict[str, Any] = {}
    for name, optimiser in zip(("model", "discriminator"), learning.optimisers, strict=True):
        optimiser.register_step_pre_hook(partial(_note, found, name))
    share = 4 // world.size
    part = slice(world.rank * share, (world.rank + 1) * share)
    whole = pairs(4)
    learnt = learning.step(0, [Pairs(whole.source[part], whole.driving[part])])
    norms = {name: each for name, each in learning.model.state_dict().items() if "running" in name}
    return found | {"values": learnt.values, "norms": norms}


def _note(found: dict[str, Any], name: str, optimiser: torch.optim.Optimizer, *rest: Any) -> None:
    found[name] = [each.grad.clone() for group in optimiser.param_groups for each in group["params"]]


def start_child(name: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """A function of training_children.py in a process of its own."""
    paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, str(TESTS / "training_children.py"), name, str(folder), str(torch.get_num_threads())],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
