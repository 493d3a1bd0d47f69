"""A training step with this project's operators beside the same step with stock PyTorch's.

Pictures forward, a reconstruction loss backward, Adam, the average of the weights: everything but the losses
that take other networks, which cost the same either way. Both rows are of the same model; on a GPU its
convolutions run in bfloat16. On a CPU the paper's model is left to `--full`.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from measuring import DEVICE, TINY, wall

from fv2v.config import FACE_VID2VID_256, ModelConfig
from fv2v.data.pairs import Pairs
from fv2v.losses import LossConfig
from fv2v.training.config import TrainConfig
from fv2v.training.distributed import World
from fv2v.training.learner import Learner
from fv2v.training.objective import Judges
from fv2v.training.start import starting_model
from fv2v_kernels import use_backend

pytestmark = pytest.mark.benchmark(timer=wall)

STOCK, OURS = "stock PyTorch", "operators"
PAPER = FACE_VID2VID_256
HALF = replace(
    PAPER,
    name="half as wide and large",
    image_size=128,
    appearance=replace(PAPER.appearance, widths=(32, 64, 128)),
    canonical=replace(PAPER.canonical, stride=2, widths=(32, 64, 128, 256, 512), out_width=16),
    head=replace(PAPER.head, stem_width=32, widths=(128, 256, 512, 1024)),
    dense_motion=replace(PAPER.dense_motion, widths=(32, 64, 128, 256, 512), out_width=16),
    generator=replace(PAPER.generator, width=128, widths=(128, 64, 32)),
)
MODELS = {HALF.name: HALF, PAPER.name: PAPER}
ONLY_PIXELS = LossConfig(**dict.fromkeys(LossConfig.__slots__, 0.0) | {"reconstruction": 10.0})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    full = DEVICE == "cuda" or metafunc.config.getoption("full")
    metafunc.parametrize("model", MODELS if full else [HALF.name])
    metafunc.parametrize("batch", [8] if DEVICE == "cuda" else [1])
    metafunc.parametrize("operators", [STOCK, OURS])


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
    return Learner(model, run, Judges(), world, steps=1_000_000, size=config.image_size)


def step(learner: Learner, pairs: Pairs, operators: str) -> float:
    """The loss."""
    if operators == OURS:
        return learner.step(0, [pairs]).values["loss"]
    with use_backend("reference"):
        return learner.step(0, [pairs]).values["loss"]


def test_training(benchmark, beside, model, batch, operators):
    config = MODELS[model]
    if TINY:
        import tiny  # of the tests

        config = tiny.TINY
    size = config.image_size
    pictures = torch.randint(256, (2, batch, 3, size, size), dtype=torch.uint8, device=DEVICE)
    pairs = Pairs(*pictures.unbind())
    learner = learner_of(config)
    if operators == OURS:  # or a ratio means nothing
        first = [step(each, pairs, which) for each, which in ((learner, OURS), (learner_of(config), STOCK))]
        assert first[0] == pytest.approx(first[1], rel=1e-3 if DEVICE == "cpu" else 1e-2)
    stock = partial(step, learner, pairs, STOCK)
    benchmark.group = f"training, {model}, batch {batch}"
    beside(stock if operators == STOCK else partial(step, learner, pairs, OURS), stock, None)
    if benchmark.stats is None:  # --benchmark-disable
        return
    benchmark.extra_info |= {
        "label": f"training step, {operators}",
        "training": model,
        "batch": batch,
        "operators": operators,
        "samples/s": round(batch / benchmark.stats.stats.median, 3),
    }
