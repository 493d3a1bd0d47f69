# SPDX-License-Identifier: Apache-2.0
"""One operator, several kernels.

`define` registers a schema with PyTorch once, with one fake and one gradient, so autograd, torch.compile
and torch.export see the same operator whichever kernel runs it. The op's last argument names the backend
("": the first that the tensors' device has here), and global state never does: backward runs later, often on
another thread, and must find the kernel its forward used. Kernels are looked for when they are first needed,
not at import: until then CUDA stays untouched, CUDA_VISIBLE_DEVICES may change and the process may fork.

The gradient of an operator is an operator too, whose schema follows:

    f(Tensor a, Tensor? b, float c, str backend) -> (Tensor u, Tensor v)
    f_backward(Tensor grad_u, Tensor grad_v, Tensor a, Tensor? b, float c, bool[] needed, str backend)
        -> (Tensor, Tensor)        the gradients of a and b; those not needed, and that of None, are empty
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fv2v_kernels._native import INTERPRETED, find

# by device, preferred first; Triton's interpreter runs on CPU tensors, for tests only
BACKENDS = {
    "cpu": ("cpu", "reference", *(["triton"] if INTERPRETED else [])),
    "cuda": ("cuda", "triton", "reference"),
}

Kernel = Callable[..., Any]  # an operator's results by its inputs

_library = torch.library.Library("fv2v", "DEF")
_kernels: dict[str, "_Table"] = {}  # by operator
_preferred: str | None = None


class _Table(dict[str, Kernel | None]):
    """An operator's kernels by backend, looked for when first asked for; None if absent."""

    def __init__(self, reference: Kernel, look: Callable[[str], Kernel | None]) -> None:
        super().__init__(reference=reference)
        self._look = look

    def __missing__(self, backend: str) -> Kernel | None:
        found = self[backend] = self._look(backend)
        return found


def define(
    schema: str,
    *,
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
    grads = [f"Tensor grad_{result.partition(' ')[2] or 'out'}" for result in results]

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
        found = iter(_autograd(reference, inputs, upstream, needed))
        empty, order = fake_backward(*args), gradient_format(*args)
        return tuple(
            next(found).to(each.dtype).contiguous(memory_format=order) if need else each
            for each, need in zip(empty, needed, strict=True)
        )

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[: len(tensors)])
        *ctx.options, ctx.backend = inputs[len(tensors) :]

    def run_backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        needed = list(ctx.needs_input_grad[: len(tensors)])
        found = _as_tuple(gradient(*upstream, *ctx.saved_tensors, *ctx.options, needed, ctx.backend))
        cast = (
            each.to(tensor.dtype) if need else None
            for each, tensor, need in zip(found, ctx.saved_tensors, needed, strict=True)
        )
        return *cast, *(None for _ in ctx.options), None

    def look(backend: str) -> Kernel | None:
        kernel = find(name, backend)
        return partial(_fill, kernel, fake) if kernel else None

    def look_backward(backend: str) -> Kernel | None:
        if backward:
            return partial(_composed, backward, backend) if _kernels[name][backend] else None
        kernel = find(f"{name}_backward", backend)
        if kernel is None:
            return None
        filled = partial(_fill_gradients, kernel, fake_backward)
        if ordered is None or backend == "cpu":  # whose kernels add in a fixed order anyway
            return filled
        return partial(_unless_deterministic, filled, ordered)

    _kernels[name] = _Table(reference, look)
    _kernels[f"{name}_backward"] = _Table(reference_backward, look_backward)
    forward = _register(name, arguments, results, fake)
    gradient = _register(
        f"{name}_backward",
        [*grads, *arguments, "bool[] needed"],
        ["Tensor" for _ in tensors],
        fake_backward,
        gradient=True,
    )
    torch.library.register_autograd(f"fv2v::{name}", run_backward, setup_context=setup_context, lib=_library)
    return forward


