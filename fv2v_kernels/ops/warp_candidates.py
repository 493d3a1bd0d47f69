"""warp_candidates: what M looks at, K+1 warped copies of the features and K+1 Gaussian differences.

    out[b, k(C'+1), p]         = exp(-|p - x_d,k|^2 / 2v) - exp(-|p - x_s,k|^2 / 2v),  0 for k = 0
    out[b, k(C'+1) + 1 + c, p] = features[b, c], trilinearly, at w_k(p)                Sec. 3.3
    w_0(p) = p        w_k(p) = A_k (p - x_d,k) + x_s,k                                 keypoint_flow

p runs over the corner lattice. The flows are built on the fly and never stored.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fv2v_kernels._check import (
    check_coordinates,
    check_keypoints,
    check_same_device,
    check_shapes,
    check_stored,
)
from fv2v_kernels._native import native
from fv2v_kernels._op import choose, define, reference_gradients
from fv2v_kernels.ops import keypoint_flow, warp3d


def warp_candidates(
    features: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None = None,
    *,
    align_corners: bool,
    variance: float = 0.01,
    backend: str | None = None,
) -> Tensor:
    """Let every keypoint propose a warp of `features`. Differentiable in every tensor.

    Args:
        features: the compressed volume, (B, C', D, H, W) or (1, C', D, H, W), read once for all B; any
            floating dtype, any strides.
        kp_source, kp_driving: (B, K, 3), (x, y, z) in [-1, 1]; float32, or float64 beside float64 features.
        affine: J_s J_d^-1: None (identity), (B, 3, 3) shared by all keypoints, or (B, K, 3, 3).
        align_corners: how features are read: True: -1 and +1 are the centres of the first and last voxel;
            False: their outer faces. Flows and Gaussians are on the corner lattice either way.
        variance: v of the Gaussians, in squared units of [-1, 1].
        backend: a name from `fv2v_kernels.BACKENDS`; by default the best one this build has.

    Returns:
        (B, (K+1)(C'+1), D, H, W) in the dtype of `features`.

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected.
    """
    check_keypoints("warp_candidates", kp_source, kp_driving, affine)
    check_shapes("warp_candidates", kp_driving=(kp_driving, "B K 3"), features=(features, "1|B C D H W"))
    tensors = {"kp_source": kp_source, "kp_driving": kp_driving, "affine": affine}
    check_same_device("warp_candidates", features=features, **tensors)
    check_stored("warp_candidates", features=features)
    check_coordinates("warp_candidates", features, **tensors)
    if not variance > 0:
        raise ValueError(f"warp_candidates: expected variance > 0, got {variance}")
    backend = choose("warp_candidates", features.device, backend)
    return _warp_candidates(features, kp_source, kp_driving, affine, align_corners, variance, backend)


def reference(
    features: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    align_corners: bool,
    variance: float,
) -> Tensor:
    """What warp_candidates means, in stock PyTorch. Every kernel is tested against this."""
    B, K, _ = kp_source.shape
    _, C, D, H, W = features.shape
    flows = keypoint_flow.reference(kp_source, kp_driving, affine, (D, H, W))
    wide = features.to(flows.dtype).expand(B, -1, -1, -1, -1)
    copies = wide.unsqueeze(1).expand(-1, K + 1, -1, -1, -1, -1).flatten(0, 1)  # (B(K+1), C', D, H, W)
    flows, finite = warp3d.split_finite(flows.flatten(0, 1))
    warped = F.grid_sample(copies, flows, align_corners=align_corners).where(finite, 0)
    points = keypoint_flow.lattice((D, H, W), kp_source)

    def gaussians(keypoints: Tensor) -> Tensor:
        distance = points - keypoints.view(B, K, 1, 1, 1, 3)
        return torch.exp(-distance.square().sum(-1) / (2 * variance))  # (B, K, D, H, W)

    difference = gaussians(kp_driving) - gaussians(kp_source)
    difference = F.pad(difference, (0, 0, 0, 0, 0, 0, 1, 0)).unsqueeze(2)  # flow 0 has none
    return torch.cat((difference, warped.view(B, K + 1, C, D, H, W)), dim=2).flatten(1, 2).to(features.dtype)


def _reference_backward(
    grad_out: Tensor,
    features: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    align_corners: bool,
    variance: float,
    need_features: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inputs = (features, kp_source, kp_driving, affine, align_corners, variance)
    grad_features, grad_source, grad_driving, *rest = reference_gradients(reference, inputs, [grad_out])
    return (
        grad_features.to(kp_source.dtype) if need_features else kp_source.new_empty(0),
        grad_source,
        grad_driving,
        rest[0] if rest else kp_source.new_empty(0),
    )


def _fake(
    features: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    align_corners: bool,
    variance: float,
    backend: str,
) -> Tensor:
    B, K, _ = kp_source.shape
    _, C, D, H, W = features.shape
    return features.new_empty(B, (K + 1) * (C + 1), D, H, W)


def _fake_backward(
    grad_out: Tensor,
    features: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    align_corners: bool,
    variance: float,
    need_features: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grad_features = kp_source.new_empty(features.shape if need_features else (0,))
    return grad_features, *keypoint_flow.fake_gradients(kp_source, affine)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.align_corners, ctx.variance, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    features = ctx.saved_tensors[0]
    needed = ctx.needs_input_grad[:4]
    grad_features, *grads = _warp_candidates_backward(
        grad_out, *ctx.saved_tensors, ctx.align_corners, ctx.variance, needed[0], ctx.backend
    )
    grads = [grad_features.to(features.dtype), *grads]
    return *(grad if need else None for grad, need in zip(grads, needed, strict=True)), None, None, None


_warp_candidates_backward = define(
    "warp_candidates_backward(Tensor grad_out, Tensor features, Tensor kp_source, Tensor kp_driving, "
    "Tensor? affine, bool align_corners, float variance, bool need_features, str backend) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    kernels={
        "cpu": native("warp_candidates_backward", "cpu", _fake_backward),
        "reference": _reference_backward,
    },
    fake=_fake_backward,
)
_warp_candidates = define(
    "warp_candidates(Tensor features, Tensor kp_source, Tensor kp_driving, Tensor? affine, "
    "bool align_corners, float variance, str backend) -> Tensor",
    kernels={
        "cpu": native("warp_candidates", "cpu", _fake),
        "reference": reference,
    },
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
)
