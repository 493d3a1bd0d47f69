# SPDX-License-Identifier: Apache-2.0
"""Calls of operators that nobody should make: what `python hostile_calls.py CASES LOG OPERATOR ...` does, in
a process of its own, which a kernel that trusts too much would end.

Every case starts as a call that fits and is spoilt here and there: axes, dtypes, layouts, options, devices.
It has to raise a Python error, or to return what the reference does.

Without an affine, kernels multiply by the identity, so that an infinite driving keypoint is NaN along the
other axes (0 · ∞); the reference does not multiply. Of such calls it is given the identity, and agrees.
"""

import inspect
import random
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from torch import Tensor

import fv2v_kernels

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
POINTS = ("grid", "kp_source", "kp_driving", "affine")
NUMBERS = {  # that fit, and that don't
    "mask_threshold": ((0.0, 2.0), (float("nan"), float("inf"), -1.0)),
    "variance": ((0.01, 0.3), (0.0, -1.0, float("nan"))),
    "temperature": ((0.1, 1.0), (0.0, -1.0, float("nan"))),
    "eps": ((1e-5, 0.1), (float("nan"), float("inf"))),
    "negative_slope": ((0.0, 0.2, 1.0), (-3.0, 100.0)),
}
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-3, torch.float16: 3e-2, torch.bfloat16: 2e-1}


def shapes(op: str, rng: random.Random) -> dict[str, tuple[int, ...] | None]:
    """Of an operator's tensors, by name, that fit together."""
    B, K, C, D, H, W, N = (rng.choice((1, 2, 3, 5)) for _ in range(7))
    k, r, batch = rng.choice((1, 3)), rng.choice((3, 7)), rng.choice((1, B))
    wide = [size * (1 + rng.choice((0, 1))) for size in (H, W)]
    found: dict[str, tuple[int, ...] | None] = {
        "features": (batch, C, D, H, W),
        "grid": (B, *(rng.choice((0, 1, 4)) for _ in range(3)), 3),
        **dict.fromkeys(("kp_source", "kp_driving"), (B, K, 3)),
        "affine": rng.choice((None, (B, 3, 3), (B, K, 3, 3))),
        "mask_logits": (B, K + 1, D, H, W),
        "mask_taps": (B, rng.choice((1, 3, 5)), K + 1, D, H, W),
        "logits": (B, K, D, H, W),
        "jacobian_maps": rng.choice((None, (B, 9 * K, D, H, W))),
        "gamma": (B, C, H, W),
        "beta": (B, C, H, W),
        "x": (B, C, H, W) if op == "modulate" else (B, C, D, H, W),
        "weight": (N, C, k, r, r),
        "bias": (N,),
        "addend": rng.choice((None, (B, N, D, *wide))),
    }
    return found


def _resized(tensor: Tensor, rng: random.Random) -> Tensor:
    shape = list(tensor.shape) or [1]
    axis = rng.randrange(len(shape))
    shape[axis] = rng.choice((0, 1, shape[axis] + 1, max(shape[axis] - 1, 0), 64))
    return torch.rand(shape).to(tensor.dtype)


def _expanded(tensor: Tensor, rng: random.Random) -> Tensor:
    """Much larger than its memory."""
    shape = [1] * tensor.dim()
    if shape:
        shape[rng.randrange(len(shape))] = rng.choice((7, 2**33, 2**62))
    return tensor.new_ones([1] * tensor.dim()).expand(shape)


def _is_bare(tensor: Tensor) -> bool:
    """PyTorch itself ends the process where it copies such a tensor, to spoil it further say."""
    return not tensor.is_meta and tensor.numel() > 0 and not tensor.untyped_storage().nbytes()


def _without_memory(tensor: Tensor, rng: random.Random) -> Tensor:
    bare = tensor.clone()
    bare.untyped_storage().resize_(0)
    return bare


