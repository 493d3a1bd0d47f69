# SPDX-License-Identifier: Apache-2.0
"""The colours of all parts: sRGB albedo (B, 3, N) at points of the surface."""

import torch
from torch import Tensor

from fv2v.data.synthetic.anatomy import IRIS_RADIUS, PUPIL_RADIUS, Anatomy, side
from fv2v.data.synthetic.figure import Figure, Parts
from fv2v.data.synthetic.sdf import Points, bump

SOFT = 0.006  # width over which colours blend at edges, in head coordinates
WHITE, DARK = (0.95, 0.95, 0.96), (0.04, 0.03, 0.03)
MOUTH, TEETH, TONGUE = (0.25, 0.06, 0.07), (0.95, 0.93, 0.89), (0.72, 0.33, 0.33)

Colour = Tensor | tuple[float, float, float]


def over(below: Tensor, colour: Colour, amount: Tensor) -> Tensor:
    """(B, 3, N) blended with `colour`, (B, 3, N), (B, 3, 1) or one for all, by `amount` (B, N)."""
    if isinstance(colour, tuple):
        colour = below.new_tensor(colour)[:, None]
    return below + (colour - below) * amount.unsqueeze(1)


def darker(below: Tensor, amount: Tensor) -> Tensor:
    """(B, 3, N) darkened by the share `amount` (B, N)."""
    return below * (1 - amount).unsqueeze(1)


def ramp(value: Tensor, soft: float = SOFT) -> Tensor:
    """1 where value > 0, else 0, and a ramp of width `soft` between."""
    return (value / soft + 0.5).clamp(0, 1)


def surface(figure: Figure, points: Points, parts: Parts) -> Tensor:
    """The colour of surface points, in picture coordinates, by the part that they are on."""
    anatomy, local = figure.anatomy, figure.to_head(points)
    part = parts.which().unsqueeze(1)
    colour = face(anatomy, local)
    for name, other in (
        ("hair", hair(anatomy, local)),
        ("neck", anatomy.identity.skin),
        ("clothes", clothes(anatomy, figure.to_body(points))),
        ("glasses", anatomy.identity.frames),
        *((("hat", hat(anatomy, local)),) if parts.hat is not None else ()),
        *((("hand", anatomy.identity.skin),) if parts.hand is not None else ()),
    ):
        colour = torch.where(part == Parts._fields.index(name), other, colour)
    return colour


def face(anatomy: Anatomy, local: Points) -> Tensor:
    x, y, z = local
    mirrored = (x.abs(), y, z)
    front = ((-0.05 - z) / 0.06).clamp(0, 1)
    colour = _skin(anatomy, local, front)
    colour = _beard(anatomy, local, colour)
    colour = _ears(anatomy, mirrored, colour)
    colour = _nostrils(anatomy, mirrored, colour, front)
    colour = _eyes(anatomy, local, colour, front)
    colour = _brows(anatomy, mirrored, colour, front)
    return _mouth(anatomy, local, colour, front)


def _skin(anatomy: Anatomy, local: Points, front: Tensor) -> Tensor:
    i, smile = anatomy.identity, anatomy.expression.smile
    x, y, z = local
    ax, phase = x.abs(), i.phases
    mottled = torch.sin(17 * x + 9 * z + phase[:, 0]) * torch.sin(15 * y + phase[:, 1])
    dots = torch.sin(83 * x + phase[:, 2]) * torch.sin(79 * y + phase[:, 3]) * torch.sin(31 * (x + y))
    spotted = i.freckles * ((dots - 0.45) * 3).clamp(0, 1) * bump(ax - 0.14, y - 0.12, 0.16, 0.1)
    colour = i.skin * (1 + 0.025 * mottled).unsqueeze(1)
    colour = over(colour, i.skin * i.skin.new_tensor([0.7, 0.5, 0.42])[:, None], 0.5 * spotted * front)
    blush = bump(ax - 0.22, y - 0.15, 0.09, 0.075) * (0.35 + 0.35 * smile.clamp(min=0))
    colour = colour * (1 - blush.unsqueeze(1) * colour.new_tensor([0.02, 0.2, 0.18])[:, None])
    crease = ax - (0.11 + 0.75 * (y - i.nose_y))  # from the nose's wings to the mouth
    line = bump(crease, y - 0.5 * (i.nose_y + anatomy.mouth.corner), 0.014, 0.07)
    colour = darker(colour, front * line * (0.04 + 0.14 * smile.clamp(min=0)))
    return colour if i.photo is None else _photographic(anatomy, local, colour, front)


