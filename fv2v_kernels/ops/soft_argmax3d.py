# SPDX-License-Identifier: Apache-2.0
"""soft_argmax3d: keypoints as the mean position, and Jacobians as the mean map, under one softmax."""

from typing import NamedTuple, overload

import torch
from torch import Tensor

from fv2v_kernels._backends import choose
from fv2v_kernels._check import check_same_device, check_stored
from fv2v_kernels._op import define
from fv2v_kernels.ops import keypoint_flow


class SoftArgmax(NamedTuple):
    keypoints: Tensor  # (B, K, 3)
    jacobians: Tensor  # (B, K, 3, 3)


@overload
def soft_argmax3d(
    logits: Tensor, *, temperature: float, jacobian_maps: None = None, backend: str | None = None
) -> Tensor: ...
@overload
def soft_argmax3d(
    logits: Tensor, *, temperature: float, jacobian_maps: Tensor, backend: str | None = None
) -> SoftArgmax: ...
def soft_argmax3d(
    logits: Tensor,
    *,
    temperature: float,
    jacobian_maps: Tensor | None = None,
    backend: str | None = None,
) -> Tensor | SoftArgmax:
    """The expected position under a softmax over the volume. Differentiable in every tensor.

        m = softmax over p of logits[b, k, p] / T
        keypoints[b, k] = sum_p m_p p                  the canonical keypoints x_c of L, Sec. 3.1
        jacobians[b, k] = sum_p m_p maps[b, k, p]      9 numbers each, where L has a Jacobian head

    p = (x, y, z) runs over the corner lattice of the volume: voxel i of n sits at 2 i / (n - 1) - 1. Reads
    logits and maps once; writes next to nothing.

    Args:
        logits: (B, K, D, H, W), any floating dtype, any strides.
        temperature: T > 0, by which the logits are divided; the public releases have 0.1.
        jacobian_maps: (B, 9K, D, H, W) in the dtype of the logits: nine maps a keypoint, row-major.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the first there that this build has.

    Returns:
        Keypoints (B, K, 3), (x, y, z) in [-1, 1], in float32, or float64 for float64 logits; with
        `jacobian_maps` a `SoftArgmax` of them and the Jacobians (B, K, 3, 3) in that dtype.

    Gradient:
        With g and G those of the results: logits get
        m_p / T (g . (p - keypoints) + G . (maps_p - jacobians)), maps get m_p G.

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected. Under
            autocast dtypes that differ are widened.
    """
    check_same_device("soft_argmax3d", logits=logits, jacobian_maps=jacobian_maps)
    tensors = check_stored("soft_argmax3d", logits=logits, jacobian_maps=jacobian_maps)
    keypoints, jacobians = _soft_argmax3d(*tensors, temperature, choose(backend))
    return keypoints if jacobian_maps is None else SoftArgmax(keypoints, jacobians)


def reference(logits: Tensor, jacobian_maps: Tensor | None, temperature: float) -> tuple[Tensor, Tensor]:
    """What soft_argmax3d means, in stock PyTorch. Every kernel is tested against this."""
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    mask = torch.softmax(logits.to(dtype).flatten(2) / temperature, dim=-1).view(logits.shape)
    points = keypoint_flow.lattice(logits.shape[2:], mask)  # (D, H, W, 3)
    keypoints = (mask.unsqueeze(-1) * points).sum((2, 3, 4))
    if jacobian_maps is None:
        return keypoints, keypoints.new_empty(0)
    maps = jacobian_maps.to(dtype).unflatten(1, (-1, 9))  # (B, K, 9, D, H, W)
    # not a matrix product: that adds 65,536 numbers in a row, ten times less accurate than sum's tree
    return keypoints, (maps * mask.unsqueeze(2)).sum((3, 4, 5)).unflatten(-1, (3, 3))


def _check(logits: Tensor, jacobian_maps: Tensor | None, temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"soft_argmax3d: expected temperature > 0, got {temperature}")


def _fake(logits: Tensor, jacobian_maps: Tensor | None, temperature: float) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    keypoints = logits.new_empty((*logits.shape[:2], 3), dtype=dtype)
    return keypoints, keypoints.new_empty((0,) if jacobian_maps is None else (*keypoints.shape, 3))


_soft_argmax3d = define(
    "soft_argmax3d(Tensor logits, Tensor? jacobian_maps, float temperature) "
    "-> (Tensor keypoints, Tensor jacobians)",
    shapes={"logits": "B K D H W", "jacobian_maps": "B 9K D H W"},
    check=_check,
    reference=reference,
    fake=_fake,
)
