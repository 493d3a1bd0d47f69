# SPDX-License-Identifier: Apache-2.0
"""Fresh weights that show the source moved."""

from dataclasses import replace

import pytest
import torch
from tiny import TINY, TINY_SPADE
from torch import Tensor
from torch.nn.functional import interpolate

from fv2v.data.pairs import Draw, Pairs
from fv2v.data.synthetic import LANDMARKS, SyntheticHeads
from fv2v.networks import FaceVid2Vid
from fv2v.training.initialization import begin_with_prior
from fv2v.training.objective import place_absolutely, with_true_keypoints

CONFIG = replace(
    TINY,
    name="tiny-starter",
    image_size=64,
    keypoints=len(LANDMARKS),
    canonical=None,
    volume_depth=8,
    appearance=replace(TINY.appearance, widths=(8, 16, 16)),
    dense_motion=replace(TINY.dense_motion, variance=0.02),
    generator=replace(TINY.generator, widths=(16, 8, 8)),
)


@pytest.fixture(scope="module")
def heads() -> Pairs:
    drawn = SyntheticHeads(64, 4, seed=7)
    return Pairs.cat([drawn[Draw(i, 1)] for i in range(4)]).scaled(torch.device("cpu"))


def shown(model: FaceVid2Vid, heads: Pairs) -> Tensor:
    """Each source by the true keypoints of its driving frame, as the first training step makes it."""
    truth = heads.truth.on_lattice(16)
    source, moved = with_true_keypoints(
        model.encode(heads.source), truth.driving, truth, torch.ones(len(heads), dtype=torch.bool)
    )
    return model.render(source, place_absolutely(source, moved, model))


def fresh(config=CONFIG) -> FaceVid2Vid:
    torch.manual_seed(0)
    return FaceVid2Vid(config).train()


def l1(a: Tensor, b: Tensor) -> float:
    def coarse(picture: Tensor) -> Tensor:  # what G's first pictures can show: a quarter of the size
        return interpolate(picture, size=(16, 16), mode="area")

    return float((coarse(a) - coarse(b)).abs().mean())


@torch.no_grad()
def test_the_first_picture_is_the_source_moved(heads):
    """Nearer to the driving frame than if nothing moved, and much nearer than random weights' picture."""
    model = fresh()
    random = l1(shown(model, heads), heads.driving)
    begin_with_prior(model)
    moved = shown(model, heads)
    still = Pairs(heads.source, heads.source, replace(heads.truth, driving=heads.truth.source))
    unmoved = shown(model, still)
    assert l1(unmoved, heads.source) < 0.5 * random
    assert l1(moved, heads.driving) < 0.5 * random
    assert l1(moved, heads.driving) < 0.97 * l1(unmoved, heads.driving)


@torch.no_grad()
def test_heads_begin_at_rest(heads):
    model = fresh()
    loud = model.head(heads.driving)
    begin_with_prior(model)
    motion, canonical = model.head(heads.driving)
    assert float((motion.rotation - torch.eye(3)).abs().max()) < 0.06  # no three bins are the middle
    for part, before in (
        (motion.translation, loud.motion.translation),
        (motion.expression, loud.motion.expression),
        (canonical, loud.canonical),
    ):
        assert float(part.abs().max()) < 0.1 * float(before.abs().max())


def test_everything_learns(heads):
    model = fresh()
    begin_with_prior(model)
    (shown(model, heads) - heads.driving).abs().mean().backward()
    for name, each in model.named_parameters():
        if not name.startswith("head."):
            assert each.grad is not None, name
            assert bool(torch.isfinite(each.grad).all()), name
    assert float(model.appearance.residual[0].conv2.weight.grad.abs().max()) > 0


@pytest.mark.parametrize(
    ("config", "got"),
    [(TINY_SPADE, "'spade'"), (replace(TINY, volume_channels=2), "and 2")],
    ids=["spade", "narrow"],
)
def test_other_networks_are_refused(config, got):
    with pytest.raises(ValueError, match=f"a residual decoder, and 3 channels or more.*{got}"):
        begin_with_prior(FaceVid2Vid(config))