def _photographic(anatomy: Anatomy, local: Points, colour: Tensor, front: Tensor) -> Tensor:
    """Pores and blotches, redder cheeks, nose and ears, and the lines of a frown."""
    i, e, (x, y, z) = anatomy.identity, anatomy.expression, local
    assert i.photo is not None
    phase = i.phases
    fine = torch.sin(97 * x + phase[:, 0] + 3 * torch.sin(41 * y)) * torch.sin(103 * y + phase[:, 1])
    coarse = torch.sin(23 * x + 11 * y + phase[:, 2]) * torch.sin(19 * y - 13 * z + phase[:, 3])
    colour = colour * (1 + i.photo.pores * (0.03 * fine + 0.035 * coarse)).unsqueeze(1)
    red = bump(x.abs() - 0.2, y - 0.12, 0.1, 0.09) + bump(x, y - i.nose_y, 0.07, 0.06)
    colour = colour * (1 - 0.35 * red.unsqueeze(1) * colour.new_tensor([0.0, 0.16, 0.14])[:, None])
    lines = bump(x.abs() - 0.03, y - anatomy.brow_y, 0.008, 0.05) * e.frown
    brow = 0.5 + 0.5 * torch.sin(110 * (y + 0.25))
    raised = bump(x, y + 0.3, 0.2, 0.06) * brow**4 * (e.brows - 0.4).clamp(0, 1)
    return darker(colour, front * (0.3 * lines + 0.12 * raised))


def _beard(anatomy: Anatomy, local: Points, colour: Tensor) -> Tensor:
    i, mouth = anatomy.identity, anatomy.mouth
    x, y, z = local
    low = y - (0.27 - 2.2 * (x.abs() - 0.12).clamp(min=0) ** 2)
    low = torch.maximum(low, torch.minimum(y + 0.02, z + 0.1))  # whiskers, up to the ears
    edge = torch.minimum(low, 0.12 - z)
    hairs = 0.85 + 0.15 * torch.sin(120 * x + 8 * torch.sin(60 * y)) * torch.sin(95 * y)
    whole = ramp(edge, 0.06) * i.beard * hairs
    nude = bump(x, y - mouth.lower - 2 * mouth.thickness, 0.12, 0.05)
    return over(colour, i.hair * 0.85, whole * (1 - 0.6 * nude) * 0.85)


def _ears(anatomy: Anatomy, mirrored: Points, colour: Tensor) -> Tensor:
    i = anatomy.identity
    ax, y, z = mirrored
    shell = bump(y - 0.02, z - 0.04, 0.06 * i.ears, 0.04 * i.ears) * ramp(ax - i.skull[:, 0], 0.03)
    rosy = colour * colour.new_tensor([0.85, 0.62, 0.58])[:, None]
    return over(colour, rosy, 0.7 * shell)


def _nostrils(anatomy: Anatomy, mirrored: Points, colour: Tensor, front: Tensor) -> Tensor:
    i = anatomy.identity
    ax, y, _ = mirrored
    width = i.nose[:, 0]
    holes = bump(ax - 0.55 * width, y - i.nose_y - 0.72 * width, 0.36 * width, 0.22 * width)
    return darker(colour, 0.75 * holes * front)


