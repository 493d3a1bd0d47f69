# SPDX-License-Identifier: Apache-2.0
"""The kernels of a frame on a GPU, as the table in fv2v/engine/README.md has them."""

import pytest
import torch
from places import ROOT
from torch import nn

from fv2v.engine import GPU_PASSES, PASSES
from fv2v.engine.launches import Counter, count
from fv2v.engine.passes.fused_convolution import FusedConv
from fv2v.engine.passes.taps_in_channels import taps_in_channels
from fv2v.presets import PRESETS

BEFORE = (*PASSES, taps_in_channels)
TABLE = (ROOT / "fv2v" / "engine" / "README.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip(" `") for cell in row.split("|")[1:-1]] for row in TABLE.splitlines() if row.startswith("| `")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[:2]))
def test_the_table(row):
    preset, passes, *numbers = row
    found = count(PRESETS[preset], GPU_PASSES if passes == "after" else BEFORE)
    counted = (found.kernels, found.convolutions, found.biases, found.layouts, found.others)
    assert [*counted, round(found.convolved), round(found.moved)] == [int(number) for number in numbers]


def test_the_table_has_the_large_presets():
    assert [row[0] for row in ROWS[::2]] == ["vox-256", "vox-256-spade", "liveportrait"]


@torch.no_grad()
def test_what_counts():
    conv = nn.Conv2d(8, 16, 3, padding=1)
    module, x = FusedConv(conv, negative_slope=0.0), torch.randn(1, 8, 6, 6)
    last = x.contiguous(memory_format=torch.channels_last)
    with Counter() as plain:
        conv(x).relu()
    with Counter() as fused:
        module(last).permute(0, 2, 3, 1)
    ours, theirs = fused.launches, plain.launches
    assert (theirs.convolutions, theirs.biases, theirs.layouts, theirs.others) == (1, 1, 2, 1)
    assert (ours.convolutions, ours.biases, ours.layouts) == (1, 0, 0)
    assert theirs.convolved == pytest.approx(4e-6 * (8 * 36 + 16 * 36 + 16 * 8 * 9 + 16))


@torch.no_grad()
def test_what_is_launched_inside_one_operation():
    volumes, taps = torch.randn(2, 1, 3, 4, 4, 4), torch.randn(1, 9, 16)
    inner = taps.mT.contiguous().mT
    norm = nn.BatchNorm2d(3).eval()
    for function, kernels in (
        (lambda: torch.cat((*volumes,), dim=1), 2),
        (lambda: torch.cat((*volumes[:, :, :, 0],), dim=1), 1),
        (lambda: norm(volumes[0, :, :, 0]), 2),
        (lambda: nn.functional.fold(taps, (4, 4), 3, padding=1), 1),
        (lambda: nn.functional.fold(inner, (4, 4), 3, padding=1), 2),
    ):
        with Counter() as counter:
            function()
        assert counter.launches.kernels == kernels


def test_what_is_only_written_is_not_read():
    ours, theirs = torch.zeros(250, dtype=torch.uint8), torch.ones(250, dtype=torch.uint8)
    with Counter() as counter:
        ours.copy_(theirs)
        torch.div(theirs, 255, out=torch.empty(250))
        ours.add_(theirs)
    assert counter.launches.moved == pytest.approx(1e-6 * (2 * 250 + 5 * 250 + 3 * 250))
