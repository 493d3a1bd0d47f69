"""What the convolutions and linear layers of a model are given, and how much arithmetic that is."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fv2v.engine import CONVOLUTIONS


class Place(NamedTuple):
    """Where and how a tensor lies, without its numbers."""

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
    inputs: tuple[Any, ...]  # a Place for each tensor, anything else as it was given
    output: Place

    @property
    def gflop(self) -> float:
        """10⁹ operations, two for a multiplication with its addition; an output number takes a channel's weights."""
        return 2e-9 * prod(self.output.shape) * prod(_weight(self.layer).shape[1:])

    @property
    def nbytes(self) -> int:
        """Moved at the least: inputs and weights read, the output written."""
        read = sum(each.nbytes for each in self.inputs if isinstance(each, Place))
        return read + _weight(self.layer).nbytes + self.output.nbytes


@contextmanager
def recorded(model: nn.Module) -> Iterator[list[Call]]:
    """Every run of a layer of `CONVOLUTIONS` in `model`, in order; of layers in one another the outer."""
    calls: list[Call] = []

    def record(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        seen = tuple(_place(each) if isinstance(each, Tensor) else each for each in inputs)
        calls.append(Call(name, layer, seen, _place(output)))

    handles = [
        layer.register_forward_hook(lambda each, given, out, name=name: record(name, each, given, out))
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


def _place(tensor: Tensor) -> Place:
    return Place(tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)


def _weight(layer: Any) -> Tensor:
    """(C', C, …): its own output channels first."""
    weight: Tensor = layer.weight
    return weight
