# SPDX-License-Identifier: Apache-2.0
"""What the public releases call, in stock PyTorch: the baseline of every ratio.

The torch calls that the releases make in a frame, kinder to them in one thing: the coordinate grid, which
they build at every call, is built once outside. `align_corners` is False, as in every release. A release
builds the flows once a frame and uses them twice; here `warp_candidates` and `compose_flow` each include
them, as the operators do. Features in half precision are widened for the sampling and the result narrowed
again, as autocast does; in float32 that costs nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def coordinates(D: int, H: int, W: int, device: str) -> Tensor:
    """(D, H, W, 3): (x, y, z) of every voxel on the corner lattice."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, device=device) for n in (D, H, W)), indexing="ij")
    return torch.stack((x, y, z), dim=-1)


def keypoint_flow(grid: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
    """(D, H, W, 3), (B, K, 3) twice -> (B, K+1, D, H, W, 3)."""
    B, K, _ = kp_source.shape
    identity = grid[None, None]
    flows = identity - kp_driving.view(B, K, 1, 1, 1, 3) + kp_source.view(B, K, 1, 1, 1, 3)
    return torch.cat((identity.repeat(B, 1, 1, 1, 1, 1), flows), dim=1)


def warp_candidates(grid: Tensor, features: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
    """Flows, repeat, one grid_sample, two Gaussians, cat: (B, C, D, H, W) -> (B, (K+1)(C+1), D, H, W)."""
    B, C, D, H, W = features.shape
    flows = keypoint_flow(grid, kp_source, kp_driving).flatten(0, 1)
    copies = features.to(grid.dtype).unsqueeze(1).repeat(1, len(flows) // B, 1, 1, 1, 1).flatten(0, 1)
    warped = F.grid_sample(copies, flows, align_corners=False).view(B, -1, C, D, H, W)
    difference = gaussians(grid, kp_driving) - gaussians(grid, kp_source)
    background = torch.zeros_like(difference[:, :1])
    heatmaps = torch.cat((background, difference), dim=1).unsqueeze(2)
    return torch.cat((heatmaps, warped), dim=2).flatten(1, 2).to(features.dtype)


def gaussians(grid: Tensor, keypoints: Tensor, variance: float = 0.01) -> Tensor:
    """(D, H, W, 3), (B, K, 3) -> (B, K, D, H, W)."""
    offset = grid - keypoints[:, :, None, None, None]
    return torch.exp(-0.5 * (offset**2).sum(-1) / variance)


def compose_flow(grid: Tensor, mask_logits: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
    """Softmax, flows, weighted sum: (B, K+1, D, H, W) -> (B, D, H, W, 3)."""
    mask = F.softmax(mask_logits, dim=1).unsqueeze(2)
    flows = keypoint_flow(grid, kp_source, kp_driving).permute(0, 1, 5, 2, 3, 4)
    return (flows * mask).sum(dim=1).permute(0, 2, 3, 4, 1)


def warp3d(features: Tensor, grid: Tensor) -> Tensor:
    """(B, C, D, H, W), (B, D', H', W', 3) -> (B, C, D', H', W')."""
    return F.grid_sample(features.to(grid.dtype), grid, align_corners=False).to(features.dtype)


def compose_warp(
    grid: Tensor, features: Tensor, mask_logits: Tensor, kp_source: Tensor, kp_driving: Tensor
) -> Tensor:
    """Softmax, flows, weighted sum, `grid_sample`: (B, C, D, H, W), (B, K+1, D, H, W) -> (B, C, D, H, W)."""
    return warp3d(features, compose_flow(grid, mask_logits, kp_source, kp_driving))


def mask_head(
    grid: Tensor, features: Tensor, mask_taps: Tensor, kp_source: Tensor, kp_driving: Tensor
) -> Tensor:
    """The sum of (B, T, K+1, D, H, W) along x to logits, then `compose_warp`."""
    T, W = mask_taps.shape[1], mask_taps.shape[-1]
    padded = F.pad(mask_taps, (T // 2, T // 2))
    logits = padded[:, 0, ..., :W]
    for t in range(1, T):
        logits = logits + padded[:, t, ..., t : t + W]
    return compose_warp(grid, features, logits, kp_source, kp_driving)


def soft_argmax3d(grid: Tensor, temperature: float, logits: Tensor) -> Tensor:
    """Softmax over the flattened volume, expectation on the lattice: (B, K, D, H, W) -> (B, K, 3)."""
    return (heat(grid, temperature, logits) * grid).sum(dim=(2, 3, 4))


def soft_argmax3d_with_jacobians(
    grid: Tensor, temperature: float, logits: Tensor, maps: Tensor
) -> tuple[Tensor, Tensor]:
    """The same, and nine maps a keypoint under the same softmax: (B, 9K, D, H, W) -> (B, K, 3, 3)."""
    B, K, D, H, W = logits.shape
    weights = heat(grid, temperature, logits)
    jacobians = (weights.squeeze(-1).unsqueeze(2) * maps.view(B, K, 9, D, H, W)).sum(dim=(3, 4, 5))
    return (weights * grid).sum(dim=(2, 3, 4)), jacobians.view(B, K, 3, 3)


def modulate(negative_slope: float, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """SPADE's instance norm, scale and shift, and the leaky ReLU that follows: (B, C, H, W) -> as x."""
    return F.leaky_relu(F.instance_norm(x) * (1 + gamma) + beta, negative_slope)


def heat(grid: Tensor, temperature: float, logits: Tensor) -> Tensor:
    """(B, K, D, H, W) -> (B, K, D, H, W, 1), float32 as in autocast."""
    flat = logits.to(grid.dtype).flatten(2) / temperature
    return F.softmax(flat, dim=2).view(*logits.shape, 1)
