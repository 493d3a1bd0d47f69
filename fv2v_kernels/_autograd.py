# SPDX-License-Identifier: Apache-2.0
"""How operators are differentiated.

The gradient of an operator is an operator, whose kernels are as fast as the forward's. Everything beyond it,
second derivatives, forward mode and the transforms of `torch.func`, differentiates the reference, stock
PyTorch: right as far as that can be differentiated itself, and no faster.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad


def differentiable(
    operator: Callable[..., Any],
    tensors: int,
    gradient: Callable[..., Any],
    reference: Callable[..., Any],
) -> Callable[..., Any]:
    """An operator's kernel for PyTorch's autograd.

    Args:
        operator: what is below it, by the schema's arguments, of which the first `tensors` are tensors.
        gradient: the gradient operator.
        reference: the same as the operator, to be differentiated by PyTorch.
    """

    class Recorded(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            ctx.save_for_backward(*args[:tensors])
            *ctx.options, ctx.backend = args[tensors:]
            return beneath(operator, args)

        @staticmethod
        def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
            needed = list(ctx.needs_input_grad[:tensors])
            found = as_tuple(gradient(*upstream, *ctx.saved_tensors, *ctx.options, needed, ctx.backend))
            cast = (
                each.to(tensor.dtype) if need else None
                for each, tensor, need in zip(found, ctx.saved_tensors, needed, strict=True)
            )
            return *cast, *(None for _ in ctx.options), None

    def run(*args: Any) -> Any:
        if _transformed(args):
            return reference(*args)
        return Recorded.apply(*args) if _records(args) else beneath(operator, args)

    return run


def twice_differentiable(operator: Callable[..., Any], reference: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a gradient operator; `reference` may be differentiated any number of times."""

    def run(*args: Any) -> Any:
        return reference(*args) if _transformed(args) or _records(args) else beneath(operator, args)

    return run


def beneath(operator: Callable[..., Any], args: Sequence[Any]) -> Any:
    with torch._C._AutoDispatchBelowAutograd():
        return operator(*args)


def _records(args: Sequence[Any]) -> bool:
    """Whether autograd records what is done with these arguments."""
    return torch.is_grad_enabled() and any(isinstance(each, Tensor) and each.requires_grad for each in args)


def _transformed(args: Sequence[Any]) -> bool:
    """Whether `torch.func` or forward mode differentiates, which know nothing of an operator's gradient."""
    active = torch._C._are_functorch_transforms_active()
    return active or any(
        isinstance(each, Tensor) and forward_ad.unpack_dual(each).tangent is not None for each in args
    )


def reference_gradients(
    function: Callable[..., Any], inputs: Sequence[Any], upstream: Sequence[Tensor], needed: Sequence[bool]
) -> Sequence[Tensor]:
    """Gradients of `function(*inputs)` in the needed ones of its tensors, by PyTorch's own autograd.

    Where autograd records, they can be differentiated in inputs and upstream gradients again.
    """
    again = _records((*inputs, *upstream))
    # under a TorchDispatchMode (a FLOP counter, opcheck) operators run with autograd masked out
    unmasked = torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutogradFunctionality, False)
    with unmasked, torch.enable_grad():

        def own(tensor: Tensor, need: bool) -> Tensor:
            """A tensor of this call alone: the same one may stand twice, or one be made of another."""
            if again and tensor.requires_grad:
                return tensor.view_as(tensor)
            return tensor.detach().requires_grad_(need)

        tensors = [
            own(each, need) if isinstance(each, Tensor) else each
            for each, need in zip(inputs, needed, strict=False)
        ]
        results = as_tuple(function(*tensors, *inputs[len(needed) :]))
        asked = [pair for pair in zip(results, upstream, strict=True) if pair[0].requires_grad]
        wanted = [tensor for tensor, need in zip(tensors, needed, strict=True) if need]
        if not wanted:
            return ()
        outputs, grads = zip(*asked, strict=True) if asked else ((), ())
        return torch.autograd.grad(outputs, wanted, grads, create_graph=again, materialize_grads=True)


def as_tuple(results: Any) -> tuple[Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)
