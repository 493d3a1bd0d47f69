# SPDX-License-Identifier: Apache-2.0
"""The layers that a model runs, and their arithmetic."""

from copy import deepcopy

import pytest
import torch
from tiny import TINY_SPADE
from torch import nn

from fv2v import checkpoints
from fv2v.diagnostics.info import ONCE, gflop
from fv2v.engine import arrange
from fv2v.engine.flops import Layout, recorded
from fv2v.engine.passes.double_in_phases import DoublingConv
from fv2v.presets import PRESETS


@pytest.mark.parametrize(
    ("preset", "counted"), [("vox-256", 342.4), ("vox-256-spade", 1154.7), ("liveportrait", 1245.3)]
)
def test_a_frame_of_the_presets(preset, counted):
    """As counted on the releases' own modules."""
    frame = sum(amount for network, amount in gflop(PRESETS[preset]).items() if network not in ONCE)
    assert frame == pytest.approx(counted, abs=0.06)


def test_a_call_says_what_the_layer_was_given():
    model = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.Flatten(), nn.Linear(6 * 5 * 7, 2))
    x = torch.zeros(3, 4, 5, 7).to(memory_format=torch.channels_last)
    with recorded(model) as calls:
        model(x)
    model(x)  # recorded no more
    conv, linear = calls
    assert (conv.name, linear.name) == ("0", "2")
    assert conv.inputs == (Layout((3, 4, 5, 7), x.stride(), torch.float32, x.device),)
    assert conv.gflop == pytest.approx(2e-9 * 3 * 6 * 5 * 7 * 4 * 9)
    assert linear.gflop == pytest.approx(2e-9 * 3 * 2 * 6 * 5 * 7)
    assert linear.nbytes == 4 * (3 * 210 + 2 * 210 + 2 + 3 * 2)


def test_an_enlarging_layer_reads_every_input_once():
    model = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, stride=2))
    with recorded(model) as calls:
        assert model(torch.zeros(1, 4, 3, 5)).shape == (1, 6, 6, 10)
    assert calls[0].gflop == pytest.approx(2e-9 * 4 * 6 * 6 * 10)


def test_performrecasts_largest_convolutions():
    """As counted on the release's own module."""
    with torch.device("meta"):
        motion = checkpoints.random(PRESETS["performrecast"]).dense_motion
        points = torch.empty(1, 49, 3)
        with recorded(motion) as calls, torch.inference_mode():
            motion(torch.empty(1, 4, 16, 64, 64), points, points, None)
    found = {call.name: call.gflop for call in calls}
    assert (found["mask"], found["hourglass.conv"]) == (pytest.approx(634, abs=1), pytest.approx(281, abs=1))


def test_phases_take_four_ninths():
    conv, x = nn.Conv2d(4, 6, 3, padding=1), torch.zeros(1, 4, 5, 7)
    found = []
    for model in (nn.Sequential(nn.Upsample(scale_factor=2), conv), nn.Sequential(DoublingConv(conv))):
        with recorded(model) as calls:
            assert model(x).shape == (1, 6, 10, 14)
        found += [call.gflop for call in calls]
    assert found[1] / found[0] == pytest.approx(4 / 9)


def test_the_inference_form_takes_less():
    plain = checkpoints.random(TINY_SPADE).eval()
    found = []
    for model in (plain, arrange(deepcopy(plain))):
        with recorded(model) as calls, torch.inference_mode():
            model(*torch.zeros(2, 1, 3, 32, 32))
        found.append(sum(call.gflop for call in calls))
    assert found[1] < 0.95 * found[0]
