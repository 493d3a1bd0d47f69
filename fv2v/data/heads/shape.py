"""The surfaces of a head, as signed distances: negative inside, about the distance to the surface outside.

Ellipsoids melt into each other (`melt`); what is flat on a face, as lids and lips, is a bump of Gaussian
shape on it. Distances are a little wrong where shapes are bent, so who walks along them takes shorter steps.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fv2v.data.heads.anatomy import Anatomy
from fv2v.data.heads.pose import Pose

ABSENT = 9.0  # further than anything is from anything

Points = tuple[Tensor, ...]  # x, y, z, (B, N) each


class Parts(NamedTuple):
    """Distances (B, N) to each part, in picture coordinates."""

    face: Tensor
    hair: Tensor
    neck: Tensor
    clothes: Tensor
    glasses: Tensor | None  # None where nobody has any

    def nearest(self) -> Tensor:
        """(B, N) to whatever is nearest; the face flows into the neck."""
        nearest = torch.minimum(torch.minimum(melt(self.face, self.neck, 0.05), self.hair), self.clothes)
        return nearest if self.glasses is None else torch.minimum(nearest, self.glasses)

    def which(self) -> Tensor:
        """(B, N): the number of the nearest, among `Parts._fields`."""
        return torch.stack([part for part in self if part is not None]).argmin(0)


class Shape:
    """B heads in their poses, with neck and shoulders, in picture coordinates."""

    def __init__(self, anatomy: Anatomy, pose: Pose) -> None:
        self.anatomy = anatomy
        self.scale = anatomy.identity.scale
        self.rotation = pose.rotation.unsqueeze(-1)  # (B, 3, 3, 1)
        self.translation = pose.translation.unsqueeze(-1)  # (B, 3, 1)
        i = anatomy.identity
        worn = torch.stack([t.flatten().amax() for t in (i.glasses, 1 - i.bald, i.long, i.bun, i.curls)]) > 0
        # what none of these heads has is not computed
        self.has_glasses, self.has_hair, self.has_long, self.has_bun, self.has_curls = worn.tolist()
        # the neck ends in the head and turns with it; the shoulders stay
        top = pose.rotation @ torch.tensor([0.0, 0.28, 0.12], device=pose.rotation.device)
        self.neck_top = (top.unsqueeze(-1) * self.scale.unsqueeze(1) + self.translation).unbind(1)

    def distance(self, points: Points) -> Tensor:
        """(B, N) to whatever is nearest."""
        return self.parts(points).nearest()

    def parts(self, points: Points) -> Parts:
        local = self.to_head(points)
        skull = self._skull(local)
        return Parts(
            face=self.scale * self._face(local, skull),
            hair=self.scale * self._hair(local, skull) if self.has_hair else ABSENT + skull,
            neck=self._neck(points),
            clothes=self._clothes(points),
            glasses=self.scale * self._glasses(local) if self.has_glasses else None,
        )

    def to_head(self, points: Points) -> Points:
        """From the picture's coordinates to the head's."""
        x, y, z = (p - t for p, t in zip(points, self.translation.unbind(1), strict=True))
        columns = (self.rotation / self.scale[:, None, None]).unbind(2)  # three of (B, 3, 1)
        hx, hy, hz = (torch.addcmul(torch.addcmul(c[:, 0] * x, c[:, 1], y), c[:, 2], z) for c in columns)
        return hx, hy, hz

    def to_body(self, points: Points) -> Points:
        """From the picture's coordinates to those of the shoulders, which follow the head half way."""
        x, y, z = points
        return x - 0.5 * self.translation[:, 0], y - 0.5 * self.translation[:, 1], z

    def face(self, local: Points) -> Tensor:
        """(B, N) to the skin of the head, without hair, in head coordinates."""
        return self._face(local, self._skull(local))

    def _skull(self, local: Points) -> Tensor:
        """Skull and jaw, without features: what hair grows on."""
        i, drop = self.anatomy.identity, self.anatomy.drop
        skull = ellipsoid(local, (0.0, -0.12, 0.03), i.skull.unbind(1))
        width, height, depth = i.jaw.unbind(1)
        jaw = ellipsoid(local, (0.0, 0.2 + 0.5 * drop, -0.06), (width, height + 0.5 * drop, depth))
        return melt(skull, jaw, 0.12)

    def _face(self, local: Points, skull: Tensor) -> Tensor:
        a = self.anatomy
        x, y, z = local
        ax = x.abs()
        chin = sphere(local, (0.0, a.chin_y - 0.11, -0.21), a.identity.chin)
        face = melt(skull, chin, 0.12)
        face = melt(face, self._nose((ax, y, z)), 0.045)
        face = face + self._relief(ax, y) * ((-0.05 - z) * 10).clamp(0, 1)
        size = a.identity.ears
        centre = (a.identity.skull[:, 0] + 0.012, 0.03, 0.05)
        return melt(face, ellipsoid((ax, y, z), centre, (0.04 * size, 0.115 * size, 0.075 * size)), 0.02)

    def _nose(self, mirrored: Points) -> Tensor:
        i = self.anatomy.identity
        (width, length, depth), tip_y = i.nose.unbind(1), i.nose_y
        ridge = ellipsoid(mirrored, (0.0, tip_y - 0.6 * length, -0.4), (0.8 * width, length, 0.75 * depth))
        tip = ellipsoid(mirrored, (0.0, tip_y, -0.43 - 0.25 * depth), (width, 0.9 * width, depth))
        wing = sphere(mirrored, (0.95 * width, tip_y + 0.012, -0.415), 0.58 * width)
        return melt(melt(ridge, tip, 0.05), wing, 0.03)

    def _relief(self, ax: Tensor, y: Tensor) -> Tensor:
        """What is low (positive) and high on the front of the face."""
        a, i, mouth = self.anatomy, self.anatomy.identity, self.anatomy.mouth
        smile = a.expression.smile
        u, v = ax - i.eye_x, y - i.eye_y
        relief = 0.034 * bump(u, v, 0.11, 0.075)  # sockets
        relief = relief - 0.028 * bump(u, v, 0.9 * i.eye_width, 1.3 * i.eye_height)
        relief = relief - 0.014 * bump(u, y - a.brow_y, 0.12, 0.03)
        full = 0.012 + 0.012 * i.cheeks + 0.012 * smile.clamp(min=0)
        relief = relief - full * bump(ax - 0.2, y - 0.15 + 0.03 * smile, 0.1, 0.09)
        lip = 0.5 * mouth.thickness
        across = torch.exp(-((ax / (0.8 * mouth.width)) ** 2))
        upper = torch.exp(-(((y - mouth.upper + lip) / (1.3 * lip)) ** 2))
        lower = torch.exp(-(((y - mouth.lower - 1.2 * lip) / (1.5 * lip)) ** 2))
        relief = relief - 0.022 * across * (upper + lower)
        gap = 0.5 * (mouth.lower - mouth.upper)
        inside = bump(ax, y - mouth.upper - gap, 0.6 * mouth.width, 0.7 * gap + 0.01)
        return relief + 0.5 * gap * inside

    def _hair(self, local: Points, skull: Tensor) -> Tensor:
        """A coat on the skull that thins out towards the hairline; at the back long hair; a bun."""
        i = self.anatomy.identity
        x, y, z = local
        wave = torch.sin(26 * x + i.phases[:, 0]) + 0.6 * torch.sin(47 * x + i.phases[:, 1])
        line = i.hairline + i.hair_slope * (z + 0.4) + i.parting * x + i.fringe * wave
        inside = ((line - y) / (0.06 + 0.9 * i.hair_volume)).clamp(-1, 1)
        coat = i.hair_volume * inside * (1.5 - 0.5 * inside * inside)
        hair = skull - coat * (1 + 8 * i.hair_lift * (-0.3 - y).clamp(0, 0.25) ** 2)
        if self.has_long:
            back_width = i.skull[:, 0] + 0.06 + 0.5 * i.hair_volume
            middle = 0.5 * (i.hair_length - 0.35)
            back = ellipsoid(local, (0.0, middle, 0.22), (back_width, i.hair_length - middle, 0.27))
            hair = melt(hair, back + ABSENT * (1 - i.long), 0.05)
        if self.has_bun:
            hair = melt(hair, sphere(local, (0.0, -0.6, 0.18), i.bun), 0.03)
        if self.has_curls:
            curl = torch.sin(27 * x + i.phases[:, 2]) * torch.sin(27 * y + i.phases[:, 3]) * torch.sin(27 * z)
            hair = hair - 0.018 * i.curls * curl
        return hair + ABSENT * i.bald

    def _glasses(self, local: Points) -> Tensor:
        """Rims, a bridge, and arms that reach the ears."""
        i = self.anatomy.identity
        x, y, z = local
        ax, v = x.abs(), y - i.eye_y - 0.012
        width, height, roundness = i.lens.unbind(1)
        corner = roundness * torch.minimum(width, height)
        qx, qy = (ax - i.eye_x - 0.005).abs() - width + corner, v.abs() - height + corner
        outline = torch.hypot(qx.clamp(min=0), qy.clamp(min=0)) + torch.maximum(qx, qy).clamp(max=0) - corner
        front = -0.48 + 0.85 * ax * ax
        rim = torch.hypot(outline, z - front)
        inner, outer = i.eye_x + 0.005 - width, i.eye_x + 0.005 + width
        bridge = torch.hypot(torch.hypot(v + 0.03, z - front), (ax - inner).clamp(min=0))
        hinge = i.skull[:, 0] + 0.02
        past = ax - torch.minimum(torch.maximum(ax, outer), hinge)
        joint = torch.hypot(torch.hypot(v + 0.03, z - front), past)
        along = z - torch.minimum(torch.maximum(z, -0.48 + 0.85 * hinge * hinge), z.new_tensor(0.03))
        arm = torch.hypot(torch.hypot(ax - hinge, v + 0.03), along)
        frame = torch.minimum(torch.minimum(rim, bridge), torch.minimum(joint, arm))
        return frame - 0.0125 + ABSENT * (1 - i.glasses)

    def _neck(self, points: Points) -> Tensor:
        """A capsule from the shoulders into the head."""
        x, y, z = self.to_body(points)
        tx, ty, tz = self.to_body((self.neck_top[0], self.neck_top[1], self.neck_top[2]))
        bx, by, bz = -tx, 1.1 - ty, 0.2 - tz  # the axis, from the top
        px, py, pz = x - tx, y - ty, z - tz
        along = ((px * bx + py * by + pz * bz) / (bx * bx + by * by + bz * bz)).clamp(0, 1)
        dx, dy, dz = px - along * bx, py - along * by, pz - along * bz
        radius = self.anatomy.identity.neck * self.scale * (0.95 + 0.25 * along * along)
        return length(dx, dy, dz) - radius

    def _clothes(self, points: Points) -> Tensor:
        width = self.anatomy.identity.shoulders
        return ellipsoid(self.to_body(points), (0.0, 1.28, 0.2), (width, 0.48, 0.36))


