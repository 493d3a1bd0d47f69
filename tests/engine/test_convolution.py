# SPDX-License-Identifier: Apache-2.0
"""Which convolutions a CPU does by Winograd's algorithm."""

import pytest
from torch import nn

from fv2v.engine.passes.convolution import DirectConv, WinogradConv, convolution


@pytest.mark.parametrize(
    ("conv", "kind"),
    [
        (nn.Conv2d(512, 512, 3, padding=1), WinogradConv),
        (nn.Conv3d(256, 512, 3, padding=1), WinogradConv),  # three taps in depth, and many slices
        (nn.Conv3d(512, 1024, (1, 3, 3), padding=(0, 1, 1)), DirectConv),  # First Order Motion's M
        (nn.Conv2d(512, 1024, 3, padding=1), DirectConv),
        (nn.Conv2d(8, 64, 3, padding=1), DirectConv),
    ],
    ids=["512x512", "deep", "flat", "2D", "few"],
)
def test_many_weights_beside_few_pixels_are_not_transformed(conv, kind):
    assert type(convolution(conv)) is kind
