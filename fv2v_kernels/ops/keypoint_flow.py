# SPDX-License-Identifier: Apache-2.0
"""keypoint_flow: every keypoint's first-order flow, stored."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fv2v_kernels._backends import choose
from fv2v_kernels._check import FLOWS, check_flows
from fv2v_kernels._op import define


def keypoint_flow(
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None = None,
    *,
    size: Sequence[int],
    backend: str | None = None,
) -> Tensor:
    """The K+1 flows from the driving frame to the source. Differentiable in every tensor.

        out[b, 0, p] = p                                                       the background
        out[b, k, p] = A_k (p - x_d,k) + x_s,k        A_k = J_s,k J_d,k^-1     Sec. 3.3

    p runs over the corner lattice: voxel i of n sits at 2 i / (n - 1) - 1, and at 0, the middle, where n = 1.
    Pictures are volumes of depth 1 with keypoints at z = 0 and affines that leave z alone: warps then are
    those of two dimensions. Writes 3 (K+1) D H W numbers and reads next to nothing; backward reads as many
    and writes next to nothing.

    For training experiments and pictures; `warp_candidates`, `compose_flow` and `compose_warp` build these
    flows on the fly.

    Args:
        kp_source, kp_driving: (B, K, 3), (x, y, z) in [-1, 1]; float32 or float64, any strides. Under
            autocast halves are widened.
        affine: None (identity), (B, 3, 3) shared by all keypoints, or (B, K, 3, 3).
        size: (D, H, W) of the volume.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the first there that this build has.

    Returns:
        (B, K+1, D, H, W, 3), where to read the source, contiguous, in the dtype of the keypoints.

    Gradient:
        With g = d loss / d out: x_s gets sum_p g, x_d gets -A^T sum_p g, A gets sum_p g (p - x_d)^T.

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected.
    """
    tensors = check_flows("keypoint_flow", kp_source, kp_driving, affine)
    return _keypoint_flow(*tensors, list(size), choose(backend))


def lattice(size: Sequence[int], like: Tensor) -> Tensor:
    """(D, H, W, 3): the (x, y, z) of every voxel on the corner lattice."""
    axes = [
        2 * torch.arange(n, dtype=like.dtype, device=like.device) / max(n - 1, 1) - min(n - 1, 1)
        for n in size
    ]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack((x, y, z), dim=-1)


def reference(kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None, size: Sequence[int]) -> Tensor:
    """What keypoint_flow means, in stock PyTorch. Every kernel is tested against this."""
    B, K, _ = kp_source.shape
    background = lattice(size, kp_source)  # (D, H, W, 3)
    offset = background - kp_driving.view(B, K, 1, 1, 1, 3)
    if affine is not None:
        matrix = affine.view(B, K if affine.dim() == 4 else 1, 1, 1, 1, 3, 3)
        offset = (matrix @ offset.unsqueeze(-1)).squeeze(-1)
    flows = offset + kp_source.view(B, K, 1, 1, 1, 3)
    return torch.cat((background.expand(B, 1, -1, -1, -1, -1), flows), dim=1)


def _check(kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None, size: Sequence[int]) -> None:
    if len(size) != 3 or any(n < 1 for n in size):
        raise ValueError(f"keypoint_flow: expected size (D, H, W), each at least 1, got {tuple(size)}")


def _fake(kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None, size: Sequence[int]) -> Tensor:
    return kp_source.new_empty(kp_source.shape[0], kp_source.shape[1] + 1, *size, 3)


_keypoint_flow = define(
    "keypoint_flow(Tensor kp_source, Tensor kp_driving, Tensor? affine, SymInt[] size) -> Tensor",
    shapes=FLOWS,
    check=_check,
    reference=reference,
    fake=_fake,
)
