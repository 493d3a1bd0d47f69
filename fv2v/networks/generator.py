# SPDX-License-Identifier: Apache-2.0
"""G, the generator: the source's features, moved where the driving frame wants them (Sec. 3.2)."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from fv2v.config import ModelConfig
from fv2v.networks.blocks import SameBlock2d
from fv2v.networks.decoders import decoder
from fv2v.networks.dense_motion import MotionField
from fv2v.networks.detail import moved, surface_flow
from fv2v_kernels import compose_warp


class Generator(nn.Module):
    """Warp the volume, fold its depth into channels, hide what is occluded, and decode to a picture."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.generator.width
        self.align_corners = config.align_corners
        self.mask_threshold = config.dense_motion.mask_threshold
        self.warp: Callable[..., Any] = compose_warp  # or `mask_head`: engine/passes/taps_in_channels.py
        self.flatten: nn.Module = nn.Flatten(1, 2)  # depth folds into the channels
        self.project: nn.Module = nn.Identity()
        self.mix: nn.Module = nn.Identity()
        if config.generator.project:
            # the slope is the releases', and torch's default
            self.project = SameBlock2d(config.flat_channels, width, negative_slope=0.01)
            self.mix = nn.Conv2d(width, width, 1)
        self.decoder = decoder(config)

    def forward(
        self,
        features: Tensor,
        field: MotionField,
        kp_source: Tensor,
        kp_driving: Tensor,
        affine: Tensor | None,
        detail: Sequence[Tensor] = (),
    ) -> Tensor:
        """features f_s (B or 1, C, D, H, W), keypoints (B, K, 3) -> y (B, 3, nH, nW) in [0, 1].

        `detail` is `Source.detail`, where the config has it.
        """
        return self.with_flow(features, field, kp_source, kp_driving, affine, detail)[0]

    def with_flow(
        self,
        features: Tensor,
        field: MotionField,
        kp_source: Tensor,
        kp_driving: Tensor,
        affine: Tensor | None,
        detail: Sequence[Tensor] = (),
    ) -> tuple[Tensor, Tensor | None]:
        """The same, and the flow (B, 2, H, W) by which detail moved: `surface_flow`; None without detail."""
        found = self.warp(  # w(f_s): the K+1 flows blended by the mask, the features read there
            features,
            field.mask_logits,
            kp_source,
            kp_driving,
            affine,
            align_corners=self.align_corners,
            mask_threshold=self.mask_threshold,
            return_flow=bool(detail),
            return_mask=bool(detail),
        )  # (B, C, D, H, W); with detail also flow and mask
        warped, brought, flow = found, [], None
        if detail:
            flow = surface_flow(found.deformation, found.mask)
            warped, brought = found.warped, [moved(each, flow, field.occlusion) for each in detail]
        flat = self.mix(self.project(self.flatten(warped)))  # (B, width, H, W)
        return self.decoder(flat * field.occlusion, brought).sigmoid(), flow
