# SPDX-License-Identifier: Apache-2.0
"""Residual blocks modulated at every pixel (SPADE, Park et al. 2019), with spectral norms."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, relu

from fv2v.config import GeneratorConfig
from fv2v_kernels import modulate


class SpadeBlock(nn.Module):
    """x (B, C, H, W), guide (B, G, h, w) -> (B, C', H, W): two modulated convolutions beside a shortcut.

    Where the width changes, the shortcut is a modulated 1×1 convolution without activation.
    """

    def __init__(self, in_channels: int, out_channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        middle = min(in_channels, out_channels)
        self.spade_0 = Spade(in_channels, config)
        self.conv_0 = SpectralConv2d(in_channels, middle, 3, padding=1)
        self.spade_1 = Spade(middle, config)
        self.conv_1 = SpectralConv2d(middle, out_channels, 3, padding=1)
        changes = in_channels != out_channels
        self.spade_s = Spade(in_channels, config) if changes else None
        self.conv_s = SpectralConv2d(in_channels, out_channels, 1, bias=False) if changes else None

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        guide = interpolate(guide, size=x.shape[2:], mode="nearest")
        y = self.conv_0(self.spade_0(x, guide, negative_slope=0.2))
        y = self.conv_1(self.spade_1(y, guide, negative_slope=0.2))
        if self.conv_s is not None and self.spade_s is not None:
            x = self.conv_s(self.spade_s(x, guide, negative_slope=1.0))
        return x + y


class Spade(nn.Module):
    """Instance norm, then a scale and a shift at every pixel that convolutions read from the guide."""

    def __init__(self, channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.shared = nn.Conv2d(config.width, config.modulation_width, 3, padding=1)
        self.gamma = nn.Conv2d(config.modulation_width, channels, 3, padding=1)
        self.beta = nn.Conv2d(config.modulation_width, channels, 3, padding=1)

    def forward(self, x: Tensor, guide: Tensor, negative_slope: float) -> Tensor:
        shared = relu(self.shared(guide))
        return modulate(x, self.gamma(shared), self.beta(shared), negative_slope=negative_slope)


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight is divided by σ = uᵀ W v, W being it as (O, I·k·k) (Miyato et al. 2018).

    Weight, u and v are kept as a checkpoint stores them: σ is that estimate, not W's true norm. In training
    each run refines u and v once and σ has a gradient, which may be asked for after further runs; for
    inference W / σ is made once, when weights are loaded or `eval()` is called. Either is made in float32 at
    least, under autocast too. Call `eval()` again after changing weights by hand.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows, columns = self.weight.flatten(1).shape
        self.register_buffer("weight_u", torch.empty(rows))
        self.register_buffer("weight_v", torch.empty(columns))
        self.register_buffer("divided", None, persistent=False)
        if self.weight.is_meta:  # nothing to start from; a second would go by, to import torch's compiler
            return
        for vector in (self.weight_u, self.weight_v):
            vector.copy_(normalize(torch.randn(len(vector)), dim=0))
        self._refine()  # or σ of unrelated u and v is nearly 0, and what is divided by it huge

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self._refine()
        return self._conv_forward(x, self.quotient() if self.divided is None else self.divided, self.bias)

    def train(self, mode: bool = True) -> "SpectralConv2d":
        super().train(mode)
        self.divided = None if mode else self.quotient().detach()
        return self

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(state_dict, *args, **kwargs)
        self.train(self.training)

    def quotient(self) -> Tensor:
        """W / σ with u and v as they are."""
        wide = torch.promote_types(self.weight.dtype, torch.float32)
        weight = self.weight.to(wide)
        # copies: the next run refines u and v in place, and this one's gradient may come after it
        u, v = (vector.to(wide, copy=True) for vector in (self.weight_u, self.weight_v))
        # no product of matrices, which autocast would make in half precision
        sigma = (u.unsqueeze(1) * weight.flatten(1) * v).sum()
        return (weight / sigma).to(self.weight.dtype)

    @torch.no_grad()
    def _refine(self) -> None:
        """One step of power iteration."""
        matrix = self.weight.flatten(1)
        self.weight_v.copy_(normalize((matrix * self.weight_u.unsqueeze(1)).sum(0), dim=0))
        self.weight_u.copy_(normalize((matrix * self.weight_v).sum(1), dim=0))
