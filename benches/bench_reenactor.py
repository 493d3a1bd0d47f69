"""One frame of `vox-256`: whole, and stage by stage, with the source encoded once.

The ratio is to the networks as they were trained, with the operators' references: stock PyTorch. Weights are
random: they cost what trained ones cost.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from measuring import DEVICE, clock
from torch import Tensor, nn

from fv2v.geometry import place
from fv2v.reenactor import Reenactor
from fv2v_kernels import use_backend

pytestmark = pytest.mark.benchmark(timer=clock)


class Stage(NamedTuple):
    run: Callable[[], Any]
    networks: list[nn.Module]  # whose weights it reads
    inputs: tuple[Tensor, ...]


def stages_of(reenactor: Reenactor) -> dict[str, Stage]:
    size, model = reenactor.config.image_size, reenactor.networks
    head, motion, generator = model.head, model.dense_motion, model.generator
    portrait, frame = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    source = reenactor.encode(portrait)
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].to(DEVICE, reenactor.dtype) / 255
    kp_driving, affine = place(source, head(image).motion, geometry=reenactor.config.geometry)
    points = (source.keypoints, kp_driving, affine)
    field = motion(source.compressed, *points)
    warped = (source.features, field.mask_logits)
    lattice = {"align_corners": reenactor.config.align_corners}
    return {
        "H head": Stage(lambda: head(image), [head], (image,)),
        "M dense motion": Stage(lambda: motion(source.compressed, *points), [motion], (source.compressed,)),
        "compose and warp": Stage(lambda: generator.warp(*warped, *points, **lattice), [], warped),
        "G generator, warp included": Stage(
            lambda: generator(source.features, field, *points), [generator], (*warped, field.occlusion)
        ),
        "whole frame": Stage(
            lambda: list(reenactor.animate(source, [frame])),
            [head, motion, generator],
            (source.compressed, source.features),
        ),
    }


@pytest.fixture(scope="module")
def stages() -> Iterator[tuple[dict[str, Stage], dict[str, Stage]]]:
    """Of the networks arranged for inference, and as they were trained."""
    options = {"device": DEVICE, "dtype": "float16" if DEVICE == "cuda" else "float32"}
    with torch.inference_mode():
        both = [
            stages_of(Reenactor("vox-256", weights="random", optimize=wish, **options))
            for wish in (True, False)
        ]
        yield both[0], both[1]


@pytest.mark.parametrize(
    "stage", ["H head", "M dense motion", "compose and warp", "G generator, warp included", "whole frame"]
)
def test_reenactor(benchmark, beside, stages, stage):
    (run, networks, inputs), plain = (each[stage] for each in stages)

    def stock() -> None:
        with use_backend("reference"):
            plain.run()

    benchmark.group = "vox-256, one frame"
    # weights and inputs once; results are the next stage's inputs, and small beside the weights
    weights = [weight for network in networks for weight in network.parameters()]
    beside(run, stock, moved=sum(tensor.nbytes for tensor in (*weights, *inputs)))
