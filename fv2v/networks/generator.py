"""G, the generator: the source's features, moved where the driving frame wants them (Sec. 3.2)."""

from itertools import pairwise

from torch import Tensor, nn

from fv2v.config import ModelConfig
from fv2v.networks.blocks import ResBlock2d, SameBlock2d, UpBlock2d
from fv2v.networks.dense_motion import MotionField
from fv2v_kernels import compose_warp


class Generator(nn.Module):
    """Warp the volume, fold its depth into channels, hide what is occluded, and convolve up to a picture."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config.generator
        self.align_corners = config.align_corners
        # the slope is the releases', and torch's default
        self.project = SameBlock2d(config.flat_channels, c.widths[0], negative_slope=0.01)
        self.mix = nn.Conv2d(c.widths[0], c.widths[0], 1)
        self.residual = nn.Sequential(*(ResBlock2d(c.widths[0]) for _ in range(c.residual_blocks)))
        self.up = nn.Sequential(*(UpBlock2d(a, b) for a, b in pairwise(c.widths)))
        self.final = nn.Conv2d(c.widths[-1], 3, 7, padding=3)

    def forward(
        self,
        features: Tensor,
        field: MotionField,
        kp_source: Tensor,
        kp_driving: Tensor,
        affine: Tensor | None,
    ) -> Tensor:
        """features f_s (B or 1, C, D, H, W), keypoints (B, K, 3) -> y (B, 3, 4H, 4W) in [0, 1]."""
        warped = compose_warp(  # w(f_s): the K+1 flows blended by the mask, the features read there
            features, field.mask_logits, kp_source, kp_driving, affine, align_corners=self.align_corners
        )  # (B, C, D, H, W)
        flat = self.mix(self.project(warped.flatten(1, 2)))  # (B, C, H, W); depth folds into the channels
        return self.final(self.up(self.residual(flat * field.occlusion))).sigmoid()
