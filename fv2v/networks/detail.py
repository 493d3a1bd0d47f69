# SPDX-License-Identifier: Apache-2.0
"""Detail that the volume is too coarse for: F's features at finer sizes, moved as the surface moves, in G.

The volume has a voxel for every 4×4 pixels, and hair, lashes and teeth are finer. So features of F at each
finer size go to G beside the volume. They are pictures, not volumes: they follow the flow of what is seen, at
the depth where the mask of M first says that something other than the background is there. Where the source
does not show what the frame needs, the occlusion map hides them, as it hides the volume.

Skips moved by the volume's flow are not the paper's; the configs of its releases have none.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from fv2v.config import ModelConfig
from fv2v_kernels import warp3d

FAINT = 1e-3  # standard deviation of the weights by which detail joins at first: next to nothing


class Surface(NamedTuple):
    """How what is seen in the source has moved."""

    flow: Tensor  # (B, 2, H, W), as `surface_flow` returns it
    occlusion: Tensor  # (B, 1, H, W), 1 where the source shows it


def surface_flow(deformation: Tensor, mask: Tensor) -> Tensor:
    """How far what is seen has moved, (B, 2, H, W): x and y, the picture being 2 across.

    A voxel is as opaque as its mask is not the background's, and light from the viewer passes the voxels
    before it; the flow of a pixel is the mean over depth by the light that each voxel stops. What passes all
    is stopped by the last.

    Args:
        deformation: (B, D, H, W, 3), from `compose_warp`, on the corner lattice; z runs away from the viewer.
        mask: (B, K+1, D, H, W), of which 0 is the background's.
    """
    clear = mask[:, 0].unsqueeze(-1).to(deformation.dtype)  # (B, D, H, W, 1)
    *before, last = deformation[..., :2].unbind(1)
    flow, light = torch.zeros_like(last), torch.ones_like(last)
    for here, share in zip(before, clear.unbind(1), strict=False):
        flow = flow + light * (1 - share) * here
        light = light * share
    flow = flow + light * last  # (B, H, W, 2)
    H, W = flow.shape[1:3]
    y, x = (torch.linspace(-1, 1, side, dtype=flow.dtype, device=flow.device) for side in (H, W))
    right = (flow[..., 0] - x) * ((W - 1) / W)
    down = (flow[..., 1] - y.unsqueeze(1)) * ((H - 1) / H)
    return torch.stack((right, down), dim=1)


def moved(detail: Tensor, flow: Tensor, occlusion: Tensor) -> Tensor:
    """detail (B or 1, d, n, n) at `surface_flow`, times the occlusion (B, 1, H, W) -> (B, d, n, n)."""
    size = detail.shape[2:]
    right, down = interpolate(flow, size=size, mode="bilinear", align_corners=False).unbind(1)
    y, x = (_centres(side, flow) for side in size)
    points = torch.stack((right + x, down + y.unsqueeze(1), torch.zeros_like(right)), dim=-1)
    # a picture is a volume of one slice, at z = 0
    warped = warp3d(detail.unsqueeze(2), points.unsqueeze(1), align_corners=False).squeeze(2)
    return warped * interpolate(occlusion, size=size, mode="bilinear", align_corners=False)


class DetailJoins(nn.Module):
    """Where detail joins a decoder: at the stage of its size, or what is finer than all, at the last."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        g, sizes = config.generator, len(config.detail_sizes)
        last = len(g.widths) - 2
        self.places: list[list[int]] = [[] for _ in g.widths[1:]]  # of each stage, which detail joins
        for i in range(sizes):
            self.places[min(sizes - 1 - i, last)].append(i)
        self.joins = nn.ModuleDict()
        for stage, here in enumerate(self.places):
            finer = [1 << max(0, sizes - 1 - i - last) for i in here]  # times as many pixels on a side
            channels = sum(g.detail_channels * times**2 for times in finer)
            if channels:
                self.joins[str(stage)] = DetailJoin(g.widths[stage + 1], channels)

    def forward(self, x: Tensor, stage: int, detail: Sequence[Tensor]) -> Tensor:
        """x (B, C, h, w) after an enlarging stage, and all detail that there is -> (B, C, h, w)."""
        if str(stage) not in self.joins:
            return x
        side = x.shape[-1]
        here = [detail[i] for i in self.places[stage]]
        parts = [part for each in here for part in _phases(each, each.shape[-1] // side)]
        return self.joins[str(stage)](x, parts)


class DetailJoin(nn.Module):
    """x + conv2(relu(conv1(x beside the detail))). It has no norms, and changes little at first."""

    def __init__(self, channels: int, detail_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels + detail_channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 1)
        nn.init.normal_(self.conv2.weight, std=FAINT)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]  # a convolution with a bias

    def forward(self, x: Tensor, detail: Sequence[Tensor]) -> Tensor:
        return x + self.conv2(relu(self.conv1(torch.cat((x, *detail), dim=1))))


def _phases(picture: Tensor, times: int) -> list[Tensor]:
    """(B, C, times h, times w) as times² pictures (B, C, h, w): of each square of pixels one in each."""
    if times == 1:
        return [picture]
    return [picture[..., i::times, j::times] for i in range(times) for j in range(times)]


def _centres(side: int, like: Tensor) -> Tensor:
    """(side,) of pixels, from edge to edge of the picture in [-1, 1]."""
    return (2 * torch.arange(side, dtype=like.dtype, device=like.device) + 1) / side - 1
