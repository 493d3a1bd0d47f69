# SPDX-License-Identifier: Apache-2.0
"""Layers of weights that are there already, which passes put in the place of trained ones.

They are made on the device "meta", where nothing is allocated or drawn at random. `torch.nn.utils.skip_init`
does so too, but imports parts of PyTorch's compiler, which takes longer than arranging a small model.
"""

from typing import Any, TypeVar

from torch import Tensor, nn

Conv = nn.Conv2d | nn.Conv3d
Kind = TypeVar("Kind", nn.Conv2d, nn.Conv3d)


def conv_of(kind: type[Kind], weight: Tensor, bias: Tensor | None, *, padding: Any) -> Kind:
    """A convolution of such weights."""
    made, read = weight.shape[:2]
    size: Any = tuple(weight.shape[2:])
    conv = kind(read, made, size, padding=padding, bias=bias is not None, device="meta", dtype=weight.dtype)
    conv.weight, conv.bias = frozen(weight), None if bias is None else frozen(bias)
    return conv


def linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A linear layer of weights (made, read)."""
    made, read = weight.shape
    linear = nn.Linear(read, made, device="meta", dtype=weight.dtype)
    linear.weight, linear.bias = frozen(weight), frozen(bias)
    return linear


def frozen(tensor: Tensor) -> nn.Parameter:
    """A weight that is not trained."""
    return nn.Parameter(tensor.detach(), requires_grad=False)