SPOILT: dict[str, Callable[[Tensor, random.Random], Any]] = {
    "resized": _resized,
    "fewer dimensions": lambda tensor, rng: (
        tensor[0] if tensor.dim() and len(tensor) else tensor.new_ones(())
    ),
    "more dimensions": lambda tensor, rng: tensor[None],
    "many dimensions": lambda tensor, rng: tensor.reshape(*tensor.shape, *[1] * 8),
    "transposed": lambda tensor, rng: tensor.mT if tensor.dim() > 1 else tensor,
    "innermost first": lambda tensor, rng: tensor.movedim(-1, 0) if tensor.dim() else tensor,
    "expanded": _expanded,
    "of another type": lambda tensor, rng: tensor.to(rng.choice((*FLOATS, torch.int32, torch.complex64))),
    "elsewhere": lambda tensor, rng: tensor.to("meta"),
    "sparse": lambda tensor, rng: tensor.to_sparse(),
    "absent": lambda tensor, rng: None,
    "recorded": lambda tensor, rng: tensor.clone().requires_grad_(tensor.is_floating_point()),
    "without memory": _without_memory,
    "empty": lambda tensor, rng: tensor.new_empty(0),
    "with steps": lambda tensor, rng: torch.stack((tensor, tensor), -1)[..., 0],
    "strays": lambda tensor, rng: (
        torch.where(torch.rand_like(tensor) < 0.1, float("inf"), tensor)
        if tensor.is_floating_point()
        else tensor
    ),
}


def arguments(overload: Any, op: str, rng: random.Random) -> dict[str, Any]:
    """By name, that fit."""
    sizes, dtype = shapes(op, rng), rng.choice(FLOATS)
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    made: dict[str, Any] = {}
    for each in overload._schema.arguments:
        kind = str(each.type)
        if "Tensor" in kind:
            shape = sizes.get(each.name)
            if shape is None:
                made[each.name] = None
                continue
            numbers = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
            made[each.name] = numbers.to(wide if each.name in POINTS else dtype)
        elif kind == "bool":
            made[each.name] = rng.random() < 0.5
        elif kind == "float":
            made[each.name] = rng.choice(NUMBERS[each.name][rng.random() < 0.1])
        elif each.name == "size":
            made[each.name] = [rng.choice((1, 2, 5)) for _ in range(rng.choice((3, 3, 3, 2)))]
            if rng.random() < 0.1:
                made[each.name][0] = rng.choice((0, -1, 2**62))
    if made.get("channels_last") and op == "winograd_conv":
        made["x"] = made["x"].contiguous(memory_format=torch.channels_last_3d)
    return made


def upstream(op: str, given: dict[str, Any], generator: torch.Generator) -> list[Tensor]:
    results = getattr(torch.ops.fv2v, op).default(*given.values(), "reference")
    results = results if isinstance(results, tuple) else (results,)
    return [
        torch.rand(each.shape, generator=generator, dtype=torch.float64).to(each.dtype) for each in results
    ]


