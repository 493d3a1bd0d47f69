# SPDX-License-Identifier: Apache-2.0
"""Choosing a backend: by argument, by `use_backend`, by what this build has; and which the gradient takes."""

import subprocess
import sys
import threading
from contextvars import copy_context

import pytest
import torch
from torch import Tensor

from fv2v.io.prefetch import Prefetch
from fv2v_kernels import BACKENDS, OPS, available, use_backend, warp3d
from fv2v_kernels._backends import choose, kernels
from fv2v_kernels._native import INTERPRETED
from fv2v_kernels._op import define

ran: list[str] = []  # which kernels of the throw-away operators were called, in order


def _reference(x: Tensor) -> Tensor:
    ran.append("reference")
    return 3 * x


def _on_the_cpu(x: Tensor) -> Tensor:
    ran.append("cpu")
    return 3 * x


# 3 x with a `cpu` kernel that has no backward of its own, and none built for `cuda`
_triple = define("test_triple(Tensor x) -> Tensor", shapes={}, reference=_reference, fake=torch.empty_like)
kernels["test_triple"]["cpu"] = _on_the_cpu


def triple(x: Tensor, backend: str | None = None) -> Tensor:
    return _triple(x, choose(backend))


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


def test_importing_the_operators_does_not_import_triton():
    code = (
        "import sys, torch; before = set(sys.modules); import fv2v_kernels; "
        "print(*[name for name in set(sys.modules) - before if 'triton' in name])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_available_lists_what_was_built_preferred_first():
    assert available("test_triple", "cpu") == ["cpu", "reference"]
    assert available("test_triple", "cuda") == ["reference"]
    assert available("test_triple_backward", "cpu") == ["reference"]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("device", BACKENDS)
def test_every_operator_has_its_reference_everywhere(op, device):
    present = available(op, device)
    assert "reference" in present
    assert present == [name for name in BACKENDS[device] if name in present]  # in order of preference


def test_triton_serves_cpu_tensors_only_when_interpreted():
    assert ("triton" in BACKENDS["cpu"]) == INTERPRETED
    assert available("warp3d", "cpu")[0] != "triton"


def test_without_a_choice_the_first_one_runs():
    assert triple(torch.ones(2)).tolist() == [3, 3]
    assert ran == ["cpu"]


def test_an_argument_chooses():
    triple(torch.ones(2), "reference")
    assert ran == ["reference"]


def test_use_backend_chooses_and_gives_back_even_after_an_error():
    def fails() -> None:
        with use_backend("reference"):
            triple(torch.ones(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    triple(torch.ones(2))
    assert ran == ["reference", "cpu"]


def test_use_backend_nests_and_the_argument_wins():
    with use_backend("reference"):
        with use_backend("cpu"):
            triple(torch.ones(2))
        triple(torch.ones(2))
        triple(torch.ones(2), "cpu")
    assert ran == ["cpu", "reference", "cpu"]


def test_use_backend_holds_for_its_thread_alone():
    """And for what copies its context, as a task does, and the threads of fv2v."""
    seen: dict[str, str] = {}

    def look(name: str) -> None:
        seen[name] = choose(None)

    with use_backend("reference"):
        for name, run in (("thread", look), ("copy", copy_context().run)):
            arguments = (name,) if run is look else (look, name)
            thread = threading.Thread(target=run, args=arguments)
            thread.start()
            thread.join()
        with Prefetch(map(look, ["ahead"]), 1) as ahead:
            next(ahead)
    assert seen == {"thread": "", "copy": "reference", "ahead": "reference"}


def test_compiled_functions_follow_use_backend():
    compiled = torch.compile(lambda x: triple(x) + 1, fullgraph=True, backend="eager")
    compiled(torch.ones(2))
    with use_backend("reference"):
        compiled(torch.ones(2))
    compiled(torch.ones(2))
    assert ran == ["cpu", "reference", "cpu"]


def test_a_backend_this_build_lacks_is_an_error_that_lists_the_others():
    message = r"^test_triple: no 'cuda' kernel for cpu tensors; this build has 'cpu', 'reference'$"
    with pytest.raises(ValueError, match=message):
        triple(torch.ones(2), "cuda")
    with use_backend("cuda"), pytest.raises(ValueError, match=message):
        triple(torch.ones(2))


def test_where_a_backend_has_no_backward_the_next_one_takes_it():
    x = torch.ones(2, requires_grad=True)
    triple(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3, 3]
    assert ran == ["cpu", "reference"]  # the gradient is PyTorch's own, of the reference


@pytest.mark.parametrize("chosen", ["reference", None])
def test_the_gradient_remembers_the_backend_of_its_forward(chosen):
    """Backward runs later, outside of the block that chose, or inside of another."""
    features = torch.randn(1, 2, 2, 3, 4, requires_grad=True)
    grid = torch.rand(1, 1, 2, 2, 3)
    out = warp3d(features, grid, align_corners=True, backend=chosen)
    recorded: list[str] = []

    class Spy(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.fv2v.warp3d_backward.default:
                recorded.append(args[-1])
            return func(*args, **(kwargs or {}))

    other = available("warp3d", "cpu")[0] if chosen else "reference"
    with Spy(), use_backend(other):
        out.sum().backward()
    assert recorded == [chosen or ""]  # "" is the best one, whatever `use_backend` says by then
