# SPDX-License-Identifier: Apache-2.0
"""A training step with this project's operators beside the same step in stock PyTorch.

Stock are the operators' definitions, called as plain PyTorch that autograd records: the `reference` backend
keeps no more for backward than the operators do, and would be kinder to memory.

Pictures forward, a reconstruction loss backward, Adam, the average of the weights: everything but the losses
that take other networks, which cost the same either way. Both rows are of the same model; on a GPU its
convolutions run in bfloat16. On a CPU the paper's model is left to `--full`; the other is what two cores can
train.
"""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from measuring import DEVICE, TINY, wall
from torch import Tensor

from fv2v.config import ModelConfig
from fv2v.data.pairs import Pairs
from fv2v.losses import LossConfig
from fv2v.networks import canonical, dense_motion
from fv2v.presets import FACE_VID2VID_256
from fv2v.training.build import starting_model
from fv2v.training.config import TrainConfig, read_config
from fv2v.training.distributed import World
from fv2v.training.learner import Learner
from fv2v.training.objective import LossNetworks
from fv2v_kernels.ops import compose_warp, soft_argmax3d, warp_candidates

pytestmark = pytest.mark.benchmark(timer=wall)

STOCK, OURS = "stock PyTorch", "operators"
SMALL, PAPER = "overfit", "paper-256"  # examples that come along
ONLY_PIXELS = LossConfig(**dict.fromkeys(LossConfig.__slots__, 0.0) | {"reconstruction": 10.0})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given = [(SMALL, 2)]
    if DEVICE == "cuda" or metafunc.config.getoption("full"):
        given.append((PAPER, 8 if DEVICE == "cuda" else 1))
    metafunc.parametrize(("example", "batch"), given, ids=[example for example, _ in given])
    metafunc.parametrize("operators", [STOCK, OURS])


def model_of(example: str) -> ModelConfig:
    if TINY:
        import tiny  # of the tests

        return tiny.TINY
    model = read_config(example, ["data=.", "output=."]).model
    return FACE_VID2VID_256 if model is None else replace(model, image_size=128)


def learner_of(config: ModelConfig) -> Learner:
    """Of seeded weights."""
    run = TrainConfig(
        data=Path(),
        output=Path(),
        model=config,
        losses=ONLY_PIXELS,
        precision="bfloat16" if DEVICE == "cuda" else "float32",
    )
    world = World(torch.device(DEVICE))
    model = starting_model(run).to(DEVICE)
    return Learner(model, run, LossNetworks(), world, steps=1_000_000, size=config.image_size)


def step(learner: Learner, pairs: Pairs, operators: str) -> float:
    """The loss."""
    with ExitStack() as stack:
        if operators == STOCK:
            stack.enter_context(patch.object(dense_motion, "warp_candidates", candidates))
            stack.enter_context(patch.object(canonical, "soft_argmax3d", expected))
            stack.enter_context(patch.object(learner.model.generator, "warp", composed))
        return learner.step(0, [pairs]).values["loss"]


def candidates(*tensors: Tensor, align_corners: bool, variance: float, memory_format: Any) -> Tensor:
    return warp_candidates.reference(*tensors, align_corners, variance)


def composed(*tensors: Tensor, align_corners: bool, mask_threshold: float, **more: bool) -> Tensor:
    assert not any(more.values())  # models with detail alone ask for flow and mask
    return compose_warp.reference(*tensors, align_corners, mask_threshold, False, False, False)[0]


def expected(logits: Tensor, *, temperature: float, jacobian_maps: Tensor | None = None) -> Any:
    keypoints, jacobians = soft_argmax3d.reference(logits, jacobian_maps, temperature)
    return keypoints if jacobian_maps is None else soft_argmax3d.SoftArgmax(keypoints, jacobians)


def test_training(benchmark, beside, example, batch, operators):
    config = model_of(example)
    size = config.image_size
    pictures = torch.randint(256, (2, batch, 3, size, size), dtype=torch.uint8, device=DEVICE)
    pairs = Pairs(*pictures.unbind())
    learner = learner_of(config)
    if operators == OURS:  # or a ratio means nothing
        first = [step(each, pairs, which) for each, which in ((learner, OURS), (learner_of(config), STOCK))]
        assert first[0] == pytest.approx(first[1], rel=1e-3 if DEVICE == "cpu" else 1e-2)
    stock = partial(step, learner, pairs, STOCK)
    benchmark.group = f"training, {example}, {batch} pairs"
    beside(stock if operators == STOCK else partial(step, learner, pairs, OURS), stock, None)
    if benchmark.stats is None:  # --benchmark-disable
        return
    benchmark.extra_info |= {
        "label": f"training step, {operators}",
        "training": f"{config.name}, {size} px",
        "batch": batch,
        "operators": operators,
        "samples/s": round(batch / benchmark.stats.stats.median, 3),
    }
