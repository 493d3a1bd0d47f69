"""compose_flow: one deformation field from K+1 flows and the logits that choose between them.

    m = softmax over k of mask_logits[b, k, p]
    flow[b, p] = sum_k m_k w_k(p)        w_0(p) = p        w_k(p) = A_k (p - x_d,k) + x_s,k        Sec. 3.3

p runs over the corner lattice. With a threshold, masks below it count as 0 without renormalising (SadTalker).
"""

from typing import Any, Literal, NamedTuple, overload

import torch
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
from fv2v_kernels.ops import keypoint_flow


class ComposedFlow(NamedTuple):
    deformation: Tensor  # (B, D, H, W, 3)
    mask: Tensor  # (B, K+1, D, H, W)


@overload
def compose_flow(
    mask_logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None = None,
    *,
    mask_threshold: float = 0.0,
    return_mask: Literal[False] = False,
    backend: str | None = None,
) -> Tensor: ...
@overload
def compose_flow(
    mask_logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None = None,
    *,
    mask_threshold: float = 0.0,
    return_mask: Literal[True],
    backend: str | None = None,
) -> ComposedFlow: ...
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

    Args:
        mask_logits: (B, K+1, D, H, W), any floating dtype, any strides; index 0 is the background.
        kp_source, kp_driving: (B, K, 3), (x, y, z) in [-1, 1]; float32, or float64 beside float64 logits.
        affine: J_s J_d^-1: None (identity), (B, 3, 3) shared by all keypoints, or (B, K, 3, 3).
        mask_threshold: mask values below it become 0 after the full softmax and get no gradient.
        return_mask: also return the mask.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the best one this build has.

    Returns:
        The deformation (B, D, H, W, 3), where to read the source, in the dtype of the keypoints; with
        `return_mask` a `ComposedFlow` of it and the mask (B, K+1, D, H, W), in the dtype of the logits and
        differentiable.

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected.
    """
    check_keypoints("compose_flow", kp_source, kp_driving, affine)
    check_shapes("compose_flow", kp_driving=(kp_driving, "B K 3"), mask_logits=(mask_logits, "B K+1 D H W"))
    tensors = {"kp_source": kp_source, "kp_driving": kp_driving, "affine": affine}
    check_same_device("compose_flow", mask_logits=mask_logits, **tensors)
    check_stored("compose_flow", mask_logits=mask_logits)
    check_coordinates("compose_flow", mask_logits, **tensors)
    backend = choose("compose_flow", mask_logits.device, backend)
    flow, mask = _compose_flow(
        mask_logits, kp_source, kp_driving, affine, mask_threshold, return_mask, backend
    )
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


def _reference_backward(
    grad_flow: Tensor,
    grad_mask: Tensor,
    mask_logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    mask_threshold: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    masked = grad_mask.numel() > 0
    inputs = (mask_logits, kp_source, kp_driving, affine, mask_threshold, masked)

    def outputs(*args: Any) -> tuple[Tensor, ...]:
        return reference(*args)[: 1 + masked]

    grad_logits, grad_source, grad_driving, *rest = reference_gradients(
        outputs, inputs, [grad_flow, grad_mask][: 1 + masked]
    )
    return grad_logits, grad_source, grad_driving, rest[0] if rest else kp_source.new_empty(0)


def _fake(
    mask_logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    mask_threshold: float,
    return_mask: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    B, _, D, H, W = mask_logits.shape
    mask = mask_logits.new_empty(mask_logits.shape if return_mask else (0,))
    return kp_source.new_empty(B, D, H, W, 3), mask


def _fake_backward(
    grad_flow: Tensor,
    grad_mask: Tensor,
    mask_logits: Tensor,
    kp_source: Tensor,
    kp_driving: Tensor,
    affine: Tensor | None,
    mask_threshold: float,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return mask_logits.new_empty(mask_logits.shape), *keypoint_flow.fake_gradients(kp_source, affine)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.mask_threshold, _, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad_flow: Tensor, grad_mask: Tensor) -> tuple[Tensor | None, ...]:
    grads = _compose_flow_backward(grad_flow, grad_mask, *ctx.saved_tensors, ctx.mask_threshold, ctx.backend)
    needed = ctx.needs_input_grad[:4]
    return *(grad if need else None for grad, need in zip(grads, needed, strict=True)), None, None, None


_compose_flow_backward = define(
    "compose_flow_backward(Tensor grad_flow, Tensor grad_mask, Tensor mask_logits, Tensor kp_source, "
    "Tensor kp_driving, Tensor? affine, float mask_threshold, str backend) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    kernels={
        "cpu": native("compose_flow_backward", "cpu", _fake_backward),
        "reference": _reference_backward,
    },
    fake=_fake_backward,
)
_compose_flow = define(
    "compose_flow(Tensor mask_logits, Tensor kp_source, Tensor kp_driving, Tensor? affine, "
    "float mask_threshold, bool return_mask, str backend) -> (Tensor, Tensor)",
    kernels={
        "cpu": native("compose_flow", "cpu", _fake),
        "reference": reference,
    },
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
)
