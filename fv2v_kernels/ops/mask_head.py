# SPDX-License-Identifier: Apache-2.0
"""mask_head: the end of M's mask convolution and G's warp, from the convolution's taps along x.

A k x k x k convolution to few channels is too narrow for tensor cores. With its taps along x moved into the
output channels it is a k x k x 1 convolution to k times as many, and what is left of it is a sum.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from fv2v_kernels._backends import choose
from fv2v_kernels._check import FLOWS, check_channels_last, check_flows
from fv2v_kernels._op import define
from fv2v_kernels.ops import compose_warp
from fv2v_kernels.ops.compose_warp import ComposedWarp, composed, composes_warp


@composes_warp
def mask_head(
    features: Tensor, mask_taps: Tensor, kp_source: Tensor, kp_driving: Tensor,
    affine: Tensor | None = None, *, align_corners: bool, mask_threshold: float = 0.0,
    return_flow: bool = False, return_mask: bool = False,
    memory_format: torch.memory_format = torch.contiguous_format, backend: str | None = None,
) -> Tensor | ComposedWarp:  # fmt: skip
    """Sum the taps to mask logits, and do as `compose_warp` does. Differentiable throughout.

        logits[b, k, z, y, x] = sum_t mask_taps[b, t, k, z, y, x + t - (T - 1) / 2], 0 outside
        warped = compose_warp(features, logits, ...)

    The bias of the convolution that makes the taps belongs to the middle one, which is never outside. Logits
    are never stored, mask and flow only where asked for. Reads the taps once, and each feature about once
    from memory; writes warped, and flow and mask where asked.

    Args:
        features: (B, C, D, H, W) or (1, C, D, H, W), as in `compose_warp`.
        mask_taps: (B, T, K+1, D, H, W), T odd, in the dtype of the features, any strides: what a convolution
            to T (K+1) channels returns, `.unflatten(1, (T, K + 1))`; index 0 of K+1 is the background.
        kp_source, kp_driving, affine and the options: as in `compose_warp`.

    Returns:
        As `compose_warp`: warped (B, C, D, H, W), or a `ComposedWarp`; the mask in the dtype of the taps.

    Gradient:
        That of `compose_warp` at the logits, which are recomputed; each tap gets the logits' gradient,
        shifted back.

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected. Under
            autocast dtypes that differ are widened.
    """
    points = kp_source, kp_driving, affine
    taps, *others = check_flows("mask_head", *points, mask_taps=mask_taps, features=features)
    channels_last = check_channels_last("mask_head", memory_format)
    options = align_corners, mask_threshold, return_flow, return_mask, channels_last
    return composed(_mask_head(others[0], taps, *others[1:], *options, choose(backend)), *options[2:4])


def sum_taps(mask_taps: Tensor) -> Tensor:
    """(B, T, K+1, D, H, W) -> (B, K+1, D, H, W), the logits; halves are summed in float32."""
    T, W = mask_taps.shape[1], mask_taps.shape[-1]
    wide = mask_taps if mask_taps.dtype == torch.float64 else mask_taps.float()
    padded = pad(wide, (T // 2, T // 2))
    return torch.stack([padded[:, t, ..., t : t + W] for t in range(T)]).sum(0)


def _spread(grad_logits: Tensor, T: int) -> Tensor:
    """The adjoint of `sum_taps`."""
    W = grad_logits.shape[-1]
    padded = pad(grad_logits, (T // 2, T // 2))
    return torch.stack([padded[..., T - 1 - t : T - 1 - t + W] for t in range(T)], dim=1)


def reference(features: Tensor, mask_taps: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What mask_head means, in stock PyTorch. Every kernel is tested against this."""
    warped, flow, mask = compose_warp.reference(features, sum_taps(mask_taps), *arguments)
    return warped, flow, mask.to(mask_taps.dtype)


def _check(features: Tensor, mask_taps: Tensor, *_: Any) -> None:
    if mask_taps.shape[1] % 2 == 0:
        raise ValueError(f"mask_head: expected mask_taps with an odd T, got {tuple(mask_taps.shape)}")


def _fake(features: Tensor, mask_taps: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    return compose_warp.fake(features, mask_taps[:, 0], *arguments)


def _backward(
    grad_warped: Tensor, grad_flow: Tensor, grad_mask: Tensor, *arguments: Any
) -> tuple[Tensor, ...]:
    """compose_warp's gradient, whichever backend, and the taps' share of the logits'."""
    features, taps, *others = arguments
    needed = arguments[-2]
    logits = sum_taps(taps)
    grad_features, grad_logits, *grads = torch.ops.fv2v.compose_warp_backward(
        grad_warped, grad_flow, grad_mask.to(logits.dtype), features, logits, *others
    )
    grad_taps = _spread(grad_logits, taps.shape[1]).to(taps.dtype) if needed[1] else grad_logits
    return grad_features, grad_taps, *grads


_mask_head = define(
    "mask_head(Tensor features, Tensor mask_taps, Tensor kp_source, Tensor kp_driving, Tensor? affine, "
    "bool align_corners, float mask_threshold, bool return_flow, bool return_mask, bool channels_last) "
    "-> (Tensor warped, Tensor flow, Tensor mask)",
    shapes=FLOWS | {"mask_taps": "B T K+1 D H W", "features": "1|B C D H W"},
    check=_check,
    reference=reference,
    fake=_fake,
    summed=("features",),
    backward=_backward,
)
