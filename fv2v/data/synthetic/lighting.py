# SPDX-License-Identifier: Apache-2.0
"""Light on a head: one lamp and ambient light, both dimmed where other surfaces are near."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fv2v.data.synthetic.figure import Figure, Parts
from fv2v.data.synthetic.sdf import Points, length

HAIR = Parts._fields.index("hair")
FACE, NECK, HAND = (Parts._fields.index(name) for name in ("face", "neck", "hand"))
THROUGH = (0.4, 0.16, 0.08)  # how much further round red, green and blue light goes in skin
FAR_REACHES = (0.06, 0.1, 0.15, 0.21, 0.28, 0.36, 0.46, 0.58)  # likewise, for shadows that are thrown
REACHES = (0.05, 0.14)  # distances from a point at which shading surfaces are looked for


def lit(figure: Figure, points: Points, parts: Parts, colour: Tensor) -> Tensor:
    """The sRGB colour (B, 3, N) of lit surface points (B, N) whose albedo is `colour` (B, 3, N)."""
    identity = figure.anatomy.identity
    lamp = identity.light.unbind(1)
    halfway = normalize(identity.light + colour.new_tensor([[0.0], [0.0], [-1.0]]), dim=1).unbind(1)
    normal = _normal(figure, points, parts.nearest())
    free = _unshaded(figure, points, normal)
    near = _unshaded(figure, points, lamp)
    key = ((_dot(normal, lamp) + 0.3) / 1.3).clamp(0, 1) * near
    room = identity.ambient * (0.8 - 0.2 * normal[1]) * free + 0.18 * (-normal[2]).clamp(0, 1)
    glance = _dot(normal, halfway).clamp(0, 1)
    shine = torch.where(parts.which() == HAIR, 0.10 * glance**12, 0.05 * glance**22) * key.sqrt()
    rim = 0.08 * free * (1 + normal[2]).clamp(0, 1) ** 3
    direct = key.unsqueeze(1)
    if identity.photo is not None:
        direct, shine = _photographic(figure, points, parts, _dot(normal, lamp), near, glance, shine)
    light = room.unsqueeze(1) + 0.85 * direct * identity.light_colour
    # a square is close enough to sRGB's curve
    return (colour * colour * light + (shine + rim).unsqueeze(1)).clamp(0, 1).sqrt()


def _photographic(
    figure: Figure,
    points: Points,
    parts: Parts,
    facing: Tensor,
    near: Tensor,
    glance: Tensor,
    shine: Tensor,
) -> tuple[Tensor, Tensor]:
    """The lamp's light by colour (B, 3, N), which skin lets through where it fades, redder; and highlights.

    Shadows reach as far as those of the nose on the lip and of the chin on the neck.
    """
    identity = figure.anatomy.identity
    photo = identity.photo
    assert photo is not None
    which = parts.which()
    skin = (which == FACE) | (which == NECK) | (which == HAND)
    wrap = 0.15 + skin.unsqueeze(1) * photo.subsurface.unsqueeze(1) * facing.new_tensor(THROUGH)[:, None]
    lit_ = ((facing.unsqueeze(1) + wrap) / (1 + wrap)).clamp(0, 1)
    shadow = 1 - photo.shadow * (1 - _in_lamp(figure, points, identity.light.unbind(1)))
    # what is in the shadow is not as dark in red
    soft = torch.stack([shadow ** (0.75 if colour == 0 else 1.0) for colour in range(3)], dim=1)
    oily = photo.gloss * (0.16 * glance**40 + 0.05 * glance**10) * near * shadow
    return lit_ * (near.unsqueeze(1) * soft), torch.where(skin, oily, shine)


def _in_lamp(figure: Figure, points: Points, lamp: Points) -> Tensor:
    """1 where nothing is between a point and the lamp, 0 where something is, soft at edges."""
    free = torch.ones_like(points[0])
    for reach in FAR_REACHES:
        there = tuple(p + reach * t for p, t in zip(points, lamp, strict=True))
        free = torch.minimum(free, 0.5 + 7 * figure.distance(there) / reach)
    return free.clamp(0, 1)


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
