# SPDX-License-Identifier: Apache-2.0
"""compose_flow: one deformation field from K+1 flows and the logits that choose between them."""

from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor

from fv2v_kernels._backends import choose
from fv2v_kernels._check import FLOWS, check_flows
from fv2v_kernels._op import define
from fv2v_kernels.ops import keypoint_flow


class ComposedFlow(NamedTuple):
    deformation: Tensor  # (B, D, H, W, 3)
    mask: Tensor  # (B, K+1, D, H, W)


@overload
def compose_flow(
    mask_logits: Tensor, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None = ...,
    *, mask_threshold: float = ..., return_mask: Literal[False] = ..., backend: str | None = ...,
) -> Tensor: ...  # fmt: skip
@overload
def compose_flow(
    mask_logits: Tensor, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None = ...,
    *, mask_threshold: float = ..., return_mask: Literal[True], backend: str | None = ...,
) -> ComposedFlow: ...  # fmt: skip
@overload
def compose_flow(
    mask_logits: Tensor, kp_source: Tensor, kp_driving: Tensor, affine: Tensor | None = ...,
    *, mask_threshold: float = ..., return_mask: bool, backend: str | None = ...,
) -> Tensor | ComposedFlow: ...  # fmt: skip
def compose_flow(
    mask_logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None = None,
    *,
    mask_threshold: float = 0.0,
    return_mask: bool = False,
    backend: str | None = None,
) -> Tensor | ComposedFlow:
    """Blend the K+1 first-order flows by a softmax mask. Differentiable in every tensor.

        m = softmax over k of mask_logits[b, k, p]
        flow[b, p] = sum_k m_k w_k(p)        w_0(p) = p        w_k(p) = A_k (p - x_d,k) + x_s,k    Sec. 3.3

    p runs over the corner lattice: voxel i of n sits at 2 i / (n - 1) - 1. Reads the logits once; writes
    3 numbers a voxel, and the mask where asked.

    Args:
        mask_logits: (B, K+1, D, H, W), any floating dtype, any strides; index 0 is the background.
        kp_source, kp_driving: (B, K, 3), (x, y, z) in [-1, 1]; float32, or float64 beside float64 logits.
            Under autocast halves are widened.
        affine: J_s J_d^-1: None (identity), (B, 3, 3) shared by all keypoints, or (B, K, 3, 3).
        mask_threshold: mask values below it become 0 after the full softmax, which is not renormalised
            (SadTalker), and get no gradient.
        return_mask: also return the mask.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the first there that this build has.

    Returns:
        The deformation (B, D, H, W, 3), where to read the source, in the dtype of the keypoints; with
        `return_mask` a `ComposedFlow` of it and the mask (B, K+1, D, H, W), in the dtype of the logits and
        differentiable.

    Gradient:
        With g = d loss / d flow: mask_logits get m_k (u_k - sum_j m_j u_j) with
        u_k = g . w_k(p) + d loss / d m_k, 0 below the threshold; w_k gets m_k g, and from it x_s, x_d and A
        as in `keypoint_flow`.

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected.
    """
    tensors = check_flows("compose_flow", kp_source, kp_driving, affine, mask_logits=mask_logits)
    flow, mask = _compose_flow(*tensors, mask_threshold, return_mask, choose(backend))
    return ComposedFlow(flow, mask) if return_mask else flow


def reference(
    mask_logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    mask_threshold: float,
    return_mask: bool,
) -> tuple[Tensor, Tensor]:
    """What compose_flow means, in stock PyTorch. Every kernel is tested against this."""
    mask = torch.softmax(mask_logits.to(kp_source.dtype), dim=1)
    mask = mask.masked_fill(mask < mask_threshold, 0)
    flows = keypoint_flow.reference(kp_source, kp_driving, affine, mask_logits.shape[2:])
    flow = (mask.unsqueeze(-1) * flows).sum(1)
    return flow, mask.to(mask_logits.dtype) if return_mask else mask_logits.new_empty(0)


def _fake(
    mask_logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    mask_threshold: float,
    return_mask: bool,
) -> tuple[Tensor, Tensor]:
    B, _, D, H, W = mask_logits.shape
    mask = mask_logits.new_empty(mask_logits.shape if return_mask else (0,))
    return kp_source.new_empty(B, D, H, W, 3), mask


_compose_flow = define(
    "compose_flow(Tensor mask_logits, Tensor kp_source, Tensor kp_driving, Tensor? affine, "
    "float mask_threshold, bool return_mask) -> (Tensor flow, Tensor mask)",
    shapes=FLOWS | {"mask_logits": "B K+1 D H W"},
    reference=reference,
    fake=_fake,
)
