# SPDX-License-Identifier: Apache-2.0
"""Batches of B things that are described by several tensors: a row of each tensor describes one of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor

Some = TypeVar("Some", bound="Batched")


@dataclass(frozen=True, slots=True)
class Batched:
    """Base of frozen dataclasses whose fields are tensors (B, ...), tuples of such, Batched, or None.

    The first field is never None.
    """

    def __len__(self) -> int:
        """B."""
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self: Some, rows: slice) -> Some:
        """Some of the rows: `motion[2:3]`."""
        return _each(lambda tensor: tensor[rows], self)

    def to(self: Some, device: torch.device | str, dtype: torch.dtype | None = None) -> Some:
        """On `device`; `dtype=None` leaves each tensor in its own."""
        return _each(lambda tensor: tensor.to(device=device, dtype=dtype), self)

    def repeat(self: Some, times: int) -> Some:
        """Every row `times` over, its copies side by side: B rows become B * times."""
        return _each(lambda tensor: tensor.repeat_interleave(times, dim=0), self)

    def columns(self: Some) -> Some:
        """For arithmetic with N points of each row: (B,) becomes (B, 1), (B, C) becomes (B, C, 1)."""
        return _each(lambda tensor: tensor.unsqueeze(-1), self)

    def where(self: Some, condition: Tensor, other: Some) -> Some:
        """Rows of `self` where `condition` (B,) is True, of `other` elsewhere, as `Tensor.where` has it."""

        def choose(own: Tensor, others: Tensor) -> Tensor:
            return own.where(condition.view(-1, *[1] * (others.dim() - 1)), others)

        return _each(choose, self, other)

    @classmethod
    def cat(cls: type[Some], parts: Sequence[Some]) -> Some:
        """The rows of all parts, one part after the other.

        Raises:
            ValueError: a field that is None in some parts, not in all.
        """
        return _each(lambda *tensors: torch.cat(tensors), *parts)


def _each(change: Callable[..., Tensor], *parts: Some) -> Some:
    """`change` of every tensor of the parts, which are of one class: one argument from each part."""
    changed: dict[str, Any] = {}
    for field in fields(parts[0]):
        values = [getattr(part, field.name) for part in parts]
        known = [value for value in values if value is not None]
        if len(known) not in (0, len(parts)):
            raise ValueError(f"expected {field.name} in all {len(parts)} parts or in none, got {len(known)}")
        changed[field.name] = _changed(change, values) if known else None
    return type(parts[0])(**changed)


def _changed(change: Callable[..., Tensor], values: Sequence[Any]) -> Any:
    """`change` of one field's values, none of them None."""
    if isinstance(values[0], Batched):
        return _each(change, *values)
    if isinstance(values[0], tuple):
        return tuple(change(*each) for each in zip(*values, strict=True))
    return change(*values)
