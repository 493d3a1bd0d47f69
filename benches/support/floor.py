# SPDX-License-Identifier: Apache-2.0
"""The least that layers can take: on a CPU each one timed alone, on a GPU its arithmetic or its bytes."""

from collections.abc import Sequence
from functools import cache
from statistics import median
from typing import Any

import torch
from measuring import DEVICE, copy_bandwidth, seconds, wall

from fv2v.engine.flops import Call, Layout

SIDE = 8192  # of the matrices whose product shows a GPU's peak


class Floor:
    """`floor()` in every round of a row; `floor.seconds` at the end.

    On a CPU a layer is run as it is in the frame (the same module, shapes, strides and dtype), warm, with its
    inputs made before the clock starts and its result freed after it stops; the floor is the sum of the
    layers' medians. On a GPU it is computed: of each layer its arithmetic at the rate of a large product of
    matrices, or its inputs, weights and output at the rate of a large copy, whichever takes longer.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self.rounds: list[list[float]] = []

    def __call__(self) -> None:
        if DEVICE == "cpu":
            self.rounds.append([_alone(call) for call in self.calls])

    @property
    def seconds(self) -> float:
        """0 where there is no such layer."""
        if DEVICE == "cuda":
            return sum(_bound(call) for call in self.calls)
        return sum(median(times) for times in zip(*self.rounds, strict=True))


def _alone(call: Call) -> float:
    inputs = [_made(each) for each in call.inputs]
    options = {name: _made(each) for name, each in call.options.items()}
    call.layer(*inputs, **options)
    kept: list[Any] = []  # the result, until the clock has stopped
    return seconds(lambda: kept.append(call.layer(*inputs, **options)), wall)


def _made(given: Any) -> Any:
    if not isinstance(given, Layout):
        return given
    return torch.empty_strided(given.shape, given.stride, dtype=given.dtype, device=given.device).fill_(0.5)


def _bound(call: Call) -> float:
    return max(call.gflop / peak_gflops(), call.nbytes / 1e9 / copy_bandwidth())


@cache
def peak_gflops() -> float:
    """10⁹ operations a second of a large float16 product of matrices; best of ten."""
    left, right = torch.randn(2, SIDE, SIDE, device=DEVICE, dtype=torch.float16)
    torch.mm(left, right)
    return 2e-9 * SIDE**3 / min(seconds(lambda: torch.mm(left, right)) for _ in range(10))
