# SPDX-License-Identifier: Apache-2.0
"""The inputs of a model's convolutions and linear layers, and the number of their operations."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fv2v.engine import CONVOLUTIONS
from fv2v.engine.passes.convolution import products


class Layout(NamedTuple):
    """A tensor's layout, without its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


class Call(NamedTuple):
    """One run of a layer."""

    name: str  # with dots, from the model down
    layer: nn.Module
    inputs: tuple[Any, ...]  # a Layout for each tensor, anything else unchanged
    options: dict[str, Any]  # likewise
    output: Layout
    gflop: float  # 10⁹ operations, two for a multiplication with its addition

    @property
    def nbytes(self) -> int:
        """Moved at least: inputs and weights read, the output written."""
        given = (*self.inputs, *self.options.values())
        read = sum(each.nbytes for each in given if isinstance(each, Layout))
        return read + sum(weight.nbytes for weight in self.layer.parameters()) + self.output.nbytes


@contextmanager
def recorded(model: nn.Module) -> Iterator[list[Call]]:
    """Every run of a layer of `CONVOLUTIONS` in `model`, in order; of nested layers only the outer."""
    calls: list[Call] = []

    def record(name: str, layer: nn.Module, inputs: Any, options: Any, output: Tensor) -> None:
        given = tuple(_layout(each) for each in inputs)
        named = {key: _layout(each) for key, each in options.items()}
        calls.append(Call(name, layer, given, named, _layout(output), 2e-9 * products(layer, output)))

    handles = [
        layer.register_forward_hook(partial(record, name), with_kwargs=True)
        for name, layer in _outermost(model, "")
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _outermost(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(module, CONVOLUTIONS):
        yield name, module
        return
    for below, child in module.named_children():
        yield from _outermost(child, f"{name}.{below}" if name else below)


def _layout(given: Any) -> Any:
    if not isinstance(given, Tensor):
        return given
    return Layout(tuple(given.shape), given.stride(), given.dtype, given.device)
