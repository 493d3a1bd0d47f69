"""compose_warp: from mask logits straight to warped features, compose_flow and warp3d in one kernel.

    m = softmax over k of mask_logits[b, k, p]        flow[b, p] = sum_k m_k w_k(p)        compose_flow
    warped[b, c, p] = features[b, c], trilinearly, at flow[b, p]                           warp3d

Neither mask nor flow is stored unless asked for.

Gradient: warp3d's at the flow, which is computed anew, and compose_flow's of what warp3d sends to the flow.
Reads the logits, and each feature about once from memory; writes warped, and flow and mask where asked.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fv2v_kernels._check import check_channels_last, check_flows
from fv2v_kernels._op import choose, define
from fv2v_kernels._volumes import empty_volume
from fv2v_kernels.ops import compose_flow, warp3d


class ComposedWarp(NamedTuple):
    warped: Tensor  # (B, C, D, H, W)
    deformation: Tensor | None  # (B, D, H, W, 3)
    mask: Tensor | None  # (B, K+1, D, H, W)


def compose_warp(
    features: Tensor,
    mask_logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None = None,
    *,
    align_corners: bool,
    mask_threshold: float = 0.0,
    return_flow: bool = False,
    return_mask: bool = False,
    memory_format: torch.memory_format = torch.contiguous_format,
    backend: str | None = None,
) -> Any:
    """Blend the K+1 first-order flows by a softmax mask and read `features` there. Differentiable throughout.

    Args:
        features: (B, C, D, H, W) or (1, C, D, H, W), read once for all B; any floating dtype, any strides.
        mask_logits: (B, K+1, D, H, W), in the dtype of the features; index 0 is the background.
        kp_source, kp_driving, affine, mask_threshold: as in `compose_flow`.
        align_corners: how features are read, as in `warp3d`. Flows are on the corner lattice either way.
        return_flow, return_mask: also return the deformation, the mask.
        memory_format: of `warped`: `torch.contiguous_format`, or `torch.channels_last_3d`.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the first there that this build has.

    Returns:
        warped (B, C, D, H, W) in the dtype of `features`; where more was asked for, a `ComposedWarp` of it,
        the deformation (B, D, H, W, 3) in the dtype of the keypoints and the mask (B, K+1, D, H, W) in that
        of the logits, each None if not asked for.

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected. Under
            autocast dtypes that differ are widened.
    """
    logits, volume, *points = check_flows(
        "compose_warp",
        kp_source,
        kp_driving,
        affine,
        mask_logits=(mask_logits, "B K+1 D H W"),
        features=(features, "1|B C D H W"),
    )
    channels_last = check_channels_last("compose_warp", memory_format)
    backend = choose("compose_warp", features.device, backend)
    options = align_corners, mask_threshold, return_flow, return_mask, channels_last
    warped, flow, mask = _compose_warp(volume, logits, *points, *options, backend)
    if not (return_flow or return_mask):
        return warped
    return ComposedWarp(warped, flow if return_flow else None, mask if return_mask else None)


def reference(features: Tensor, mask_logits: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What compose_warp means, in stock PyTorch. Every kernel is tested against this."""
    source, driving, affine, align_corners, threshold, return_flow, return_mask, channels_last = arguments
    flow, mask = compose_flow.reference(mask_logits, source, driving, affine, threshold, return_mask)
    warped = warp3d.reference(features, flow, align_corners, channels_last)
    return warped, flow if return_flow else flow.new_empty(0), mask


def _fake(features: Tensor, mask_logits: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    kp_source, _, _, _, _, return_flow, return_mask, channels_last = arguments
    shape = mask_logits.shape[0], *features.shape[1:]
    flow = kp_source.new_empty((shape[0], *shape[2:], 3) if return_flow else (0,))
    mask = mask_logits.new_empty(mask_logits.shape if return_mask else (0,))
    return empty_volume(features, shape, channels_last), flow, mask


def _backward(
    grad_warped: Tensor, grad_flow: Tensor, grad_mask: Tensor, *arguments: Any
) -> tuple[Tensor, ...]:
    """warp3d's gradient, then compose_flow's: the operators' own kernels, whichever backend."""
    features, logits, *points, align_corners, threshold, _, return_mask, _, needed, backend = arguments
    flow, _ = torch.ops.fv2v.compose_flow(logits, *points, threshold, False, backend)
    grad_features, pull = torch.ops.fv2v.warp3d_backward(
        grad_warped, features, flow, align_corners, False, [needed[0], any(needed[1:])], backend
    )
    if not any(needed[1:]):
        return grad_features, *(pull for _ in needed[1:])
    if grad_flow.numel():
        pull = pull + grad_flow
    others = torch.ops.fv2v.compose_flow_backward(
        pull, grad_mask, logits, *points, threshold, return_mask, needed[1:], backend
    )
    return grad_features, *others


_compose_warp = define(
    "compose_warp(Tensor features, Tensor mask_logits, Tensor kp_source, Tensor kp_driving, Tensor? affine, "
    "bool align_corners, float mask_threshold, bool return_flow, bool return_mask, bool channels_last) "
    "-> (Tensor warped, Tensor flow, Tensor mask)",
    reference=reference,
    fake=_fake,
    summed=("features",),
    backward=_backward,
)
