# SPDX-License-Identifier: Apache-2.0
"""The surfaces of a head, in head coordinates (anatomy.py): skin, hair and glasses.

Ellipsoids are joined smoothly; flat features such as lids and lips are Gaussian bumps on the face.
"""

import torch
from torch import Tensor

from fv2v.data.synthetic.anatomy import Anatomy
from fv2v.data.synthetic.sdf import Points, bump, ellipsoid, melt, sphere

ABSENT = 9.0  # more than any distance in a picture


class Head:
    """Signed distances (B, N) to the parts of B heads. Parts that none of them has are not computed."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        i = anatomy.identity
        worn = torch.stack([each.amax() for each in (i.glasses, 1 - i.bald, i.long, i.bun, i.curls)]) > 0
        self.has_hat = i.photo is not None and bool(i.photo.hat.amax() > 0)
        self.has_glasses, self.has_hair, self.has_long, self.has_bun, self.has_curls = worn.tolist()

    def skull(self, local: Points) -> Tensor:
        """Skull and jaw without features, which hair grows on."""
        i, drop = self.anatomy.identity, self.anatomy.drop
        skull = ellipsoid(local, (0.0, -0.12, 0.03), i.skull.unbind(1))
        width, height, depth = i.jaw.unbind(1)
        jaw = ellipsoid(local, (0.0, 0.2 + 0.5 * drop, -0.06), (width, height + 0.5 * drop, depth))
        return melt(skull, jaw, 0.12)

    def face(self, local: Points, skull: Tensor) -> Tensor:
        """The skin, over the skull whose distance is given."""
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
        """The relief of the front of the face: hollows are positive."""
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

    def hair(self, local: Points, skull: Tensor) -> Tensor:
        """A layer on the skull, thinner towards the hairline; long hair at the back; a bun."""
        if not self.has_hair:
            return skull + ABSENT
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

    def hat(self, local: Points, skull: Tensor, hair: Tensor) -> Tensor | None:
        """Over skull and hair, down to an edge, and a brim there. None where no head has any."""
        photo = self.anatomy.identity.photo
        if photo is None or not self.has_hat:
            return None
        x, y, z = local
        edge = photo.hat_y + 0.22 * (z + 0.4)
        crown = torch.maximum(torch.minimum(skull, hair) - 0.03, y - edge)
        reach = 1 + photo.visor
        around = torch.hypot(x, (z + photo.visor * 0.5) / reach)
        brim = torch.hypot((around - photo.brim).clamp(min=0), y - edge) - 0.014
        brim = brim + ABSENT * (photo.brim < 0)
        return 0.8 * torch.minimum(crown, brim) + ABSENT * (1 - photo.hat)

    def glasses(self, local: Points) -> Tensor | None:
        """Rims, a bridge, and arms that reach the ears. None where no head has any."""
        if not self.has_glasses:
            return None
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
        along = z - torch.maximum(z, -0.48 + 0.85 * hinge * hinge).clamp(max=0.03)
        arm = torch.hypot(torch.hypot(ax - hinge, v + 0.03), along)
        frame = torch.minimum(torch.minimum(rim, bridge), torch.minimum(joint, arm))
        return frame - 0.0125 + ABSENT * (1 - i.glasses)
