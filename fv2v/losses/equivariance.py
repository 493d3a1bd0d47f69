# SPDX-License-Identifier: Apache-2.0
"""L_E, equivariance: keypoints of a warped picture are warped keypoints (Siarohin et al. 2019, Sec. 3.1).

A warp T reads the picture: d_T(p) = d(T(p)). What d has at x_d, d_T has at x_T with T(x_T) = x_d, and by the
chain rule J_d = T′(x_T) J_T. T acts on x and y alone: z, and J's third row and column, are not compared.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from fv2v.batch import Batched
from fv2v.losses.distance import l1

_TINY = 1e-12  # keeps the logarithm finite at a control point, where what it multiplies is 0


@dataclass(frozen=True, slots=True)
class RandomWarp(Batched):
    """T(p) = A p + b + Σ_c w_c U(‖p − c‖), U(r) = r² log r: B affine maps with thin-plate splines.

    Points are keypoints' (x, y) on the corner lattice (geometry/__init__.py): ±1 are the centres of a
    volume's first and last voxels. Public code takes abs(x) + abs(y) for r and the same w for both axes; here
    r is the Euclidean distance of a thin plate, and each axis has its own w.
    """

    linear: Tensor  # (B, 2, 2)  A
    shift: Tensor  # (B, 2)      b
    bends: Tensor  # (B, C, 2)   w

    @classmethod
    def sample(
        cls,
        batch: int,
        generator: torch.Generator,
        *,
        sigma_affine: float = 0.05,
        sigma_tps: float = 0.005,
        points: int = 5,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "RandomWarp":
        """Random warps near the identity. Drawn on the generator's device, so `device` changes no number.

        Args:
            batch: B, how many.
            generator: of all random numbers.
            sigma_affine: standard deviation of A − 1 and b.
            sigma_tps: of w.
            points: control points to an axis, C = points².
        """
        affine = sigma_affine * torch.randn(batch, 2, 3, generator=generator, device=generator.device)
        bends = sigma_tps * torch.randn(batch, points**2, 2, generator=generator, device=generator.device)
        affine, bends = affine.to(device, dtype), bends.to(device, dtype)
        eye = torch.eye(2, device=device, dtype=dtype)
        return cls(eye + affine[:, :, :2], affine[:, :, 2], bends)

    @property
    def controls(self) -> Tensor:
        """c (C, 2): a square lattice over [-1, 1]²."""
        side = math.isqrt(self.bends.shape[1])
        line = torch.linspace(-1, 1, side, device=self.bends.device, dtype=self.bends.dtype)
        return torch.cartesian_prod(line, line)

    def points(self, xy: Tensor) -> Tensor:
        """T(p) of points (B or 1, K, 2) -> (B, K, 2), in the warp's dtype, also under autocast."""
        xy, offsets = self._offsets(xy)
        squared = offsets.square().sum(-1)  # (B, K, C)
        radial = squared * torch.log(squared + _TINY) / 2
        with torch.autocast(xy.device.type, enabled=False):
            return xy @ self.linear.mT + self.shift.unsqueeze(1) + radial @ self.bends

    def jacobian(self, xy: Tensor) -> Tensor:
        """T′ at points (B or 1, K, 2) -> (B, K, 2, 2): [i, j] is ∂T_i / ∂p_j."""
        xy, offsets = self._offsets(xy)
        squared = offsets.square().sum(-1, keepdim=True)
        slopes = offsets * (torch.log(squared + _TINY) + squared / (squared + _TINY))  # (B, K, C, 2)
        with torch.autocast(xy.device.type, enabled=False):
            return self.linear.unsqueeze(1) + self.bends.mT.unsqueeze(1) @ slopes

    def image(self, picture: Tensor, voxels: int) -> Tensor:
        """d_T (B, 3, n, n): the picture (B, 3, n, n) read at T, reflected at its edges.

        The same map as `points`: a picture and the volume made of it share their outer faces, between which
        the centres of v voxels span (v − 1) / v of the side. In between, pictures are read bilinearly.

        Args:
            picture: in any dtype; read in the warp's.
            voxels: v, to a side of the volume: `config.image_size // config.volume_stride`.
        """
        if voxels < 2:
            raise ValueError(f"expected a volume of 2 voxels a side at least, got {voxels}")
        factor = voxels / (voxels - 1)
        dtype, device = self.linear.dtype, self.linear.device
        height, width = picture.shape[2:]
        y, x = ((2 * torch.arange(n, device=device, dtype=dtype) + 1) / n - 1 for n in (height, width))
        lattice = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (n, n, 2)
        read = self.points(factor * lattice.view(1, -1, 2)) / factor
        warped = grid_sample(
            picture.to(dtype),
            read.view(-1, height, width, 2),
            padding_mode="reflection",
            align_corners=False,
        )
        return warped.to(picture.dtype)

    def _offsets(self, xy: Tensor) -> tuple[Tensor, Tensor]:
        """The points in the warp's dtype, and p − c (B, K, C, 2)."""
        if xy.dim() != 3 or xy.shape[2] != 2:
            raise ValueError(f"expected points (B, K, 2), got {tuple(xy.shape)}")
        xy = xy.to(self.linear.dtype)
        return xy, xy.unsqueeze(2) - self.controls


def equivariance(kp_driving: Tensor, kp_warped: Tensor, warp: RandomWarp) -> Tensor:
    """E abs(x_d − T(x_T)), the mean over keypoints (B, K, 3) and their x and y.

    As public code has it: T rather than the paper's T⁻¹ on x_d, which a spline does not have in closed form.

    Args:
        kp_driving: x_d, of the driving frame.
        kp_warped: x_T, of `warp.image` of it.
        warp: T.
    """
    return l1(kp_driving[..., :2], warp.points(kp_warped[..., :2]))


def equivariance_jacobians(
    jac_driving: Tensor, jac_warped: Tensor, warp: RandomWarp, kp_warped: Tensor
) -> Tensor:
    """E abs(J_d⁻¹ T′(x_T) J_T − 1), the mean over the (x, y) blocks of the Jacobians (B, K, 3, 3).

    Not finite where a block of J_d has no inverse, as in a head turned by a full 90°.
    """
    dtype = warp.linear.dtype
    driving, warped = (each[..., :2, :2].to(dtype) for each in (jac_driving, jac_warped))
    slope = warp.jacobian(kp_warped[..., :2])
    with torch.autocast(slope.device.type, enabled=False):
        product = torch.linalg.inv_ex(driving).inverse @ slope @ warped
    return l1(product, torch.eye(2, device=slope.device, dtype=dtype).expand_as(product))
