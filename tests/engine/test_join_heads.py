# SPDX-License-Identifier: Apache-2.0
"""Joined heads say what the heads say: in float64 they differ by rounding alone, and they launch far less."""

from copy import deepcopy

import pytest
import torch
from engine_cases import CONFIGS, trained_like
from torch.utils._python_dispatch import TorchDispatchMode

from fv2v.engine.passes.join_heads import JoinedHeads

HEADS = [name for name, config in CONFIGS.items() if not config.direct]


def seen_by(config, batch: int) -> torch.Tensor:
    if config.head.window:
        return torch.randn(batch, config.head.inputs, config.head.window, dtype=torch.float64)
    return torch.rand(batch, 3, config.image_size, config.image_size, dtype=torch.float64)


def loud(config):
    """Heads as tests' random weights make them say next to nothing."""
    head = trained_like(config).head
    for layer in (head.pitch.bins, head.yaw.bins, head.roll.bins, head.translation, head.expression):
        layer.weight.data.mul_(30)
        torch.nn.init.normal_(layer.bias)
    return head


@pytest.mark.parametrize("name", HEADS)
def test_the_same_motion(name):
    head, seen = loud(CONFIGS[name]), seen_by(CONFIGS[name], 3)
    with torch.inference_mode():
        (plain, plain_canonical), (ours, canonical) = head(seen), JoinedHeads(head)(seen)
    for part in ("rotation", "translation", "expression", "scale"):
        torch.testing.assert_close(getattr(ours, part), getattr(plain, part), rtol=0, atol=1e-10)
    assert (plain.rotation - torch.eye(3)).abs().max() > 0.1, "no head turned: nothing was compared"
    torch.testing.assert_close(canonical, plain_canonical, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", HEADS)
def test_beside_half_weights_motion_is_float32(name):
    head, seen = loud(CONFIGS[name]), seen_by(CONFIGS[name], 1).bfloat16()
    with torch.inference_mode():
        plain, ours = deepcopy(head).bfloat16()(seen).motion, JoinedHeads(head).bfloat16()(seen).motion
    for part in ("rotation", "translation", "expression", "scale"):
        assert getattr(ours, part).dtype == torch.float32
        torch.testing.assert_close(getattr(ours, part), getattr(plain, part), rtol=0.05, atol=0.05)


class Launches(TorchDispatchMode):
    """Counts operations that compute or fill something: those that only look at memory cost no launch."""

    LOOKING = ("unflatten", "split", "unbind", "select", "slice", "unsqueeze", "expand", "view", "detach")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view and not any(name in str(func) for name in self.LOOKING)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", HEADS)
def test_it_takes_a_quarter_of_the_launches(name):
    head = trained_like(CONFIGS[name]).head
    seen = head.trunk(seen_by(CONFIGS[name], 1))
    head.trunk = torch.nn.Identity()
    counts = []
    for each in (head, JoinedHeads(head)):
        with torch.inference_mode(), Launches() as launches:
            each(seen)
        counts.append(launches.count)
    assert 4 * counts[1] <= counts[0] + 3, counts
