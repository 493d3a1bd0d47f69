# SPDX-License-Identifier: Apache-2.0
"""Pictures of heads by sphere tracing: rays step to the surface, which is coloured and lit.

The camera is orthographic. In **picture coordinates** x and y run over [-1, 1] from edge to edge, so pixel i
of n is centred at (2 i + 1) / n - 1; z is the same length away from the viewer. The networks' keypoints live
on the corner lattice instead: `Truth.on_lattice` goes from one to the other.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from fv2v.data.synthetic import albedo
from fv2v.data.synthetic.anatomy import Anatomy
from fv2v.data.synthetic.expression import Expression
from fv2v.data.synthetic.figure import Figure
from fv2v.data.synthetic.identity import Identity
from fv2v.data.synthetic.lighting import lit
from fv2v.data.synthetic.pose import Pose
from fv2v.data.synthetic.sdf import Points

NEAR, FAR = -1.2, 1.0  # z where rays start and end
CELL = 4  # rays across a cell, which first approaches the head as one ray
STEP = 0.8  # the share of the distance, which is not exact, that one step covers
COARSE_STEPS = 12
ROUNDS = (2, 3, 4, 8, 10)  # steps; after each round the rays that have arrived are left out
REACHED = 0.0015  # distance of a ray that has arrived
GRAZING = 0.06  # distance at which a ray still on its way has passed so close that it counts as arrived
# drawn at once on a GPU; on a CPU one frame, which stays in the cache and does not depend on its batch
GPU_RAYS = 1 << 21


@torch.no_grad()
def render(
    identity: Identity, expression: Expression, pose: Pose, size: int, *, supersample: int = 2
) -> Tensor:
    """B heads as pictures (B, 3, size, size), float32 in [0, 1], where the parameters are.

    Args:
        identity, expression, pose: B rows each.
        size: pixels across.
        supersample: rays across a pixel, which are averaged.

    Raises:
        ValueError: different numbers of rows, or a size that is no multiple of 4 rays.
    """
    if not len(identity) == len(expression) == len(pose):
        raise ValueError(
            "expected as many identities as expressions and poses, "
            f"got {len(identity)}, {len(expression)} and {len(pose)}"
        )
    check_size(size, supersample)
    rays = size * supersample
    at_once = max(1, GPU_RAYS // rays**2) if pose.rotation.is_cuda else 1
    pictures = []
    for start in range(0, len(pose), at_once):
        rows = slice(start, start + at_once)
        picture = _draw(Figure(Anatomy(identity[rows], expression[rows]), pose[rows]), rays)
        pictures.append(avg_pool2d(picture, supersample))
    return torch.cat(pictures)


def check_size(size: int, supersample: int = 2) -> None:
    """ValueError where `render` does not draw pictures of that size."""
    if size < 1 or supersample < 1 or size * supersample % CELL:
        raise ValueError(
            f"expected a size whose rays (size * supersample) are a multiple of {CELL}, "
            f"got {size} * {supersample}"
        )


def _draw(figure: Figure, rays: int) -> Tensor:
    """(B, 3, rays, rays)"""
    picture = albedo.background(figure.anatomy, *_grid(rays, figure.scale))
    index, points, hit = trace(figure, rays)
    parts = figure.parts(points)
    colour = lit(figure, points, parts, albedo.surface(figure, points, parts))
    index = index.unsqueeze(1).expand(-1, 3, -1)
    colour = torch.where(hit.unsqueeze(1), colour, picture.gather(2, index))
    return picture.scatter(2, index, colour).unflatten(2, (rays, rays))


def trace(figure: Figure, rays: int) -> tuple[Tensor, Points, Tensor]:
    """Where rays (B, rays * rays) meet the head: (B, N) numbers of rays, points, and whether each does.

    Rays that are not among the N do not. Rows with fewer hits than N are filled up with rays that miss.
    """
    x, y = _grid(rays, figure.scale)
    z, cells = _approach(figure, rays)
    index = _first(cells.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2).flatten(1))
    x, y, z = _pick(index, x, y, z.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2).flatten(1))
    z, hit = _walk(figure, (x, y, z))
    nearest = _first(hit)
    x, y, z, hit = _pick(nearest, x, y, z, hit)
    return index.gather(1, nearest), (x, y, z), hit


def _grid(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """x and y (1, count * count) of the centres of count × count squares."""
    middles = (2 * torch.arange(count, device=like.device, dtype=like.dtype) + 1) / count - 1
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    return x.reshape(1, -1), y.reshape(1, -1)


def _approach(figure: Figure, rays: int) -> tuple[Tensor, Tensor]:
    """For cells of rays (B, n, n): a z before which no ray of the cell meets the head; whether any can."""
    count = rays // CELL
    x, y = _grid(count, figure.scale)
    x, y = x.expand(len(figure.scale), -1), y.expand(len(figure.scale), -1)
    radius = 2**0.5 / count
    z = torch.full_like(x, NEAR)
    for _ in range(COARSE_STEPS):
        z = z + STEP * (figure.distance((x, y, z)) - radius)
    return z.unflatten(1, (count, count)), (z < FAR).unflatten(1, (count, count))


def _walk(figure: Figure, points: Points) -> tuple[Tensor, Tensor]:
    """z (B, N) where rays meet the surface, and whether they do.

    A step is the distance times a gain, which follows by Newton's rule from the step before. Rays that have
    arrived or left the scene take no part in later rounds; most arrive soon.
    """
    x, y, z = points
    distance, gain = figure.distance(points), torch.full_like(z, STEP)
    index = torch.arange(z.shape[1], device=z.device).expand_as(z)
    for steps in ROUNDS:
        at_x, at_y, at_z, here, factor = _pick(index, x, y, z, distance, gain)
        for _ in range(steps):
            stride = factor * here
            at_z = at_z + stride
            before, here = here, figure.distance((at_x, at_y, at_z))
            slope = (before - here) / torch.where(stride.abs() < 1e-9, 1e-9, stride)
            factor = (1 / slope.clamp(min=0.5)).clamp(min=0.5)
        z, distance, gain = (
            old.scatter(1, index, new) for old, new in ((z, at_z), (distance, here), (gain, factor))
        )
        index = _first((distance.abs() > REACHED) & (z < FAR))
    return z, (distance < GRAZING) & (z < FAR)


def _first(mask: Tensor) -> Tensor:
    """Indices (B, N') of where `mask` (B, N) is True; rows with fewer are filled up with others."""
    count = int(mask.sum(1).max())
    return mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :count]


def _pick(index: Tensor, *tensors: Tensor) -> list[Tensor]:
    return [tensor.expand(len(index), -1).gather(1, index) for tensor in tensors]
