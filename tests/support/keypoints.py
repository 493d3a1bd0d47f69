# SPDX-License-Identifier: Apache-2.0
"""Keypoints and affine parts for the operators that build first-order flows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fv2v_kernels import compose_flow
from fv2v_kernels.ops import keypoint_flow

AFFINES = ("none", "shared", "each")  # None, (B, 3, 3), (B, K, 3, 3)
FLAT = "flat"  # as flat pictures have them: z = 0, and (B, K, 2, 2) that leave z alone


def make_keypoints(
    dtype: torch.dtype, batch: int, keypoints: int, affine: str, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor | None]:
    """kp_source, kp_driving (B, K, 3) and the affine part, near the identity, in the coordinates' dtype."""
    source, driving = (1.6 * torch.rand(batch, keypoints, 3, generator=generator) - 0.8 for _ in range(2))
    shape = {"none": None, "shared": (batch, 3, 3)}.get(affine, (batch, keypoints, 3, 3))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    if shape is None:
        return source.to(wide), driving.to(wide), None
    matrix = torch.eye(3) + 0.3 * torch.randn(shape, generator=generator)
    if affine == FLAT:
        flat = torch.tensor([1.0, 1.0, 0.0])
        source, driving = source * flat, driving * flat
        matrix = torch.where(flat.outer(flat) > 0, matrix, torch.eye(3))
    return source.to(wide), driving.to(wide), matrix.to(wide)


def distance_to_kinks(
    size: tuple[int, int, int], source: Tensor, driving: Tensor, affine: Tensor | None, align_corners: bool
) -> float:
    """How near, in voxels, any flow comes to a voxel centre, where trilinear reading bends.

    Not counting flow 0, which no keypoint moves.
    """
    flows = keypoint_flow.reference(source, driving, affine, size)[:, 1:]
    return float(kink_distances(flows, size, align_corners).min())


def kink_distances(points: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """How far, in voxels along each axis, points (..., 3) are from the voxel centres of a volume.

    Along an axis of one voxel all are halfway: where flat flows are at its centre, they are so exactly.
    """
    n = torch.tensor(size[::-1], dtype=torch.float64)  # (W, H, D)
    voxel = (points.double() + 1) * (n - 1) / 2 if align_corners else (points.double() + 1) * n / 2 - 0.5
    return (voxel - voxel.round()).abs().where(n > 1, 0.5)


def clear(
    logits: Tensor,
    points: Sequence[Tensor | None],
    align_corners: bool,
    mask_threshold: float,
    enough: float,
) -> bool:
    """Whether all keep off what jumps: reads at voxel centres, by `enough` voxels, masks at the threshold."""
    wide = [None if t is None else t.double() for t in points]
    flow, mask = compose_flow(logits.double(), *wide, return_mask=True, backend="reference")
    n = torch.tensor(logits.shape[:1:-1], dtype=torch.float64)
    voxel = (flow + 1) * (n - 1) / 2 if align_corners else (flow + 1) * n / 2 - 0.5
    kinks = (voxel - voxel.round())[..., n > 1].abs()
    near = min([1.0, *kinks.flatten().tolist()])
    return near > enough and bool((mask - mask_threshold).abs().min() > (1e-5 if mask_threshold else 0))
