# SPDX-License-Identifier: Apache-2.0
"""Light on a head: one lamp and ambient light, both dimmed where other surfaces are near."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fv2v.data.synthetic.figure import Figure, Parts
from fv2v.data.synthetic.sdf import Points, length

HAIR = Parts._fields.index("hair")
REACHES = (0.05, 0.14)  # distances from a point at which shading surfaces are looked for


def lit(figure: Figure, points: Points, parts: Parts, colour: Tensor) -> Tensor:
    """The sRGB colour (B, 3, N) of lit surface points (B, N) whose albedo is `colour` (B, 3, N)."""
    identity = figure.anatomy.identity
    lamp = identity.light.unbind(1)
    halfway = normalize(identity.light + colour.new_tensor([[0.0], [0.0], [-1.0]]), dim=1).unbind(1)
    normal = _normal(figure, points, parts.nearest())
    free = _unshaded(figure, points, normal)
    key = ((_dot(normal, lamp) + 0.3) / 1.3).clamp(0, 1) * _unshaded(figure, points, lamp)
    room = identity.ambient * (0.8 - 0.2 * normal[1]) * free + 0.18 * (-normal[2]).clamp(0, 1)
    glance = _dot(normal, halfway).clamp(0, 1)
    shine = torch.where(parts.which() == HAIR, 0.10 * glance**12, 0.05 * glance**22) * key.sqrt()
    rim = 0.08 * free * (1 + normal[2]).clamp(0, 1) ** 3
    light = room.unsqueeze(1) + 0.85 * key.unsqueeze(1) * identity.light_colour
    # a square is close enough to sRGB's curve
    return (colour * colour * light + (shine + rim).unsqueeze(1)).clamp(0, 1).sqrt()


def _normal(figure: Figure, points: Points, here: Tensor, reach: float = 0.006) -> Points:
    """The outward unit normal: the gradient of the distance, which is `here` at the points."""
    x, y, z = points
    nx = figure.distance((x + reach, y, z)) - here
    ny = figure.distance((x, y + reach, z)) - here
    nz = figure.distance((x, y, z + reach)) - here
    size = length(nx, ny, nz)
    return nx / size, ny / size, nz / size


def _unshaded(figure: Figure, points: Points, towards: Points) -> Tensor:
    """1 where nothing is near in that direction, down to 0.25 where something is."""
    shade = torch.ones_like(points[0])
    for reach in REACHES:
        there = tuple(p + reach * t for p, t in zip(points, towards, strict=True))
        shade = torch.minimum(shade, figure.distance(there) / reach)
    return (0.25 + 0.75 * shade).clamp(0.25, 1)


def _dot(a: Points, b: Points) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