def _eyes(anatomy: Anatomy, local: Points, colour: Tensor, front: Tensor) -> Tensor:
    i, eyes = anatomy.identity, anatomy.eyes
    x, y, _ = local
    ax, sign = x.abs(), side(x)
    u, v = (ax - i.eye_x) / i.eye_width, y - i.eye_y
    v = v + i.eye_tilt * u
    arc = 1 - u * u
    upper, lower = torch.where(x < 0, eyes.left, eyes.right) * arc, eyes.lower * arc
    near = (1.15 - u.abs()) * i.eye_width
    colour = darker(colour, front * 0.22 * bump(u / 1.25, v + 0.02, 1.0, 0.075))
    crease = v - 1.25 * upper + 0.022
    colour = darker(colour, front * 0.35 * torch.exp(-((crease / 0.009) ** 2)) * ramp(near, 0.03))
    dx, dy = x - sign * i.eye_x - eyes.gaze_x, y - i.eye_y - eyes.gaze_y
    r = torch.hypot(dx, dy)
    white = colour.new_tensor(WHITE)[:, None].expand_as(colour)
    eye = darker(white, 0.4 * (1 - (v - upper) / 0.035).clamp(0, 1))
    ring = (r / IRIS_RADIUS).clamp(0, 1)
    iris = i.iris * (1.15 - 0.25 * (dy < 0) - 0.6 * ring**6).unsqueeze(1)
    eye = over(eye, iris, ramp(IRIS_RADIUS - r))
    eye = over(eye, DARK, ramp(PUPIL_RADIUS - r))
    shine = torch.hypot(dx + 0.016, dy + 0.017)
    eye = over(eye, (1.0, 1.0, 1.0), ramp(0.0105 - shine))
    inside = torch.minimum(torch.minimum(v - upper, lower - v), 0.05 * (1 - u.abs()))
    colour = over(colour, eye, ramp(inside) * front)
    lash = 0.008 + 0.006 * (u + 0.3).clamp(0, 1) - (v - upper + 0.002).abs()
    colour = over(colour, DARK, 0.9 * ramp(torch.minimum(lash, near)) * front)
    below = 0.004 - (v - lower).abs()
    return darker(colour, 0.45 * ramp(torch.minimum(below, near)) * front)


def _brows(anatomy: Anatomy, mirrored: Points, colour: Tensor, front: Tensor) -> Tensor:
    i = anatomy.identity
    ax, y, _ = mirrored
    u = (ax - i.eye_x) / anatomy.brow_width
    v = y - anatomy.brow_line(u)
    thick = i.brow_thickness * (1 - 0.35 * u - 0.25 * u * u)
    hairs = 0.92 + 0.08 * torch.sin(110 * ax + 50 * y)
    cover = ramp(torch.minimum(thick - v.abs(), 0.1 * (1 - u.abs())), 0.012)
    return over(colour, i.hair * 0.7, 0.92 * cover * hairs * front)


def _mouth(anatomy: Anatomy, local: Points, colour: Tensor, front: Tensor) -> Tensor:
    i, mouth = anatomy.identity, anatomy.mouth
    x, y, _ = local
    u = x / mouth.width
    arc = (1 - u * u).clamp(min=-1)
    line = mouth.corner + (mouth.middle - mouth.corner) * arc
    upper = line + (mouth.upper - mouth.middle) * arc
    lower = line + (mouth.lower - mouth.middle) * arc
    dip = 1 - 0.25 * torch.exp(-((u / 0.22) ** 2))  # Cupid's bow
    top, bottom = upper - mouth.thickness * arc * dip, lower + 1.2 * mouth.thickness * arc
    within = 0.06 * (1 - u.abs())
    lips = ramp(torch.minimum(torch.minimum(y - top, bottom - y), within))
    shaded = i.lips * (0.92 + 0.1 * (y > line)).unsqueeze(1)
    colour = over(colour, shaded, lips * front)
    below = bump(u, y - bottom - 0.018, 0.6, 0.014)
    colour = darker(colour, 0.18 * below * front)
    gap = lower - upper
    inner = colour.new_tensor(MOUTH)[:, None].expand_as(colour)
    tongue = (0.32 + 0.4 * anatomy.expression.tongue) * gap
    inner = over(inner, TONGUE, ramp(y - lower + tongue, 0.02) * ramp(0.75 - u.abs(), 0.2))
    edge = 0.5 * (upper + mouth.upper) + 0.034
    if i.photo is not None:
        inner = _lower_teeth(anatomy, inner, u, y - lower)
    inner = over(inner, TEETH, ramp(edge - y) * ramp(0.85 - u.abs(), 0.1))
    if i.photo is not None:
        gaps = ramp(torch.cos(x * (6.2832 / 0.036)) - 0.93, 0.1) * ramp(edge - y) * ramp(0.85 - u.abs(), 0.1)
        inner = darker(inner, 0.3 * gaps + 0.35 * ramp(u.abs() - 0.62, 0.3))
    open_ = ramp(torch.minimum(torch.minimum(y - upper, lower - y) - 0.002, within))
    colour = over(colour, inner, open_ * front)
    closed = (1 - gap / 0.02).clamp(0, 1)
    seam = ramp(0.005 - (y - line).abs()) * ramp(within + 0.004)
    return darker(colour, 0.6 * seam * closed * front)


