# SPDX-License-Identifier: Apache-2.0
"""An operator's results and gradients, and how far they may stray from the float64 ones.

A bound is never tuned by hand: a kernel may stray from the float64 result a few times as far as stock PyTorch
does in the same dtype.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Inputs(NamedTuple):
    tensors: tuple[Tensor | None, ...]  # in the schema's order, batch first
    options: dict[str, Any]  # by keyword, in the schema's order

    def map(self, function: Callable[[Tensor], Tensor]) -> "Inputs":
        tensors = tuple(t if t is None else function(t) for t in self.tensors)
        return self._replace(tensors=tensors)


def outputs(function: Callable[..., Any], inputs: Inputs) -> tuple[Tensor, ...]:
    """Those that were asked for."""
    out = function(*inputs.tensors, **inputs.options)
    return tuple(each for each in out if each is not None) if isinstance(out, tuple) else (out,)


def like_outputs(function: Callable[..., Any], inputs: Inputs) -> list[Tensor]:
    """A seeded gradient for each output."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return [
            torch.randn(out.shape, generator=generator).to(out.device, out.dtype)
            for out in outputs(function, inputs)
        ]


def gradients(
    function: Callable[..., Any],
    inputs: Inputs,
    upstream: list[Tensor],
    needed: tuple[bool, ...] | None = None,
) -> list[Tensor]:
    """In each tensor that is not None, or only in the `needed` ones of these."""
    given = [t for t in inputs.tensors if t is not None]
    needed = needed or (True,) * len(given)
    marks = iter(needed)
    leaves = inputs.map(lambda t: t.detach().requires_grad_(next(marks)))
    wanted = [t for t in leaves.tensors if t is not None and t.requires_grad]
    return list(torch.autograd.grad(outputs(function, leaves), wanted, upstream))


def assert_as_accurate(
    actual: Tensor,
    plain: Tensor,
    exact: Tensor,
    slack: float,
    what: str = "out",
    elsewhere: Callable[[], float] | None = None,
) -> None:
    """`actual` may stray from `exact` at most `slack` times as far as stock PyTorch does.

    `exact` is the reference in float64 and `plain` the reference in the dtype under test: the bound follows
    the dtype and the problem. Nothing wider judges float64, so there the bound is rounding alone. Or it is
    how far stock PyTorch may stray `elsewhere`, where that is further: see `PerturbationBound`. Only
    what strays further than stock PyTorch does here asks for it.
    """
    assert actual.shape == exact.shape, f"{what}: expected {tuple(exact.shape)}, got {tuple(actual.shape)}"
    assert actual.dtype == plain.dtype, f"{what}: expected {plain.dtype}, got {actual.dtype}"
    if actual.numel() == 0:
        return
    smallest = torch.finfo(actual.dtype).smallest_normal  # numbers below it lie no closer than those above
    rounding = float(_unit(actual.dtype) * exact.abs().max().clamp(min=smallest))
    # a stock result that is exact by luck, in a small tensor, counts as off by half a unit in the last place
    allowed = slack * max(distance(plain, exact), rounding / 2) + rounding
    error = distance(actual, exact)
    if elsewhere and not error <= allowed:
        allowed = max(allowed, slack * elsewhere() + rounding)
    assert error <= allowed, f"{what}: off by {error:.2e}, allowed {allowed:.2e}"  # NaN fails, too


def distance(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0


def _unit(dtype: torch.dtype) -> float:
    """One rounding; in float64 as many as a kernel may take."""
    return (256 if dtype == torch.float64 else 1) * torch.finfo(dtype).eps


class PerturbationBound:
    """How far stock PyTorch strays on problems posed a little otherwise.

    A number that hangs on a difference, a sum or a power has an error of the size of their terms, and one
    sample of it says little: in a tensor of a few such numbers stock PyTorch comes out nearly exact once in a
    while, by luck of its roundings, where nobody can be sure to be. So it runs again, `PROBLEMS` times, every
    number a rounding larger or smaller: how far it strays there is doubt, and so is what that changes. And
    float64 is judged by float32, where stock PyTorch strays as many roundings, each 2^29 times as large.
    """

    PROBLEMS = 16  # were one run nearly exact every other time, all would be once in 65,536 times

    def __init__(self, inputs: Inputs, dtype: torch.dtype) -> None:
        self.inputs, self.wide = inputs, dtype == torch.float64

    def __call__(self, run: Callable[[Inputs], Sequence[Tensor]], i: int) -> float:
        """Of result `i` of `run`."""
        generator = torch.Generator().manual_seed(2)
        exact = run(self.inputs.map(Tensor.double))[i]
        rounding = _unit(torch.float64 if self.wide else torch.float32)
        most = 0.0
        for _ in range(self.PROBLEMS):
            moved = run(self.inputs.map(lambda t: _moved(t, rounding, generator)))[i]
            again = self.inputs.map(lambda t: self._narrow(t, generator))
            strays = distance(run(again)[i], run(again.map(Tensor.double))[i])
            most = max(most, distance(exact, moved), strays * (2.0**-29 if self.wide else 1))
        return most

    def _narrow(self, tensor: Tensor, generator: torch.Generator) -> Tensor:
        """Moved by a rounding of the dtype it then has."""
        dtype = torch.float32 if self.wide else tensor.dtype
        return _moved(tensor, torch.finfo(dtype).eps, generator).to(dtype)


def _moved(tensor: Tensor, by: float, generator: torch.Generator) -> Tensor:
    signs = 1 - 2 * torch.randint(2, tensor.shape, generator=generator)
    return tensor.double() * (1 + by * signs)
