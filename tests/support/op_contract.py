# SPDX-License-Identifier: Apache-2.0
"""What every operator must pass on every backend: `class TestWarp3d(OpContract): op = Op(...)`.

Bounds are those of accuracy.py. Memory is poisoned with NaN by the fixture in conftest.py.
"""

import itertools
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from accuracy import Inputs, assert_as_accurate, gradients, like_outputs, outputs
from layouts import CHANNELS_LAST, UNEVEN, channels_last
from torch import Tensor
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode

from fv2v_kernels import BACKENDS, available
from fv2v_kernels._native import INTERPRETED

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
PLACES = tuple((device, backend) for device in BACKENDS for backend in BACKENDS[device])  # all there could be
PLACES_HERE = tuple(place for place in PLACES if place[0] == "cpu" or torch.cuda.is_available())
READ = ("warp_candidates", "warp3d", "compose_warp", "mask_head")  # PyTorch has no forward mode for these
THREADED = (("cpu", "cpu"), ("cpu", "reference"))  # those whose threads may add in any order


@dataclass(frozen=True, kw_only=True)
class Op:
    name: str
    function: Callable[..., Any]  # what people call
    make: Callable[..., Inputs]  # make(dtype, **cases[name]): seeded, on the CPU
    cases: Mapping[str, Mapping[str, Any]]
    smooth: Mapping[str, Mapping[str, Any]]  # small cases, for gradcheck: `make` keeps off their kinks
    plain: str  # the case for tests that need only one
    resized: str  # the plain case in other sizes: torch.compile must serve both with one graph
    busy: str  # a case with work for several threads
    dtypes: tuple[torch.dtype, ...] = FLOATS

    @property
    def reference(self) -> Callable[..., Any]:
        return partial(self.function, backend="reference")

    def inputs(self, case: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Inputs:
        return self.make(dtype, **self.cases[case]).map(lambda t: t.to(device))


def require(name: str, device: str, backend: str) -> None:
    """Skip what this build lacks, saying why; fail where Linux on x86-64 lacks its own CPU kernels."""
    if backend not in available(name, device):
        message = f"this build has no {backend} kernel of {name} for {device} tensors"
        if backend == "cpu" and (platform.system(), platform.machine()) == ("Linux", "x86_64"):
            pytest.fail(f"{message}: build it with `python setup.py build_ext --inplace`")
        pytest.skip(message)


def assert_matches(
    op: Op,
    backend: str,
    inputs: Inputs,
    arrange: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    backward: bool = True,
) -> None:
    """Outputs and gradients against the reference; `arrange` lays out the inputs and incoming gradients."""
    function = partial(op.function, backend=backend)
    arranged = inputs.map(arrange)
    both = outputs(op.reference, arranged), outputs(op.reference, inputs.map(Tensor.double))
    for i, each in enumerate(zip(outputs(function, arranged), *both, strict=True)):
        assert_as_accurate(*each, slack=2, what=f"output {i}")
        assert_same_format(*each[:2])
    if backward:
        upstream = like_outputs(op.reference, inputs)
        actual = gradients(function, arranged, [arrange(grad) for grad in upstream])
        assert_gradients_match(op, actual, inputs, upstream)


def assert_same_format(actual: Tensor, expected: Tensor) -> None:
    """Contiguous or channels-last, as asked."""
    for order in (torch.contiguous_format, CHANNELS_LAST.get(expected.dim(), torch.contiguous_format)):
        assert actual.is_contiguous(memory_format=order) >= expected.is_contiguous(memory_format=order)


def assert_gradients_match(op: Op, actual: list[Tensor], inputs: Inputs, upstream: list[Tensor]) -> None:
    plain = gradients(op.reference, inputs, upstream)
    exact = gradients(op.reference, inputs.map(Tensor.double), [grad.double() for grad in upstream])
    for i, each in enumerate(zip(actual, plain, exact, strict=True)):
        assert_as_accurate(*each, slack=4, what=f"gradient {i}")


@contextmanager
def refusal_allowed(device: str) -> Iterator[None]:
    """On a GPU a sum by atomics may refuse strict determinism, as PyTorch's own do."""
    try:
        yield
    except RuntimeError as refusal:
        if device == "cpu" or "deterministic" not in str(refusal):
            raise


class Recorder(TorchDispatchMode):
    """Keeps the arguments of the last call of one operator."""

    def __init__(self, target: Any) -> None:
        super().__init__()
        self.target, self.args = target, ()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is self.target:
            self.args = tuple(arg.detach() if isinstance(arg, Tensor) else arg for arg in args)
        return func(*args, **(kwargs or {}))


@pytest.mark.contract
class OpContract:
    """Marked, so that `pytest -k contract` selects it, with what an operator's own tests add to it."""

    op: Op

    def gradients(self, place: tuple[str, str], inputs: Inputs, upstream: Tensor) -> list[Tensor]:
        """Of `upstream` in every tensor, on the CPU, for what an operator's own tests look at."""
        device, backend = place
        function = partial(self.op.function, backend=backend)
        grads = gradients(function, inputs.map(lambda t: t.to(device)), [upstream.to(device)])
        return [grad.cpu() for grad in grads]

    def test_matches_the_reference(self, place, dtype, case):
        device, backend = place
        assert_matches(self.op, backend, self.op.inputs(case, device, dtype), backward=False)

    def test_gradients_match_the_reference(self, place, dtype, case):
        """As people run it: default mode, where kernels on a GPU may use atomics."""
        device, backend = place
        torch.use_deterministic_algorithms(False)
        assert_matches(self.op, backend, self.op.inputs(case, device, dtype))

    def test_deterministic_gradients(self, place, case):
        """Under strict determinism: the same bits twice, none unwritten; or a refusal in PyTorch's words."""
        device, backend = place
        inputs = self.op.inputs(case, device)
        function = partial(self.op.function, backend=backend)
        upstream = like_outputs(self.op.reference, inputs)
        torch.use_deterministic_algorithms(True)
        with refusal_allowed(device):
            first, second = (gradients(function, inputs, upstream) for _ in range(2))
            for one, other in zip(first, second, strict=True):
                assert torch.equal(one, other)
            assert_gradients_match(self.op, first, inputs, upstream)

    def test_every_subset_of_gradients(self, place):
        """A gradient does not depend on which others were asked for."""
        device, backend = place
        inputs = self.op.inputs(self.op.plain, device)
        function = partial(self.op.function, backend=backend)
        upstream = like_outputs(self.op.reference, inputs)
        together = gradients(function, inputs, upstream)
        for needed in itertools.product((True, False), repeat=len(together)):
            if any(needed):
                alone = iter(gradients(function, inputs, upstream, needed))
                for expected, wanted in zip(together, needed, strict=True):
                    if wanted:
                        torch.testing.assert_close(next(alone), expected)

    def test_gradcheck(self, place, smooth_case):
        device, backend = place
        inputs = self.op.make(torch.float64, **self.op.smooth[smooth_case])
        inputs = inputs.map(lambda t: t.to(device).requires_grad_())
        function = partial(self.op.function, **inputs.options, backend=backend)
        tolerance = 1e-12 if device == "cuda" else 0  # atomics add in any order on a GPU
        assert torch.autograd.gradcheck(
            function, inputs.tensors, nondet_tol=tolerance, fast_mode=backend == "triton" and INTERPRETED
        )

    def test_second_derivatives(self, place):
        """By finite differences of the gradients, which are then those of stock PyTorch."""
        device, backend = place
        inputs = self.op.make(torch.float64, **next(iter(self.op.smooth.values())))
        inputs = inputs.map(lambda t: t.to(device).requires_grad_())
        function = partial(self.op.function, **inputs.options, backend=backend)
        assert torch.autograd.gradgradcheck(function, inputs.tensors, fast_mode=True)

    def test_a_penalty_of_gradients(self, place):
        """What is made of a kernel's gradients has the gradients that stock PyTorch gives it."""
        device, backend = place
        inputs = self.op.inputs(self.op.plain, device, torch.float64)

        def penalty(backend: str) -> tuple[Tensor, ...]:
            leaves = inputs.map(lambda t: t.clone().requires_grad_())
            total = sum(
                out.square().sum() for out in outputs(partial(self.op.function, backend=backend), leaves)
            )
            given = [t for t in leaves.tensors if t is not None]
            first = torch.autograd.grad(total, given, create_graph=True)
            return torch.autograd.grad(sum(grad.square().sum() for grad in first), given)

        for ours, stock in zip(penalty(backend), penalty("reference"), strict=True):
            assert stock.abs().max() > 0
            torch.testing.assert_close(ours, stock)

    def test_function_transforms(self, place):
        """`torch.func`: right, or a clear error, never zeros."""
        device, backend = place
        inputs = self.op.inputs(self.op.plain, device, torch.float64)
        given = tuple(t for t in inputs.tensors if t is not None)

        def function(*tensors: Tensor) -> tuple[Tensor, ...]:
            rest = iter(tensors)
            return outputs(partial(self.op.function, backend=backend), inputs.map(lambda _: next(rest)))

        results = function(*given)
        upstream = tuple(like_outputs(self.op.reference, inputs))
        plain = gradients(partial(self.op.function, backend=backend), inputs, list(upstream))
        transformed = torch.func.vjp(function, *given)[1](upstream)
        for ours, expected in zip(transformed, plain, strict=True):
            torch.testing.assert_close(ours, expected)
        moved = tuple(torch.randn_like(t) for t in given)
        if self.op.name in READ:
            with pytest.raises(NotImplementedError, match="forward AD with grid_sampler_3d"):
                torch.func.jvp(function, given, moved)
        else:
            tangents = torch.func.jvp(function, given, moved)[1]
            along = sum((grad * each).sum() for grad, each in zip(plain, moved, strict=True))
            pulled = sum((tangent * each).sum() for tangent, each in zip(tangents, upstream, strict=True))
            torch.testing.assert_close(pulled, along)
        together = torch.vmap(function)(*(torch.stack((t, t)) for t in given))
        for ours, expected in zip(together, results, strict=True):
            torch.testing.assert_close(ours[1], expected)

    def test_schema_and_fake_tell_the_truth(self, place, dtype):
        device, backend = place
        inputs = self.op.inputs(self.op.plain, device, dtype)
        with Recorder(self._overload()) as recorder:
            outputs(partial(self.op.function, backend=backend), inputs)
        leaves = (arg.requires_grad_() if isinstance(arg, Tensor) else arg for arg in recorder.args)
        opcheck(recorder.target, tuple(leaves))

    def test_backward_schema_and_fake_tell_the_truth(self, place, dtype):
        device, backend = place
        inputs = self.op.inputs(self.op.plain, device, dtype)
        upstream = like_outputs(self.op.reference, inputs)
        with Recorder(self._overload("_backward")) as recorder:
            gradients(partial(self.op.function, backend=backend), inputs, upstream)
        assert recorder.args
        opcheck(recorder.target, recorder.args)

    def _overload(self, suffix: str = "") -> Any:
        return getattr(torch.ops.fv2v, self.op.name + suffix).default

    def test_compiles_whole_for_any_size(self, place):
        """One graph, forward and backward, serves both sizes."""
        device, backend = place
        self._compile_and_compare(device, backend, "aot_eager")

    def test_compiles_with_inductor(self):
        device, backend = "cpu", available(self.op.name, "cpu")[0]
        self._compile_and_compare(device, backend, "inductor")

    def _compile_and_compare(self, device: str, backend: str, compiler: str) -> None:
        def function(*tensors: Tensor | None, **options: Any) -> tuple[Tensor, ...]:
            out = self.op.function(*tensors, **options, backend=backend)
            return tuple(2 * each.relu() for each in (out if isinstance(out, tuple) else (out,)))

        torch.compiler.reset()
        compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=compiler)
        for case in (self.op.plain, self.op.resized):
            inputs = self.op.inputs(case, device)
            upstream = like_outputs(function, inputs)
            with torch._dynamo.config.patch(error_on_recompile=case == self.op.resized):
                actual = *outputs(compiled, inputs), *gradients(compiled, inputs, upstream)
            expected = *outputs(function, inputs), *gradients(function, inputs, upstream)
            for each in zip(actual, expected, strict=True):
                torch.testing.assert_close(*each)

    def test_takes_any_strides(self, place, dtype, layout):
        """Inputs and incoming gradients; what is read channels-last is written so, too, where one can ask."""
        device, backend = place
        inputs = self.op.inputs(self.op.plain, device, dtype)
        if layout is channels_last and "memory_format" in inputs.options:
            inputs = inputs._replace(options=inputs.options | {"memory_format": torch.channels_last_3d})
        assert_matches(self.op, backend, inputs, arrange=layout)

    def test_refuses_other_dtypes(self):
        """What the contract does not cover does not exist."""
        inputs = self.op.inputs(self.op.plain)
        for dtype in {*FLOATS, torch.int32, torch.complex64, torch.bool} - {*self.op.dtypes}:
            with pytest.raises(TypeError, match=f"^{self.op.name}: expected .* got {dtype}"):
                self.op.function(*inputs.map(lambda t, to=dtype: t.to(to)).tensors, **inputs.options)

    def test_takes_channels_last_throughout(self, place, dtype):
        """Every input and result: where channels divide, kernels read and write several at a time."""
        device, backend = place
        inputs = self.op.inputs(self.op.busy, device, dtype)
        last = {"memory_format": torch.channels_last_3d}
        options = inputs.options | {name: last[name] for name in inputs.options if name in last}
        assert_matches(self.op, backend, inputs._replace(options=options), arrange=channels_last)

    def test_takes_uneven_channels_last(self, place):
        """Vectors of channels that start, or go on, where no vector may be read."""
        device, backend = place
        inputs = self.op.inputs(self.op.busy, device, self.op.dtypes[1])
        if "memory_format" in inputs.options:
            inputs = inputs._replace(options=inputs.options | {"memory_format": torch.channels_last_3d})
        for uneven in UNEVEN:
            assert_matches(self.op, backend, inputs, arrange=uneven)

    def test_takes_an_expanded_gradient(self, place):
        """`out.sum().backward()` sends one number with strides of 0."""
        device, backend = place
        inputs = self.op.inputs(self.op.plain, device)
        function = partial(self.op.function, backend=backend)
        dense = [torch.ones_like(out) for out in outputs(function, inputs)]
        expanded = [grad.new_ones(()).expand(grad.shape) for grad in dense]
        for each in zip(
            gradients(function, inputs, expanded), gradients(function, inputs, dense), strict=True
        ):
            torch.testing.assert_close(*each)

    def test_empty_batch(self, place):
        device, backend = place
        inputs = self.op.inputs(self.op.plain, device).map(lambda t: t[:0])
        full = outputs(self.op.reference, self.op.inputs(self.op.plain))
        function = partial(self.op.function, backend=backend)
        results = outputs(function, inputs)
        assert [out.shape for out in results] == [(0, *out.shape[1:]) for out in full]
        grads = gradients(function, inputs, list(results))
        assert [g.shape for g in grads] == [t.shape for t in inputs.tensors if t is not None]

    def test_same_bits_every_run(self, threaded_place):
        device, backend = threaded_place
        inputs = self.op.inputs(self.op.busy, device)
        function = partial(self.op.function, backend=backend)
        upstream = like_outputs(self.op.reference, inputs)
        before = torch.get_num_threads()
        try:
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                runs = [
                    (*outputs(function, inputs), *gradients(function, inputs, upstream)) for _ in range(3)
                ]
                for each in zip(*runs, strict=True):
                    assert all(torch.equal(each[0], other) for other in each[1:]), f"{threads} threads"
        finally:
            torch.set_num_threads(before)

    def test_leaves_its_inputs_alone(self, place):
        device, backend = place
        inputs = self.op.inputs(self.op.plain, device)
        copies = inputs.map(torch.clone)
        function = partial(self.op.function, backend=backend)
        gradients(function, inputs, like_outputs(self.op.reference, inputs))
        for each, copy in zip(inputs.tensors, copies.tensors, strict=True):
            assert each is copy or torch.equal(each, copy)

    def test_an_unknown_backend_is_named(self):
        inputs = self.op.inputs(self.op.plain)
        with pytest.raises(
            ValueError, match=rf"^{self.op.name}: no 'gpu' kernel for cpu tensors; this build"
        ):
            self.op.function(*inputs.tensors, **inputs.options, backend="gpu")