def _register(
    name: str,
    arguments: Sequence[str],
    results: Sequence[str],
    fake: Callable[..., Any],
    *,
    gradient: bool = False,
) -> Callable[..., Any]:
    """One schema and one fake; which kernel runs, the tensors' device and the last argument decide."""

    def run(*args: Any) -> Any:
        *inputs, backend = args
        return _as_schema(_kernel(name, inputs[0].device.type, backend, gradient)(*inputs))

    schema = f"{name}({', '.join(arguments)}, str backend) -> ({', '.join(results)})"
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"fv2v::{name}", lambda *args: _as_schema(fake(*args[:-1])), lib=_library)
    return getattr(torch.ops.fv2v, name).default


def _kernel(name: str, device: str, backend: str, gradient: bool) -> Kernel:
    """That of the backend, or of the first that has one where it is "".

    Where a backend has a forward and no backward, the gradient takes the next backend that has one.

    Raises:
        ValueError: this build has no such kernel for tensors of that device.
    """
    names = BACKENDS.get(device, ("reference",))
    if gradient and backend in names:
        names = names[names.index(backend) :]
    elif backend:
        names = (backend,) if backend in names else ()
    for each in names:
        kernel = _kernels[name][each]
        if kernel is not None:
            return kernel
    raise ValueError(
        f"{name}: no {backend!r} kernel for {device} tensors; "
        f"this build has {', '.join(map(repr, available(name, device)))}"
    )


def _fill(kernel: Callable[..., None], fake: Callable[..., Any], *inputs: Any) -> Any:
    """What a kernel that fills its outputs puts into those of the fake."""
    outputs = fake(*inputs)
    kernel(*_as_tuple(outputs), *inputs)
    return outputs


def _fill_gradients(kernel: Callable[..., None], fake: Callable[..., Any], *inputs: Any) -> Any:
    """The same of a gradient. Which ones are `needed` the kernel sees by what is not empty."""
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


def _as_tuple(results: Any) -> tuple[Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)


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


def _autograd(
    function: Callable[..., Any], inputs: Sequence[Any], upstream: Sequence[Tensor], needed: Sequence[bool]
) -> Sequence[Tensor]:
    """Gradients of `function(*inputs)` in the needed ones of its tensors, by PyTorch's own autograd."""
    # under a TorchDispatchMode (a FLOP counter, opcheck) operators run with autograd masked out
    unmasked = torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutogradFunctionality, False)
    with unmasked, torch.enable_grad():
        tensors = [
            each.detach().requires_grad_(need) if isinstance(each, Tensor) else each
            for each, need in zip(inputs, needed, strict=False)
        ]
        results = _as_tuple(function(*tensors, *inputs[len(needed) :]))
        asked = [pair for pair in zip(results, upstream, strict=True) if pair[0].requires_grad]
        wanted = [tensor for tensor, need in zip(tensors, needed, strict=True) if need]
        outputs, grads = zip(*asked, strict=True) if asked else ((), ())
        return torch.autograd.grad(outputs, wanted, grads, materialize_grads=True) if wanted else ()


def available(name: str, device: str) -> list[str]:
    """The backends this build can run op `name` with on `device` ("cpu" or "cuda"), preferred first."""
    names = BACKENDS.get(device, ("reference",))
    return [backend for backend in names if _kernels[name][backend] is not None]


def choose(backend: str | None) -> str:
    """An op's last argument: what the caller or `use_backend` asks for, or "" for the best one."""
    return backend or _preferred or ""


def preferred_backend() -> str | None:
    """The name that `use_backend` was given, inside its block; None outside.

    What is kept for later calls, a CUDA graph say, is valid for one such name alone: make it part of the key.
    """
    return _preferred


@contextmanager
def use_backend(backend: str) -> Iterator[None]:
    """Run every op called inside the block, by whichever thread, with `backend`, a name from `BACKENDS`.

    An op's own argument `backend` goes before it. For tests, benches and bug reports.

    Raises:
        ValueError: by an op that is called inside, where this build has no such kernel for its tensors.
    """
    global _preferred
    previous, _preferred = _preferred, backend
    try:
        yield
    finally:
        _preferred = previous