def _lower_teeth(anatomy: Anatomy, inner: Tensor, u: Tensor, above: Tensor) -> Tensor:
    """Where lips are drawn apart; `above` the lower lip y is negative. Their row is lower, and set back."""
    shown = anatomy.expression.teeth * ramp(above + 0.03) * ramp(0.7 - u.abs(), 0.1)
    gaps = ramp(torch.cos(u * 22) - 0.9, 0.1)
    return over(inner, (0.86, 0.83, 0.77), shown * (1 - 0.3 * gaps))


def hair(anatomy: Anatomy, local: Points) -> Tensor:
    i = anatomy.identity
    x, y, z = local
    phase = i.phases
    around = torch.atan2(x, z + 0.05)
    around = around + i.combed * (2.6 * x + 0.5 * y - around)
    waves = 2.5 * torch.sin(8 * y + phase[:, 4]) + 1.5 * torch.sin(6 * around + phase[:, 5])
    strands = torch.sin(46 * around + waves) + 0.7 * torch.sin(83 * around + 1.7 * waves + phase[:, 6])
    strands = strands + 0.5 * torch.sin(23 * y + 19 * x + 7 * z)
    return i.hair * (1 + 0.13 * strands).unsqueeze(1)


def hat(anatomy: Anatomy, local: Points) -> Tensor:
    """Felt, or knitted where there is no brim; a band above the edge."""
    i, (x, y, z) = anatomy.identity, local
    assert i.photo is not None
    knitted = (i.photo.brim < 0) * torch.sin(60 * torch.atan2(x, z + 0.05)) * torch.sin(70 * y)
    band = bump(y - i.photo.hat_y - 0.22 * (z + 0.4) + 0.045, torch.zeros_like(y), 0.028, 1.0)
    colour = i.photo.hat_colour * (1 + 0.12 * knitted).unsqueeze(1)
    return darker(colour, 0.45 * band * (i.photo.brim > 0))


def clothes(anatomy: Anatomy, body: Points) -> Tensor:
    """Cloth, and the skin above its neckline."""
    i = anatomy.identity
    x, y, _ = body
    strength, across, along = i.pattern.unbind(1)
    stripes = ramp(torch.sin(across * 4 * y + i.phases[:, 7]), 0.3) * ramp(torch.sin(along * 4 * x), 0.3)
    cloth = i.clothes * (1 + strength.clamp(min=0) * (stripes - 0.5)).unsqueeze(1)
    width, depth = i.neckline.unbind(1)
    hem = 0.93 + depth * (1 - (x / width).abs()).clamp(min=-0.5)
    bare = torch.minimum(width - x.abs(), hem - y)
    seam = 0.016 - (bare + 0.016).abs()
    return over(darker(cloth, 0.3 * ramp(seam, 0.012)), i.skin, ramp(bare, 0.012))


def background(anatomy: Anatomy, x: Tensor, y: Tensor) -> Tensor:
    """The background at points (1, N) of the picture: a gradient between two colours, with blobs."""
    i = anatomy.identity
    phase = i.phases
    fade = 0.5 + 0.5 * (y * torch.cos(phase[:, 1]) + x * torch.sin(phase[:, 1]))
    strength, across, along = i.blobs.unbind(1)
    blobs = torch.sin(across * x + phase[:, 2]) * torch.sin(along * y + phase[:, 3])
    blobs = blobs + 0.7 * torch.sin(1.4 * along * (x + y) + phase[:, 4])
    colour = over(i.background.expand(-1, -1, x.shape[-1]), i.backdrop, fade.clamp(0, 1))
    return (colour * (1 + strength * blobs).unsqueeze(1)).clamp(0, 1)
