"""One operator, several kernels.

`define` registers a schema with PyTorch once, with one fake and one gradient, so autograd, torch.compile
and torch.export see the same operator whichever kernel runs it. The kernel is named by the op's last
argument and never by global state: backward runs later, often on another thread, and must find the kernel
its forward used.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

# by device, preferred first; Triton's interpreter runs on CPU tensors, for tests only
BACKENDS = {
    "cpu": ("cpu", "reference", *(["triton"] if INTERPRETED else [])),
    "cuda": ("cuda", "triton", "reference"),
}

_library = torch.library.Library("fv2v", "DEF")
_kernels: dict[str, dict[str, Callable[..., Any]]] = {}
_preferred: str | None = None


def define(
    schema: str,
    *,
    kernels: Mapping[str, Callable[..., Any] | None],
    fake: Callable[..., Any],
    setup_context: Callable[..., None] | None = None,
    backward: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Register `fv2v::<schema>`, whose last argument is `str backend`.

    Args:
        schema: without defaults: an argument that equals its default is dropped before autograd sees it.
        kernels: one function a backend; None marks one that this build lacks.
        fake: the outputs' shapes and dtypes, for tracing.
        setup_context, backward: as `torch.library.register_autograd` takes them.
    """
    name = schema.partition("(")[0]
    table = _kernels[name] = {backend: kernel for backend, kernel in kernels.items() if kernel}

    def run(*args: Any) -> Any:
        *inputs, backend = args
        return (table.get(backend) or table[_next_with_kernel(name, backend)])(*inputs)

    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"fv2v::{name}", fake, lib=_library)
    if backward:
        torch.library.register_autograd(f"fv2v::{name}", backward, setup_context=setup_context, lib=_library)
    return getattr(torch.ops.fv2v, name).default


def _next_with_kernel(name: str, backend: str) -> str:
    """Where a backend has a forward and no backward, the gradient takes the next backend that has one."""
    order = next(names for names in BACKENDS.values() if backend in names)
    return next(other for other in order[order.index(backend) :] if other in _kernels[name])


def available(name: str, device: str) -> list[str]:
    """The backends this build can run op `name` with on `device` ("cpu" or "cuda"), preferred first."""
    return [backend for backend in BACKENDS.get(device, ("reference",)) if backend in _kernels[name]]


def choose(name: str, device: torch.device, backend: str | None) -> str:
    """The backend asked for, by argument or by `use_backend`; otherwise the best one present.

    Raises:
        ValueError: this build has no such kernel for tensors of that device.
    """
    present = available(name, device.type)
    wanted = backend or _preferred or present[0]
    if wanted not in present:
        raise ValueError(
            f"{name}: no {wanted!r} kernel for {device.type} tensors; "
            f"this build has {', '.join(map(repr, present))}"
        )
    return wanted


@contextmanager
def use_backend(backend: str) -> Iterator[None]:
    """Prefer `backend` for every op called inside the block: for tests, benches and bug reports."""
    global _preferred
    previous, _preferred = _preferred, backend
    try:
        yield
    finally:
        _preferred = previous


def reference_gradients(
    function: Callable[..., Any], inputs: Sequence[Any], grad_outputs: Sequence[Tensor]
) -> list[Tensor]:
    """Gradients of `function(*inputs)` in each of its tensors, by PyTorch's own autograd."""
    # under a TorchDispatchMode (a FLOP counter, opcheck) operators run with autograd masked out
    unmasked = torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutogradFunctionality, False)
    with unmasked, torch.enable_grad():
        leaves = [value.detach().requires_grad_() if isinstance(value, Tensor) else value for value in inputs]
        outputs = function(*leaves)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        return list(torch.autograd.grad(outputs, tensors, grad_outputs, materialize_grads=True))


def refuse_nondeterministic(name: str, backend: str) -> None:
    """A sum by atomics under `torch.use_deterministic_algorithms`: refused or warned of, as PyTorch does."""
    message = (
        f"{name} ({backend}) has no deterministic implementation of the features' gradient, but you set "
        "'torch.use_deterministic_algorithms(True)'. Turn determinism off just for this operation, use its "
        "'warn_only=True' option, or compute this gradient on the CPU."
    )
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        raise RuntimeError(message)
    warnings.warn(message, stacklevel=3)
