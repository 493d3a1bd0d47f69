# SPDX-License-Identifier: Apache-2.0
"""fv2v's operators made of those that ONNX has: tables for `ExportedProgram.run_decompositions`.

They compute what the references in fv2v_kernels/ops/ do, with tensors of at most five dimensions, the limit
of some runtimes. Coordinates are added and multiplied element by element, never by a matrix product, which
some accelerators round to ten bits.

Two ways to read a volume at points: `grid_sample`, one GridSample node, which ONNX has in 3D since opset 20
and few runtimes beside onnxruntime's CPU provider serve; and `gather`, eight Gathers and arithmetic.
"""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from fv2v_kernels.ops import modulate
from fv2v_kernels.ops.keypoint_flow import lattice

OPSET = 20

Read = Callable[[Tensor, Tensor, bool], Tensor]


def decompositions(read: Read) -> dict[Any, Callable[..., Any]]:
    """For each operator the function that replaces it; `read` is `grid_sample` or `gather`."""

    def warp_candidates(
        features: Tensor,
        kp_source: Tensor,
        kp_driving: Tensor,
        affine: Tensor | None,
        align_corners: bool,
        variance: float,
        channels_last: bool,
        backend: str,
    ) -> Tensor:
        B, K, _ = kp_source.shape
        size = features.shape[2:]
        points = lattice(size, kp_source).flatten(0, 2)  # (N, 3)

        def gaussians(keypoints: Tensor) -> Tensor:
            distance = points - keypoints.unsqueeze(2)
            return torch.exp((distance * distance).sum(-1) / (-2 * variance))  # (B, K, N)

        flows = _flows(points, kp_source, kp_driving, affine)
        warped = read(features, flows.flatten(1, 2), align_corners)  # (B, C', (K+1) N)
        warped = warped.unflatten(2, (K + 1, -1)).transpose(1, 2)  # (B, K+1, C', N)
        difference = pad(gaussians(kp_driving) - gaussians(kp_source), (0, 0, 1, 0))  # flow 0 has none
        return torch.cat((difference.unsqueeze(2), warped), dim=2).reshape(B, -1, *size)

    def compose_warp(
        features: Tensor,
        mask_logits: Tensor,
        kp_source: Tensor,
        kp_driving: Tensor,
        affine: Tensor | None,
        align_corners: bool,
        mask_threshold: float,
        return_flow: bool,
        return_mask: bool,
        *_: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        points = lattice(mask_logits.shape[2:], kp_source).flatten(0, 2)
        mask = torch.softmax(mask_logits.flatten(2), dim=1)  # (B, K+1, N)
        if mask_threshold > 0:
            mask = torch.where(mask < mask_threshold, 0.0, mask)
        flow = (mask.unsqueeze(-1) * _flows(points, kp_source, kp_driving, affine)).sum(1)  # (B, N, 3)
        size = mask_logits.shape[2:]
        warped = read(features, flow, align_corners).unflatten(2, size)
        nothing = flow.new_empty(0)
        return (
            warped,
            flow.unflatten(1, size) if return_flow else nothing,
            mask.unflatten(2, size) if return_mask else nothing,
        )

    def warp3d(features: Tensor, flow: Tensor, align_corners: bool, *_: Any) -> Tensor:
        return read(features, flow.flatten(1, 3), align_corners).unflatten(2, flow.shape[1:4])

    fv2v = torch.ops.fv2v
    return {
        fv2v.warp_candidates.default: warp_candidates,
        fv2v.compose_warp.default: compose_warp,
        fv2v.warp3d.default: warp3d,
        fv2v.modulate.default: lambda *arguments: modulate.reference(*arguments[:-1]),
        # of a rotation's entries, which neither overflow nor vanish when squared
        torch.ops.aten.hypot.default: lambda x, y: (x * x + y * y).sqrt(),
    }


def grid_sample(features: Tensor, points: Tensor, align_corners: bool) -> Tensor:
    """features (B or 1, C, D, H, W) at points (B, M, 3) -> (B, C, M), zero outside: ONNX's GridSample."""
    B, M, _ = points.shape
    C = features.shape[1]
    sampled = torch.onnx.ops.symbolic(
        "GridSample",
        (features.expand(B, -1, -1, -1, -1), points.view(B, M, 1, 1, 3)),
        {"mode": "linear", "padding_mode": "zeros", "align_corners": int(align_corners)},
        dtype=features.dtype,
        shape=(B, C, M, 1, 1),
        version=OPSET,
    )
    return sampled.view(B, C, M)


def gather(features: Tensor, points: Tensor, align_corners: bool) -> Tensor:
    """As `grid_sample`, by arithmetic: the eight voxels around a point lie at fixed offsets from the first.

    Outside points, and NaN, read a border of zeros.
    """
    (samples, C, *size), B = features.shape, len(points)
    rows = pad(features, (1, 1, 1, 1, 1, 1)).movedim(1, -1).reshape(-1, C)  # a voxel's channels side by side
    near: list[Tensor] = []
    past: list[Tensor] = []
    for coordinate, n in zip(points.unbind(-1), reversed(size), strict=True):
        voxel = (coordinate + 1) * ((n - 1) / 2) if align_corners else ((coordinate + 1) * n - 1) / 2
        voxel = torch.where(voxel > -1, voxel, -1.0).clamp(max=n)
        low = voxel.floor().clamp(max=n - 1)
        near.append(low.to(torch.int64) + 1)
        past.append(voxel - low)
    D, H, W = (n + 2 for n in size)
    x, y, z = near
    first = (z * H + y) * W + x  # (B, M)
    if samples > 1:
        first = first + torch.arange(B, device=first.device).unsqueeze(1) * (D * H * W)
    total = None
    for dz, dy, dx in itertools.product((0, 1), repeat=3):
        weight = _side(past[2], dz) * _side(past[1], dy) * _side(past[0], dx)
        values = rows.index_select(0, (first + ((dz * H + dy) * W + dx)).flatten())
        share = values * weight.reshape(-1, 1)
        total = share if total is None else total + share
    assert total is not None
    return total.view(B, -1, C).transpose(1, 2)


READS: dict[str, Read] = {"grid_sample": grid_sample, "gather": gather}


def _side(past: Tensor, side: int) -> Tensor:
    return past if side else 1 - past


def _flows(points: Tensor, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None) -> Tensor:
    """w_k at points (N, 3) -> (B, K+1, N, 3); the first is the identity."""
    offset = points - kp_driving.unsqueeze(2)  # (B, K, N, 3)
    if affine is not None:
        matrix = affine if affine.dim() == 4 else affine.unsqueeze(1)  # (B, K or 1, 3, 3)
        offset = (matrix.unsqueeze(2) * offset.unsqueeze(3)).sum(-1)
    flows = offset + kp_source.unsqueeze(2)
    return torch.cat((points.expand(len(flows), 1, -1, -1), flows), dim=1)
