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
    elsewhere: float = 0,
) -> None:
    """`actual` may stray from `exact` at most `slack` times as far as stock PyTorch does.

    `exact` is the reference in float64 and `plain` the reference in the dtype under test: the bound follows
    the dtype and the problem. Nothing wider judges float64, so there the bound is rounding alone. Or it is
    how far stock PyTorch may stray `elsewhere`, where that is further: see `Doubt`.
    """
    assert actual.shape == exact.shape, f"{what}: expected {tuple(exact.shape)}, got {tuple(actual.shape)}"
    assert actual.dtype == plain.dtype, f"{what}: expected {plain.dtype}, got {actual.dtype}"
    if actual.numel() == 0:
        return
    smallest = torch.finfo(actual.dtype).smallest_normal  # numbers below it lie no closer than those above
    rounding = float(_unit(actual.dtype) * exact.abs().max().clamp(min=smallest))
    # a stock result that is exact by luck, in a small tensor, counts as off by half a unit in the last place
    allowed = slack * max(distance(plain, exact), rounding / 2, elsewhere) + rounding
    error = distance(actual, exact)
    assert error <= allowed, f"{what}: off by {error:.2e}, allowed {allowed:.2e}"  # NaN fails, too


def distance(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0


def _unit(dtype: torch.dtype) -> float:
    """One rounding; in float64 as many as a kernel may take."""
    return (256 if dtype == torch.float64 else 1) * torch.finfo(dtype).eps


class Doubt:
    """How far stock PyTorch strays on a problem posed a little otherwise.

    Of a few numbers that hang on a difference or a power it can be right by luck where nobody can be sure to
    be. So it runs again, every number a rounding larger or smaller; what that changes is doubt, too. And
    float64 is judged by float32, where stock PyTorch strays as many roundings, each 2^29 times as large.
    """

    def __init__(self, inputs: Inputs, dtype: torch.dtype) -> None:
        generator = torch.Generator().manual_seed(2)

        def moved(tensor: Tensor, by: float) -> Tensor:
            signs = 1 - 2 * torch.randint(2, tensor.shape, generator=generator)
            return tensor.double() * (1 + by * signs)

        wide = dtype == torch.float64
        rounding = _unit(torch.float64 if wide else torch.float32)
        again = inputs.map(
            lambda t: t.float() if wide else moved(t, torch.finfo(t.dtype).eps).to(t.dtype),
        )
        self.pairs = [
            (inputs.map(Tensor.double), inputs.map(lambda t: moved(t, rounding)), 1.0),
            (again, again.map(Tensor.double), 2.0**-29 if wide else 1.0),
        ]

    def __call__(self, run: Callable[[Inputs], Sequence[Tensor]]) -> list[float]:
        """By result of `run`."""
        found = [
            [ratio * distance(*each) for each in zip(run(one), run(other), strict=True)]
            for one, other, ratio in self.pairs
        ]
        return [max(each) for each in zip(*found, strict=True)]