def calls(
    op: str, way: str, number: int, spoils: list[tuple[int, str]], asked: int
) -> tuple[Callable[[str], Any], str]:
    """call(backend), and what it is."""
    rng = random.Random(number)
    torch.manual_seed(number)
    overload = getattr(torch.ops.fv2v, op).default
    given = arguments(overload, op, rng)
    if op == "winograd_conv" and way != "public" and rng.random() < 0.8:  # as its public function lays out
        for name, inner in (("x", 1), ("addend", 1), ("weight", 0)):
            if given[name] is not None:
                given[name] = given[name].movedim(inner, -1).contiguous().movedim(-1, inner)
    grads: list[Tensor] = []
    if way == "backward":
        try:
            grads = upstream(op, given, torch.Generator().manual_seed(number))
        except (ValueError, RuntimeError, TypeError, IndexError):  # some options fit nothing
            grads = [torch.rand(1)] * len(overload._schema.returns)
    names, values = [*[""] * len(grads), *given], [*grads, *given.values()]
    tensors = [i for i, each in enumerate(values) if isinstance(each, Tensor)]
    infinite = False
    for which, kind in spoils:
        if kind == "strays" and op == "winograd_conv":  # its tiles share what is infinite
            continue
        if kind == "without memory" and op == "winograd_conv" and way == "public":
            continue  # it copies what lies otherwise, by PyTorch, which ends the process
        at = tensors[which % len(tensors)]
        infinite |= kind == "strays" and names[at] == "kp_driving" and given["affine"] is None
        if isinstance(values[at], Tensor):
            if values[at].layout is torch.strided and _is_bare(values[at]):
                continue
            with suppress(RuntimeError, NotImplementedError):  # what is spoilt may not be spoilt further
                values[at] = SPOILT[kind](values[at], rng)
    described = ", ".join(
        f"{tuple(each.shape)} {each.dtype}" if isinstance(each, Tensor) else repr(each) for each in values
    )
    explicit = list(values)  # with the identity, for the reference
    if infinite and isinstance(points := values[names.index("kp_driving")], Tensor) and points.dim():
        explicit[names.index("affine")] = torch.eye(3, dtype=points.dtype).expand(len(points), 3, 3)
    told = {"reference": explicit}
    if way == "backward":
        takes = [each.name for each in overload._schema.arguments if "Tensor" in str(each.type)]
        needed = [bool(asked >> i & 1) for i in range(len(takes) if asked < 60 else len(takes) - 1)]
        if infinite and len(needed) > takes.index("affine"):
            needed[takes.index("affine")] = False  # of which there is no gradient where there is none
        target = getattr(torch.ops.fv2v, f"{op}_backward").default
        return lambda backend: target(*told.get(backend, values), needed, backend), described
    if way == "raw":
        return lambda backend: overload(*told.get(backend, values), backend), described
    function = getattr(fv2v_kernels, op)
    takes = [name for name in given if name in inspect.signature(function).parameters]
    options: dict[str, Any] = {}
    if "memory_format" in inspect.signature(function).parameters:
        options["memory_format"] = (torch.contiguous_format, torch.channels_last_3d)[asked % 2]

    def call(backend: str) -> Any:
        named = dict(zip(given, told.get(backend, values), strict=True))
        return function(**{name: named[name] for name in takes}, **options, backend=backend or None)

    return call, described


def check(call: Callable[[str], Any]) -> bool:
    """Whether it returned anything, which was the reference's result then."""
    try:
        found = call("")
    except (
        ValueError,
        TypeError,
        RuntimeError,
        MemoryError,
        NotImplementedError,
        IndexError,
        AttributeError,
    ):
        return False
    expected = call("reference")
    for one, other in zip(
        *(each if isinstance(each, tuple) else (each,) for each in (found, expected)), strict=True
    ):
        if other is None or other.is_meta:
            continue
        assert one.shape == other.shape
        bound = TOLERANCE[other.dtype]
        finite = other.detach().double().nan_to_num(0, 0, 0).abs()
        scale = float(finite.max()) if finite.numel() else 0.0
        torch.testing.assert_close(
            one.double(), other.double(), rtol=bound, atol=bound * max(scale, 1e-3), equal_nan=True
        )
    return True


def run(op: str, count: int, log: Path) -> None:
    returned = 0

    @seed(0)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        way=st.sampled_from(("public", "raw", "raw", "backward")),
        number=st.integers(0, 2**31),
        spoils=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(sorted(SPOILT))), max_size=2),
        asked=st.integers(0, 63),
    )
    def one(way: str, number: int, spoils: list[tuple[int, str]], asked: int) -> None:
        nonlocal returned
        call, described = calls(op, way, number, spoils, asked)
        log.write_text(f"{op} {way} {number} {spoils} {asked}: {described}")
        returned += check(call)

    one()
    print(f"{op}: {returned} of {count} returned")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.use_deterministic_algorithms(True, warn_only=True)  # what a kernel leaves unwritten is NaN
    for name in sys.argv[3:]:
        run(name, int(sys.argv[1]), Path(sys.argv[2]))
