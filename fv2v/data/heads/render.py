"""Heads as pictures: rays that walk to the surface, its colour, and light on it.

The camera is orthographic. In **picture coordinates** x and y run over [-1, 1] from edge to edge, so pixel i
of n is centred at (2 i + 1) / n - 1; z is the same length away from the viewer. The networks' keypoints live
on the corner lattice instead: `Truth.on_lattice` goes from one to the other.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from fv2v.data.heads import paint
from fv2v.data.heads.anatomy import Anatomy
from fv2v.data.heads.expression import Expression
from fv2v.data.heads.identity import Identity
from fv2v.data.heads.pose import Pose
from fv2v.data.heads.shape import Points, Shape

NEAR, FAR = -1.2, 1.0  # z where rays start and end
CELL = 4  # rays across a cell that walks to the head as one
STEP = 0.85  # of the distance, which is not exact
COARSE_STEPS, FINE_STEPS, LAST_STEPS = 24, 5, 24
REACHED, CLOSE = 0.0015, 0.006  # distances: arrived; near enough after the last step
CHUNK = {"cpu": 1 << 16, "cuda": 1 << 21}  # rays at once


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
    at_once = max(1, CHUNK[pose.rotation.device.type] // rays**2)
    pictures = []
    for start in range(0, len(pose), at_once):
        rows = slice(start, start + at_once)
        picture = _draw(Shape(Anatomy(identity[rows], expression[rows]), pose[rows]), rays)
        pictures.append(avg_pool2d(picture, supersample))
    return torch.cat(pictures)


def check_size(size: int, supersample: int = 2) -> None:
    """ValueError where `render` does not draw pictures of that size."""
    if size < 1 or supersample < 1 or size * supersample % CELL:
        raise ValueError(
            f"expected a size whose rays (size * supersample) are a multiple of {CELL}, "
            f"got {size} * {supersample}"
        )


def _draw(shape: Shape, rays: int) -> Tensor:
    """(B, 3, rays, rays)"""
    x, y = _grid(rays, shape.scale)
    picture = paint.background(shape.anatomy, x, y)
    z, cells = _approach(shape, rays)
    index = _first(cells.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2).flatten(1))
    x, y, z = _pick(index, x, y, z.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2).flatten(1))
    z, hit = _walk(shape, (x, y, z))
    nearest = _first(hit)
    x, y, z, hit = _pick(nearest, x, y, z, hit)
    index = index.gather(1, nearest)
    colour = _lit(shape, (x, y, z))
    index = index.unsqueeze(1).expand(-1, 3, -1)
    colour = torch.where(hit.unsqueeze(1), colour, picture.gather(2, index))
    return picture.scatter(2, index, colour).unflatten(2, (rays, rays))


def _grid(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """x and y (1, count * count) of the middles of so many squares across the picture."""
    middles = (2 * torch.arange(count, device=like.device, dtype=like.dtype) + 1) / count - 1
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    return x.reshape(1, -1), y.reshape(1, -1)


def _approach(shape: Shape, rays: int) -> tuple[Tensor, Tensor]:
    """For cells of rays (B, n, n): a z before which no ray of the cell meets anything, and whether one may."""
    count = rays // CELL
    x, y = _grid(count, shape.scale)
    x, y = x.expand(len(shape.scale), -1), y.expand(len(shape.scale), -1)
    radius = 2**0.5 / count
    z = torch.full_like(x, NEAR)
    for _ in range(COARSE_STEPS):
        z = z + STEP * (shape.distance((x, y, z)) - radius)
    return z.unflatten(1, (count, count)), (z < FAR).unflatten(1, (count, count))


def _walk(shape: Shape, points: Points) -> tuple[Tensor, Tensor]:
    """z (B, N) where rays meet the surface, and whether they do. Most arrive soon; the others walk on."""
    x, y, z = points
    for _ in range(FINE_STEPS):
        distance = shape.distance((x, y, z))
        z = z + STEP * distance
    index = _first((distance > REACHED) & (z < FAR))
    px, py, pz = _pick(index, x, y, z)
    for _ in range(LAST_STEPS):
        distance = shape.distance((px, py, pz))
        pz = pz + STEP * distance
    z = z.scatter(1, index, pz)
    return z, shape.distance((x, y, z)) < CLOSE


def _first(mask: Tensor) -> Tensor:
    """Indices (B, N') of where `mask` (B, N) is True; rows with fewer of them go on with others."""
    count = int(mask.sum(1).max())
    return mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :count]


def _pick(index: Tensor, *tensors: Tensor) -> list[Tensor]:
    return [tensor.expand(len(index), -1).gather(1, index) for tensor in tensors]


def _lit(shape: Shape, points: Points) -> Tensor:
    """The colour (B, 3, N) of points on the surface, as the camera sees them."""
    identity = shape.anatomy.identity
    normal = _normal(shape, points)
    parts = shape.parts(points)
    part = torch.stack([p for p in parts if p is not None]).argmin(0)
    local, body = shape.to_head(points), shape.to_body(points)
    colour = paint.face(shape.anatomy, local)
    colour = torch.where((part == 1).unsqueeze(1), paint.hair(shape.anatomy, local), colour)
    colour = torch.where((part == 2).unsqueeze(1), identity.skin, colour)
    colour = torch.where((part == 3).unsqueeze(1), paint.clothes(shape, body), colour)
    colour = torch.where((part == 4).unsqueeze(1), identity.frames, colour)
    light = identity.light.unbind(1)
    facing = sum_of(normal, light)
    key = ((facing + 0.3) / 1.3).clamp(0, 1) * _unshaded(shape, points, light)
    sky = 0.8 - 0.2 * normal[1]
    fill = identity.ambient * sky * _unshaded(shape, points, normal) + 0.18 * (-normal[2]).clamp(0, 1)
    half = torch.nn.functional.normalize(
        identity.light[..., 0] + normal[0].new_tensor([0.0, 0.0, -1.0]), dim=-1
    )
    glance = sum_of(normal, half.unsqueeze(-1).unbind(1)).clamp(min=0)
    shine = torch.where(part == 1, 0.10 * glance**12, 0.05 * glance**22) * key.sqrt()
    rim = 0.08 * (1 + normal[2]).clamp(0, 1) ** 3
    linear = colour * colour * (fill.unsqueeze(1) + 0.85 * key.unsqueeze(1) * identity.light_colour)
    return (linear + (shine + rim).unsqueeze(1)).clamp(0, 1).sqrt()


def sum_of(a: Points, b: Points) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _normal(shape: Shape, points: Points, reach: float = 0.008) -> Points:
    """The unit vector out of the surface: distances at the four corners of a tetrahedron."""
    x, y, z = points
    corners = ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1))
    a, b, c, d = (shape.distance((x + reach * i, y + reach * j, z + reach * k)) for i, j, k in corners)
    nx, ny, nz = a - b - c + d, -a - b + c + d, -a + b - c + d
    length = (nx * nx + ny * ny + nz * nz + 1e-12).sqrt()
    return nx / length, ny / length, nz / length


def _unshaded(shape: Shape, points: Points, towards: Points) -> Tensor:
    """1 where nothing is near in that direction, less where something is."""
    shade = torch.ones_like(points[0])
    for reach in (0.05, 0.14):
        x, y, z = (p + reach * t for p, t in zip(points, towards, strict=True))
        shade = torch.minimum(shade, shape.distance((x, y, z)) / reach)
    return (0.25 + 0.75 * shade).clamp(0.25, 1)
