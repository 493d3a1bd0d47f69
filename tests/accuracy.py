"""An operator's results and gradients, and how far they may stray from the float64 ones.

A bound is never tuned by hand: a kernel may stray from the float64 result a few times as far as stock PyTorch
does in the same dtype.
"""

from collections.abc import Callable
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


def assert_as_accurate(actual: Tensor, plain: Tensor, exact: Tensor, slack: float, what: str = "out") -> None:
    """`actual` may stray from `exact` at most `slack` times as far as stock PyTorch does.

    `exact` is the reference in float64 and `plain` the reference in the dtype under test: the bound follows
    the dtype and the problem. Nothing wider judges float64, so there the bound is rounding alone.
    """
    assert actual.shape == exact.shape, f"{what}: expected {tuple(exact.shape)}, got {tuple(actual.shape)}"
    assert actual.dtype == plain.dtype, f"{what}: expected {plain.dtype}, got {actual.dtype}"
    if actual.numel() == 0:
        return
    eps = torch.finfo(actual.dtype).eps
    rounding = (256 if actual.dtype == torch.float64 else 1) * eps * exact.abs().max()
    # a stock result that is exact by luck, in a small tensor, counts as off by half a unit in the last place
    stock = max((plain.double() - exact).abs().max(), rounding / 2)
    allowed = slack * stock + rounding
    error = (actual.double() - exact).abs().max()
    assert error <= allowed, f"{what}: off by {error:.2e}, allowed {allowed:.2e}"  # NaN fails, too