def ellipsoid(points: Points, centre: tuple, radii: tuple) -> Tensor:
    """About the distance to an ellipsoid, exact on it and for spheres."""
    inverse = [1 / r for r in radii]
    a, b, c = ((p - m) * r for p, m, r in zip(points, centre, inverse, strict=True))
    level = length(a, b, c)
    slope = length(*(q * r for q, r in zip((a, b, c), inverse, strict=True)))
    return level * (level - 1) / slope


def sphere(points: Points, centre: tuple, radius: Tensor) -> Tensor:
    return length(*(p - m for p, m in zip(points, centre, strict=True))) - radius


def length(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    squares = torch.addcmul(torch.addcmul(a * a, b, b), c, c)
    return squares.clamp_(min=1e-12).sqrt_()


def melt(a: Tensor, b: Tensor, width: float) -> Tensor:
    """The nearer of two surfaces; where both are near, a round seam of about that width."""
    overlap = (width - (a - b).abs_()).clamp_(min=0)
    return torch.minimum(a, b).addcmul_(overlap, overlap, value=-0.25 / width)


def bump(u: Tensor, v: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
    """1 in the middle, a Gaussian around it."""
    a, b = u * (1 / width), v * (1 / height)
    return torch.addcmul(a * a, b, b).neg_().exp_()
