# SPDX-License-Identifier: Apache-2.0
"""compose_warp: from mask logits straight to warped features, compose_flow and warp3d in one kernel."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypedDict, cast, overload

import torch
from torch import Tensor

from fv2v_kernels._backends import choose
from fv2v_kernels._check import FLOWS, check_channels_last, check_flows
from fv2v_kernels._op import define
from fv2v_kernels._volumes import empty_volume
from fv2v_kernels.ops import compose_flow, warp3d

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ComposedWarp(NamedTuple):
    warped: Tensor  # (B, C, D, H, W)
    deformation: Tensor | None  # (B, D, H, W, 3)
    mask: Tensor | None  # (B, K+1, D, H, W)


class Reading(TypedDict):
    align_corners: bool


class WarpOptions(Reading, total=False):
    mask_threshold: float
    memory_format: torch.memory_format
    backend: str | None


class ComposesWarp(Protocol):
    """The type of `compose_warp` and `mask_head`: two flags decide what comes back.

    `masks` is what one calls mask_logits and the other mask_taps; a type checker wants it by position.
    """

    @overload
    def __call__(
        self, features: Tensor, masks: Tensor, /, kp_source: Tensor, kp_driving: Tensor,
        affine: Tensor | None = ..., *, return_flow: Literal[False] = ..., return_mask: Literal[False] = ...,
        **options: "Unpack[WarpOptions]",
    ) -> Tensor: ...  # fmt: skip
    @overload
    def __call__(
        self, features: Tensor, masks: Tensor, /, kp_source: Tensor, kp_driving: Tensor,
        affine: Tensor | None = ..., *, return_flow: Literal[True], return_mask: bool = ...,
        **options: "Unpack[WarpOptions]",
    ) -> ComposedWarp: ...  # fmt: skip
    @overload
    def __call__(
        self, features: Tensor, masks: Tensor, /, kp_source: Tensor, kp_driving: Tensor,
        affine: Tensor | None = ..., *, return_flow: bool = ..., return_mask: Literal[True],
        **options: "Unpack[WarpOptions]",
    ) -> ComposedWarp: ...  # fmt: skip
    @overload
    def __call__(
        self, features: Tensor, masks: Tensor, /, kp_source: Tensor, kp_driving: Tensor,
        affine: Tensor | None = ..., *, return_flow: bool = ..., return_mask: bool = ...,
        **options: "Unpack[WarpOptions]",
    ) -> Tensor | ComposedWarp: ...  # fmt: skip


def composes_warp(function: Callable[..., Tensor | ComposedWarp]) -> ComposesWarp:
    """The same function, with that type."""
    return cast(ComposesWarp, function)


@composes_warp
def compose_warp(
    features: Tensor, mask_logits: Tensor, kp_source: Tensor, kp_driving: Tensor,
    affine: Tensor | None = None, *, align_corners: bool, mask_threshold: float = 0.0,
    return_flow: bool = False, return_mask: bool = False,
    memory_format: torch.memory_format = torch.contiguous_format, backend: str | None = None,
) -> Tensor | ComposedWarp:  # fmt: skip
    """Blend the K+1 first-order flows by a softmax mask and read `features` there. Differentiable throughout.

        m = softmax over k of mask_logits[b, k, p]        flow[b, p] = sum_k m_k w_k(p)        compose_flow
        warped[b, c, p] = features[b, c], trilinearly, at flow[b, p]                           warp3d

    w_0(p) = p and w_k(p) = A_k (p - x_d,k) + x_s,k. Neither mask nor flow is stored unless asked for. Reads
    the logits, and each feature about once from memory; writes warped, and flow and mask where asked.

    Args:
        features: (B, C, D, H, W) or (1, C, D, H, W), read once for all B; any floating dtype, any strides.
        mask_logits: (B, K+1, D, H, W), in the dtype of the features; index 0 is the background.
        kp_source, kp_driving: (B, K, 3), (x, y, z) in [-1, 1]; float32, or float64 beside float64 features.
        affine: J_s J_d^-1: None (identity), (B, 3, 3) shared by all keypoints, or (B, K, 3, 3).
        align_corners: how features are read. True: -1 and +1 are the centres of the first and last voxel;
            False: their outer faces. Flows are on the corner lattice either way.
        mask_threshold: mask values below it become 0 after the full softmax and get no gradient.
        return_flow, return_mask: also return the deformation, the mask.
        memory_format: of `warped`: `torch.contiguous_format`, or `torch.channels_last_3d`.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the first there that this build has.

    Returns:
        warped (B, C, D, H, W) in the dtype of `features`; where more was asked for, a `ComposedWarp` of it,
        the deformation (B, D, H, W, 3) in the dtype of the keypoints and the mask (B, K+1, D, H, W) in that
        of the logits, each None if not asked for.

    Gradient:
        That of `warp3d` at the flow, which is recomputed, and that of `compose_flow` for what `warp3d`
        sends to the flow.

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected. Under
            autocast dtypes that differ are widened.
    """
    points = kp_source, kp_driving, affine
    logits, *others = check_flows("compose_warp", *points, mask_logits=mask_logits, features=features)
    channels_last = check_channels_last("compose_warp", memory_format)
    options = align_corners, mask_threshold, return_flow, return_mask, channels_last
    return composed(_compose_warp(others[0], logits, *others[1:], *options, choose(backend)), *options[2:4])


def composed(results: tuple[Tensor, Tensor, Tensor], flow: bool, mask: bool) -> Tensor | ComposedWarp:
    """Of an operator's results those that were asked for."""
    if not (flow or mask):
        return results[0]
    return ComposedWarp(results[0], results[1] if flow else None, results[2] if mask else None)


def reference(features: Tensor, mask_logits: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What compose_warp means, in stock PyTorch. Every kernel is tested against this."""
    source, driving, affine, align_corners, threshold, return_flow, return_mask, channels_last = arguments
    flow, mask = compose_flow.reference(mask_logits, source, driving, affine, threshold, return_mask)
    warped = warp3d.reference(features, flow, align_corners, channels_last)
    return warped, flow if return_flow else flow.new_empty(0), mask


def fake(features: Tensor, mask_logits: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Empty results, also `mask_head`'s."""
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
    shapes=FLOWS | {"mask_logits": "B K+1 D H W", "features": "1|B C D H W"},
    reference=reference,
    fake=fake,
    summed=("features",),
    backward=_backward,
)
