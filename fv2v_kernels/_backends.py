# SPDX-License-Identifier: Apache-2.0
"""Which kernel runs: by the tensors' device, by what this build has, and by what a caller asks for.

Kernels are looked for when they are first needed, not at import: until then CUDA stays untouched,
CUDA_VISIBLE_DEVICES may change and the process may fork.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from fv2v_kernels._native import INTERPRETED

# by device, preferred first; Triton's interpreter runs on CPU tensors, for tests only
BACKENDS = {
    "cpu": ("cpu", "reference", *(["triton"] if INTERPRETED else [])),
    "cuda": ("cuda", "triton", "reference"),
}

Kernel = Callable[..., Any]  # an operator's results by its inputs


class Table(dict[str, Kernel | None]):
    """An operator's kernels by backend, looked for when first asked for; None if absent."""

    def __init__(self, reference: Kernel, look: Callable[[str], Kernel | None]) -> None:
        super().__init__(reference=reference)
        self._look = look

    def __missing__(self, backend: str) -> Kernel | None:
        found = self[backend] = self._look(backend)
        return found


kernels: dict[str, Table] = {}  # by operator

_preferred: ContextVar[str | None] = ContextVar("preferred backend", default=None)
_preferred_last: str | None = None  # by any thread


def kernel_of(name: str, device: str, backend: str, gradient: bool) -> Kernel:
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
        kernel = kernels[name][each]
        if kernel is not None:
            return kernel
    raise ValueError(
        f"{name}: no {backend!r} kernel for {device} tensors; "
        f"this build has {', '.join(map(repr, available(name, device)))}"
    )


def available(name: str, device: str) -> list[str]:
    """The backends this build can run op `name` with on `device` ("cpu" or "cuda"), preferred first."""
    names = BACKENDS.get(device, ("reference",))
    return [backend for backend in names if kernels[name][backend] is not None]


def choose(backend: str | None) -> str:
    """An op's last argument: what the caller or `use_backend` asks for, or "" for the best one."""
    # torch.compile can look at a variable of a module, and compile again where it changes, but not at a
    # context variable
    preferred = _preferred_last if torch.compiler.is_compiling() else _preferred.get()
    return backend or preferred or ""


def preferred_backend() -> str | None:
    """The name that `use_backend` was given, inside its block; None outside.

    What is kept for later calls, a CUDA graph say, is valid for one such name alone: make it part of the key.
    """
    return _preferred.get()


@contextmanager
def use_backend(backend: str) -> Iterator[None]:
    """Run every op called inside the block with `backend`, a name from `BACKENDS`.

    For this thread, or this task of asyncio, and what copies its context (`contextvars`); other threads are
    left alone. Functions under `torch.compile` go by the block that was entered or left last in the process.
    An op's own argument `backend` goes before it. For tests, benches and bug reports.

    Raises:
        ValueError: by an op that is called inside, where this build has no such kernel for its tensors.
    """
    global _preferred_last
    before, token = _preferred_last, _preferred.set(backend)
    _preferred_last = backend
    try:
        yield
    finally:
        _preferred.reset(token)
        _preferred_last = before
