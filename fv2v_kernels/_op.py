# SPDX-License-Identifier: Apache-2.0
"""One operator, several kernels.

`define` registers a schema with PyTorch once, with one fake and one gradient, so autograd, torch.compile
and torch.export see the same operator whichever kernel runs it. The op's last argument names the backend
("": the first that the tensors' device has here), and global state never does: backward runs later, often on
another thread, and must find the kernel its forward used.

The gradient of an operator is an operator too, whose schema follows:

    f(Tensor a, Tensor? b, float c, str backend) -> (Tensor u, Tensor v)
    f_backward(Tensor grad_u, Tensor grad_v, Tensor a, Tensor? b, float c, bool[] needed, str backend)
        -> (Tensor, Tensor)        the gradients of a and b; those not needed, and that of None, are empty
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fv2v_kernels._autograd import as_tuple, differentiable, reference_gradients, twice_differentiable
from fv2v_kernels._backends import Kernel, Table, kernel_of, kernels
from fv2v_kernels._check import check_gradients, check_memory, check_same_device, check_shapes
from fv2v_kernels._native import find

_library = torch.library.Library("fv2v", "DEF")


def define(
    schema: str,
    *,
    shapes: Mapping[str, str],
    check: Callable[..., None] | None = None,
    reference: Callable[..., Any],
    fake: Callable[..., Any],
    summed: Sequence[str] = (),
    ordered: Callable[..., Tensor] | None = None,
    backward: Callable[..., tuple[Tensor, ...]] | None = None,
    channels_last_gradients: bool = False,
) -> Callable[..., Any]:
    """Register `fv2v::<schema>`, with one more argument `str backend`, and its gradient.

    Args:
        schema: tensors first; without defaults: an argument equal to its default is dropped before autograd
            sees it. Names of results name their gradients.
        shapes: of its tensors, as `check_shapes` reads them, in the order in which letters get their sizes.
        check: raises ValueError for what else does not fit, by the schema's arguments. Both are checked here,
            for the public function and for who goes past it, as an exported program does.
        reference: the operator in stock PyTorch, by the schema's arguments; its gradient is PyTorch's own.
        fake: empty results, by the schema's arguments: for tracing, and for compiled kernels to fill.
        summed: tensors whose gradient is a sum over many threads: kept in the coordinates' dtype.
        ordered: the first tensor's gradient, added in a fixed order, by the gradient operator's arguments up
            to `needed`: what GPU backends use under `torch.use_deterministic_algorithms`.
        backward: the gradient as a composition of other operators, by the gradient operator's arguments, for
            every backend but the reference; without it each backend has a kernel.
        channels_last_gradients: gradients are channels-last where the schema's last argument says so; else
            they are contiguous.
    """
    match = re.fullmatch(r"(\w+)\((.*)\) -> \(?(.*?)\)?", schema)
    assert match, schema
    name, arguments, results = match[1], match[2].split(", "), match[3].split(", ")
    tensors = [each.split()[1] for each in arguments if each.startswith("Tensor")]
    grads = [f"grad_{result.partition(' ')[2] or 'out'}" for result in results]

    required = [each.split()[1] for each in arguments if each.startswith("Tensor ")]

    def named(inputs: Sequence[Any]) -> dict[str, Tensor | None]:
        found = dict(zip(tensors, inputs, strict=False))
        absent = [each for each in required if found[each] is None]
        if absent:  # PyTorch lets None pass for a tensor
            raise TypeError(f"{name}: expected a tensor for {' and '.join(absent)}, got None")
        return found

    def check_inputs(*inputs: Any) -> dict[str, int]:
        sizes = check_shapes(name, shapes, named(inputs))
        if check:
            check(*inputs)
        return sizes

    def run(*args: Any) -> Any:
        *inputs, backend = args
        check_memory(name, named(inputs), check_inputs(*inputs))
        return _as_schema(kernel_of(name, inputs[0].device.type, backend, gradient=False)(*inputs))

    def run_fake(*args: Any) -> Any:
        inputs = args[:-1]
        check_inputs(*inputs)
        check_same_device(name, **named(inputs))  # a tensor on "meta" brings the others here
        return _as_schema(fake(*inputs))

    def run_reference(*args: Any) -> Any:
        check_inputs(*args[:-1])
        return _as_schema(reference(*args[:-1]))

    def check_backward(*args: Any) -> None:
        upstream, inputs, needed = args[: len(grads)], args[len(grads) : -1], args[-1]
        check_inputs(*inputs)
        check_same_device(f"{name}_backward", **dict(zip(grads, upstream, strict=True)), **named(inputs))
        shaped = as_tuple(fake(*(each.to("meta") if isinstance(each, Tensor) else each for each in inputs)))
        check_gradients(name, dict(zip(grads, zip(upstream, shaped, strict=True), strict=True)))
        if len(needed) != len(tensors) or any(
            need and each is None for each, need in zip(inputs, needed, strict=False)
        ):
            raise ValueError(f"{name}_backward: expected needed for {', '.join(tensors)}, got {needed}")

    def check_trusted(*args: Any) -> None:
        """Of a kernel alone: compositions may mix dtypes."""
        inputs = args[len(grads) : -1]
        check_memory(name, named(inputs), check_inputs(*inputs))

    def gradient_format(*args: Any) -> torch.memory_format:
        return torch.channels_last if channels_last_gradients and args[-2] else torch.contiguous_format

    def fake_backward(*args: Any) -> tuple[Tensor, ...]:
        given, needed = args[len(grads) : len(grads) + len(tensors)], args[-1]
        order = gradient_format(*args)
        return tuple(
            _empty_gradient(each, need, tensor in summed, order, like=args[0])
            for tensor, each, need in zip(tensors, given, needed, strict=True)
        )

    def reference_backward(*args: Any) -> tuple[Tensor, ...]:
        upstream, inputs, needed = args[: len(grads)], args[len(grads) : -1], args[-1]
        found = iter(reference_gradients(reference, inputs, upstream, needed))
        empty, order = fake_backward(*args), gradient_format(*args)
        return tuple(
            next(found).to(each.dtype).contiguous(memory_format=order) if need else each
            for each, need in zip(empty, needed, strict=True)
        )

    def run_backward(*args: Any) -> Any:
        *inputs, backend = args
        check_backward(*inputs)
        kernel = kernel_of(f"{name}_backward", inputs[0].device.type, backend, gradient=True)
        return _as_schema(kernel(*inputs))

    def look(backend: str) -> Kernel | None:
        kernel = find(name, backend)
        return partial(_fill, kernel, fake) if kernel else None

    def look_backward(backend: str) -> Kernel | None:
        if backward:
            return partial(_composed, backward, backend) if kernels[name][backend] else None
        kernel = find(f"{name}_backward", backend)
        if kernel is None:
            return None
        filled = partial(_fill_gradients, kernel, fake_backward, check_trusted)
        if ordered is None or backend == "cpu":  # whose kernels add in a fixed order anyway
            return filled
        return partial(_unless_deterministic, filled, ordered)

    kernels[name] = Table(reference, look)
    kernels[f"{name}_backward"] = Table(reference_backward, look_backward)
    gradient = _register(
        f"{name}_backward",
        [*(f"Tensor {grad}" for grad in grads), *arguments, "bool[] needed"],
        ["Tensor" for _ in tensors],
        run_backward,
        lambda *args: _as_schema(fake_backward(*args[:-1])),
        lambda operator: twice_differentiable(
            operator, lambda *args: _as_schema(reference_backward(*args[:-1]))
        ),
    )
    return _register(
        name,
        arguments,
        results,
        run,
        run_fake,
        lambda operator: differentiable(operator, len(tensors), gradient, run_reference),
    )


def _register(
    name: str,
    arguments: Sequence[str],
    results: Sequence[str],
    run: Callable[..., Any],
    fake: Callable[..., Any],
    differentiated: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> Callable[..., Any]:
    """One schema, one fake and one kernel for autograd; `run` finds the others."""
    schema = f"{name}({', '.join(arguments)}, str backend) -> ({', '.join(results)})"
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    operator = getattr(torch.ops.fv2v, name).default
    _library.impl(name, run, "CompositeExplicitAutograd")
    _library.impl(name, differentiated(operator), "Autograd")
    torch.library.register_fake(f"fv2v::{name}", fake, lib=_library)
    return operator


def _fill(kernel: Callable[..., None], fake: Callable[..., Any], *inputs: Any) -> Any:
    """What a kernel that fills its outputs puts into those of the fake."""
    outputs = fake(*inputs)
    kernel(*as_tuple(outputs), *inputs)
    return outputs


def _fill_gradients(
    kernel: Callable[..., None], fake: Callable[..., Any], check: Callable[..., None], *inputs: Any
) -> Any:
    """The same of a gradient. Which ones are `needed` the kernel sees by what is not empty."""
    check(*inputs)
    outputs = fake(*inputs)
    kernel(*outputs, *inputs[:-1])
    return outputs


def _composed(backward: Callable[..., Any], backend: str, *inputs: Any) -> Any:
    """The composition's gradients; those that are not needed are empty, as the fake's are."""
    found = zip(backward(*inputs, backend), inputs[-1], strict=True)
    return tuple(grad if need else inputs[0].new_empty(0) for grad, need in found)


def _unless_deterministic(kernel: Callable[..., Any], ordered: Callable[..., Tensor], *inputs: Any) -> Any:
    """The kernel; where determinism is asked of PyTorch, the first tensor's gradient is that of `ordered`."""
    *rest, needed = inputs
    if not (needed[0] and torch.are_deterministic_algorithms_enabled()):
        return kernel(*inputs)
    _, *others = kernel(*rest, [False, *needed[1:]])
    return ordered(*rest), *others


def _as_schema(results: Any) -> Any:
    """PyTorch reads `-> (Tensor)` as one tensor, not as a tuple of one."""
    return results[0] if isinstance(results, tuple) and len(results) == 1 else results


def _empty_gradient(
    tensor: Tensor | None, needed: bool, summed: bool, order: torch.memory_format, like: Tensor
) -> Tensor:
    if tensor is None or not needed:
        return like.new_empty(0)
    wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    dtype = wide if summed else tensor.dtype
    return torch.empty(tensor.shape, dtype=dtype, device=tensor.device, memory_format=order)
