# SPDX-License-Identifier: Apache-2.0
"""warp_candidates: what M looks at, K+1 warped copies of the features and K+1 Gaussian differences."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fv2v_kernels._backends import choose
from fv2v_kernels._check import FLOWS, check_channels_last, check_flows
from fv2v_kernels._op import define
from fv2v_kernels._volumes import add_in_order, empty_volume, in_format
from fv2v_kernels.ops import keypoint_flow, warp3d


def warp_candidates(
    features: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None = None,
    *,
    align_corners: bool,
    variance: float = 0.01,
    memory_format: torch.memory_format = torch.contiguous_format,
    backend: str | None = None,
) -> Tensor:
    """Let every keypoint propose a warp of `features`. Differentiable in every tensor.

        out[b, k(C'+1), p]         = exp(-|p - x_d,k|^2 / 2v) - exp(-|p - x_s,k|^2 / 2v),  0 for k = 0
        out[b, k(C'+1) + 1 + c, p] = features[b, c], trilinearly, at w_k(p)                Sec. 3.3
        w_0(p) = p        w_k(p) = A_k (p - x_d,k) + x_s,k                                 keypoint_flow

    p runs over the corner lattice: voxel i of n sits at 2 i / (n - 1) - 1. The flows are built on the fly and
    never stored. Reads the features, small enough for a cache; writes out.

    Args:
        features: the compressed volume, (B, C', D, H, W) or (1, C', D, H, W), read once for all B; any
            floating dtype, any strides.
        kp_source, kp_driving: (B, K, 3), (x, y, z) in [-1, 1]; float32, or float64 beside float64 features.
            Under autocast halves are widened.
        affine: J_s J_d^-1: None (identity), (B, 3, 3) shared by all keypoints, or (B, K, 3, 3).
        align_corners: how features are read: True: -1 and +1 are the centres of the first and last voxel;
            False: their outer faces. Flows and Gaussians are on the corner lattice either way.
        variance: v of the Gaussians, in squared units of [-1, 1].
        memory_format: of the result: `torch.contiguous_format`, or `torch.channels_last_3d`, which cuDNN's
            convolutions want.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the first there that this build has.

    Returns:
        (B, (K+1)(C'+1), D, H, W) in the dtype of `features`.

    Gradient:
        That of `warp3d` at w_k, which features and flows share, and through the flows that of
        `keypoint_flow`; a Gaussian G around x sends G (p - x) / v to x.

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected.
    """
    tensors = check_flows("warp_candidates", kp_source, kp_driving, affine, features=features)
    channels_last = check_channels_last("warp_candidates", memory_format)
    backend = choose(backend)
    return _warp_candidates(*tensors, align_corners, variance, channels_last, backend)


def reference(
    features: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    align_corners: bool,
    variance: float,
    channels_last: bool = False,
) -> Tensor:
    """What warp_candidates means, in stock PyTorch. Every kernel is tested against this."""
    B, K, _ = kp_source.shape
    size = features.shape[2:]
    flows = keypoint_flow.reference(kp_source, kp_driving, affine, size)
    wide = features.to(flows.dtype).expand(B, -1, -1, -1, -1)
    copies = wide.unsqueeze(1).expand(-1, K + 1, -1, -1, -1, -1).flatten(0, 1)  # (B (K+1), C', D, H, W)
    warped = warp3d.reference(copies, flows.flatten(0, 1), align_corners).unflatten(0, (B, K + 1))
    points = keypoint_flow.lattice(size, kp_source)

    def gaussians(keypoints: Tensor) -> Tensor:
        distance = points - keypoints.view(B, K, 1, 1, 1, 3)
        return torch.exp(-distance.square().sum(-1) / (2 * variance))  # (B, K, D, H, W)

    difference = gaussians(kp_driving) - gaussians(kp_source)
    difference = F.pad(difference, (0, 0, 0, 0, 0, 0, 1, 0)).unsqueeze(2)  # flow 0 has none
    return in_format(torch.cat((difference, warped), dim=2).flatten(1, 2).to(features.dtype), channels_last)


def _check(*arguments: Any) -> None:
    *_, variance, _ = arguments
    if not variance > 0:
        raise ValueError(f"warp_candidates: expected variance > 0, got {variance}")


def _fake(
    features: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    align_corners: bool,
    variance: float,
    channels_last: bool,
) -> Tensor:
    B, K, _ = kp_source.shape
    _, C, *size = features.shape
    return empty_volume(features, (B, (K + 1) * (C + 1), *size), channels_last)


def _ordered(
    grad_out: Tensor,
    features: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    align_corners: bool,
    *_: object,
) -> Tensor:
    flows = keypoint_flow.reference(kp_source, kp_driving, affine, features.shape[2:])
    upstream = grad_out.unflatten(1, (flows.shape[1], -1))[:, :, 1:]  # (B, K+1, C', D, H, W)
    return add_in_order(upstream.movedim(1, 2).flatten(2, 3), features, flows.flatten(1, 2), align_corners)


_warp_candidates = define(
    "warp_candidates(Tensor features, Tensor kp_source, Tensor kp_driving, Tensor? affine, "
    "bool align_corners, float variance, bool channels_last) -> Tensor",
    shapes=FLOWS | {"features": "1|B C D H W"},
    check=_check,
    reference=reference,
    fake=_fake,
    summed=("features",),
    ordered=_ordered,
)
