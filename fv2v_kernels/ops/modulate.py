# SPDX-License-Identifier: Apache-2.0
"""modulate: a normalised picture, scaled and shifted at every pixel by a map of its own (SPADE)."""

import torch
from torch import Tensor

from fv2v_kernels._backends import choose
from fv2v_kernels._check import check_same_device, check_stored
from fv2v_kernels._op import define


def modulate(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    eps: float = 1e-5,
    negative_slope: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    """Instance norm, spatial scale and shift, leaky ReLU, in one. Differentiable in every tensor.

        n = (x - mean) / sqrt(var + eps)            over the pixels of a sample's channel, biased variance
        y = (1 + gamma) n + beta                    Park et al. 2019, "Semantic Image Synthesis with
        out = y where y > 0, else negative_slope y  Spatially-Adaptive Normalization", Sec. 3.1

    Reads x, gamma and beta, and writes as much as x has; stock PyTorch writes, and reads again, four
    intermediates of that size.

    Args:
        x: (B, C, H, W), any floating dtype, any strides.
        gamma, beta: (B, C, H, W) in the dtype of x.
        eps: added to the variance; public SPADE weights learned with 1e-5.
        negative_slope: of the leaky ReLU; 1 leaves it out.
        backend: a name from `fv2v_kernels.BACKENDS`; by default the first there that this build has.

    Returns:
        As x, in its dtype; channels-last where the channels of x lie innermost. Mean and variance are never
        kept in half precision.

    Gradient:
        With h = d loss / d y: gamma gets h n, beta gets h, and x gets
        (u - mean(u) - n mean(u n)) / sqrt(var + eps) with u = (1 + gamma) h.

    Raises:
        ValueError, TypeError: shapes, devices or dtypes do not fit; the message says what was expected. Under
            autocast dtypes that differ are widened.
    """
    check_same_device("modulate", x=x, gamma=gamma, beta=beta)
    tensors = check_stored("modulate", x=x, gamma=gamma, beta=beta)
    last = x.dim() == 4 and x.shape[1] > 1 and x.stride(1) == 1 and not x.is_contiguous()
    return _modulate(*tensors, eps, negative_slope, last, choose(backend))


def reference(
    x: Tensor, gamma: Tensor, beta: Tensor, eps: float, negative_slope: float, channels_last: bool
) -> Tensor:
    """What modulate means, in stock PyTorch. Every kernel is tested against this."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    wide = x.to(dtype)
    variance, mean = torch.var_mean(wide, dim=(2, 3), keepdim=True, correction=0)
    y = (1 + gamma.to(dtype)) * ((wide - mean) * (variance + eps).rsqrt()) + beta.to(dtype)
    order = torch.channels_last if channels_last else torch.contiguous_format
    return y.where(y > 0, negative_slope * y).to(x.dtype).contiguous(memory_format=order)


def _fake(
    x: Tensor, gamma: Tensor, beta: Tensor, eps: float, negative_slope: float, channels_last: bool
) -> Tensor:
    order = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=order)


_modulate = define(
    "modulate(Tensor x, Tensor gamma, Tensor beta, float eps, float negative_slope, bool channels_last) "
    "-> (Tensor)",
    shapes=dict.fromkeys(("x", "gamma", "beta"), "B C H W"),
    reference=reference,
    fake=_fake,
    channels_last_gradients=True,
)
