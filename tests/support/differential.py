# SPDX-License-Identifier: Apache-2.0
"""Random calls of every operator, and their check against the reference: what test_differential.py runs.

A `Case` is all there is to a call, and its repr makes it again:

    python -c "from differential import *; check(Case(...), 'cpu')"        in this folder
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from accuracy import Inputs, PerturbationBound, assert_as_accurate, gradients, like_outputs, outputs
from keypoints import kink_distances, make_keypoints
from layouts import LAYOUTS
from modulation import make_modulation
from torch import Generator, Tensor, dtype

import fv2v_kernels
from fv2v_kernels.ops.mask_head import sum_taps

STRAYS = (torch.nan, torch.inf, -torch.inf, 1e10, -3e38)
KINK = 3e-5  # in voxels, or of a mask: rounding of float32, many times over


@dataclass(frozen=True)
class Case:
    op: str
    dtype: dtype
    made: dict[str, Any]  # what MAKERS[op] takes
    layouts: tuple[int, ...]  # in LAYOUTS, of the tensors, then of the incoming gradients
    needed: tuple[bool, ...]  # of the gradients
    seed: int

    def inputs(self) -> Inputs:
        """The first numbers from the seed on whose gradient does not hang on a rounding."""
        for attempt in range(1000):
            inputs = MAKERS[self.op](Generator().manual_seed(self.seed + attempt), self.dtype, **self.made)
            if inputs:
                return inputs
        raise RuntimeError(f"{self}: all numbers lie on kinks")


def check(case: Case, backend: str) -> None:
    """Results and gradients of one call, by the bounds of accuracy.py."""
    inputs = case.inputs()
    function, reference = (partial(_call, case.op, backend=name) for name in (backend, "reference"))
    doubt = PerturbationBound(inputs, case.dtype)
    arranged = inputs._replace(tensors=_arrange(inputs.tensors, case.layouts))
    _compare(
        "result", 2, doubt, inputs, outputs(function, arranged), lambda inputs: outputs(reference, inputs)
    )
    upstream = like_outputs(reference, inputs)
    given = sum(tensor is not None for tensor in inputs.tensors)
    needed = case.needed[:given] if any(case.needed[:given]) else (True,) * given

    def reference_gradients(inputs: Inputs) -> list[Tensor]:
        alike = zip(upstream, outputs(reference, inputs), strict=True)
        return gradients(reference, inputs, [grad.to(out.dtype) for grad, out in alike], needed)

    actual = gradients(function, arranged, _arrange(upstream, case.layouts[::-1]), needed)
    _compare("gradient", 4, doubt, inputs, actual, reference_gradients)


def _compare(
    what: str,
    slack: float,
    doubt: PerturbationBound,
    inputs: Inputs,
    actual: Sequence[Tensor],
    run: Callable[[Inputs], Sequence[Tensor]],
) -> None:
    both = run(inputs), run(inputs.map(Tensor.double))
    for i, each in enumerate(zip(actual, *both, strict=True)):
        assert_as_accurate(*each, slack, f"{what} {i}", partial(doubt, run, i))


def _call(op: str, *tensors: Tensor | None, **options: Any) -> Any:
    if op == "soft_argmax3d":
        tensors, options = tensors[:1], {**options, "jacobian_maps": tensors[1]}
    return getattr(fv2v_kernels, op)(*tensors, **options)


def _arrange(tensors: Sequence[Tensor | None], layouts: Sequence[int]) -> tuple[Tensor | None, ...]:
    return tuple(
        tensor if tensor is None else LAYOUTS[layout](tensor)
        for tensor, layout in zip(tensors, layouts, strict=False)
    )


def _features(rng: Generator, dtype: dtype, batch: int, channels: int, size: Sequence[int]) -> Tensor:
    return torch.randn(batch, channels, *size, generator=rng).to(dtype)


def _points(
    rng: Generator, dtype: dtype, batch: int, keypoints: int, affine: str, reach: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    source, driving, matrix = make_keypoints(dtype, batch, keypoints, affine, rng)
    return reach * source, reach * driving, matrix


def _bends(points: Tensor, size: Sequence[int], align_corners: bool) -> bool:
    """Whether a point is on a kink. An axis of one voxel has none between its corners: all read there."""
    distances = kink_distances(points, size, align_corners)
    if align_corners:
        distances = distances[..., torch.tensor(size[::-1]) > 1]
    return bool((distances < KINK).any())


def keypoint_flow(rng: Generator, dtype: dtype, *, size: Sequence[int], points: dict[str, Any]) -> Inputs:
    return Inputs(_points(rng, dtype, **points), {"size": size})


def warp_candidates(
    rng: Generator,
    dtype: dtype,
    *,
    volume: dict[str, Any],
    points: dict[str, Any],
    **options: Any,
) -> Inputs | None:
    features, (source, driving, affine) = _features(rng, dtype, **volume), _points(rng, dtype, **points)
    flows = fv2v_kernels.keypoint_flow(source, driving, affine, size=volume["size"], backend="reference")
    if _bends(flows[:, 1:], volume["size"], options["align_corners"]):  # no keypoint moves flow 0
        return None
    return Inputs((features, source, driving, affine), options)


def compose_flow(
    rng: Generator,
    dtype: dtype,
    *,
    size: Sequence[int],
    points: dict[str, Any],
    contrast: float,
    **options: Any,
) -> Inputs | None:
    shape = points["batch"], points["keypoints"] + 1, *size
    logits = (contrast * torch.randn(shape, generator=rng)).to(dtype)
    mask = logits.double().softmax(1)
    threshold = options["mask_threshold"]
    if threshold and ((mask - threshold).abs() < KINK).any():
        return None
    return Inputs((logits, *_points(rng, dtype, **points)), options)


def compose_warp(
    rng: Generator,
    dtype: dtype,
    *,
    volume: dict[str, Any],
    points: dict[str, Any],
    contrast: float,
    align_corners: bool,
    return_flow: bool,
    memory_format: torch.memory_format,
    **options: Any,
) -> Inputs | None:
    size = volume["size"]
    blend = compose_flow(rng, dtype, size=size, points=points, contrast=contrast, **options)
    if blend is None:
        return None
    flow, *_ = outputs(partial(_call, "compose_flow", backend="reference"), blend)
    # 0 is the middle of the lattice where a threshold leaves the background alone: no input moves it
    if _bends(flow.where(flow != 0, torch.nan), size, align_corners):
        return None
    options |= {"return_flow": return_flow, "align_corners": align_corners, "memory_format": memory_format}
    return Inputs((_features(rng, dtype, **volume), *blend.tensors), options)


def mask_head(
    rng: Generator,
    dtype: dtype,
    *,
    taps: int,
    volume: dict[str, Any],
    points: dict[str, Any],
    contrast: float,
    mask_threshold: float,
    **options: Any,
) -> Inputs | None:
    shape = points["batch"], taps, points["keypoints"] + 1, *volume["size"]
    parts = (contrast / taps**0.5 * torch.randn(shape, generator=rng)).to(dtype)
    moved = _points(rng, dtype, **points)
    logits, *wide = Inputs((sum_taps(parts.double()), *moved), {}).map(Tensor.double).tensors
    flow = fv2v_kernels.compose_flow(logits, *wide, mask_threshold=mask_threshold, backend="reference")
    if mask_threshold and ((logits.softmax(1) - mask_threshold).abs() < KINK).any():
        return None
    if _bends(flow.where(flow != 0, torch.nan), volume["size"], options["align_corners"]):
        return None
    features = _features(rng, dtype, **volume)
    return Inputs((features, parts, *moved), {"mask_threshold": mask_threshold, **options})


def warp3d(
    rng: Generator,
    dtype: dtype,
    *,
    volume: dict[str, Any],
    batch: int,
    grid: Sequence[int],
    align_corners: bool,
    on_voxels: bool,
    strays: bool,
    memory_format: torch.memory_format,
) -> Inputs:
    """Reads up to two voxels outside; a thousandth of a voxel off every centre, or right on them.

    With `strays` one coordinate in ten is far out, or no number.
    """
    n = torch.tensor(volume["size"][::-1], dtype=torch.float64)
    scale, shift = ((n - 1).clamp(min=1) / 2, 0) if align_corners else (n / 2, 0.5)
    shape = batch, *grid, 3
    voxel = (torch.rand(shape, generator=rng) * (n + 3)).floor() - 2
    if not on_voxels:
        voxel += 0.001 + 0.998 * torch.rand(shape, generator=rng)
    points = (voxel + shift) / scale - 1
    if strays:
        which = torch.randint(10 * len(STRAYS), shape, generator=rng)
        for i, value in enumerate(STRAYS):
            points[which == i] = value
    points = points.to(torch.float64 if dtype == torch.float64 else torch.float32)
    options = {"align_corners": align_corners, "memory_format": memory_format}
    return Inputs((_features(rng, dtype, **volume), points), options)


def soft_argmax3d(
    rng: Generator,
    dtype: dtype,
    *,
    batch: int,
    keypoints: int,
    size: Sequence[int],
    maps: bool,
    contrast: float,
    temperature: float,
) -> Inputs:
    logits = (contrast * temperature * torch.randn(batch, keypoints, *size, generator=rng)).to(dtype)
    jacobians = torch.randn(batch, 9 * keypoints, *size, generator=rng).to(dtype) if maps else None
    return Inputs((logits, jacobians), {"temperature": temperature})


def modulate(
    rng: Generator,
    dtype: dtype,
    *,
    batch: int,
    channels: int,
    size: Sequence[int],
    offset: float,
    eps: float,
    negative_slope: float,
) -> Inputs:
    tensors = make_modulation(rng, dtype, (batch, channels, *size), offset, eps)
    return Inputs(tensors, {"eps": eps, "negative_slope": negative_slope})


MAKERS: dict[str, Callable[..., Inputs | None]] = {
    each.__name__: each
    for each in (
        keypoint_flow, warp_candidates, compose_flow, warp3d, compose_warp, mask_head, soft_argmax3d,
        modulate,
    )
}  # fmt: skip
