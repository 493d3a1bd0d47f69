# SPDX-License-Identifier: Apache-2.0
"""A head in its pose, on neck and shoulders, in picture coordinates (render.py)."""

from typing import NamedTuple

import torch
from torch import Tensor

from fv2v.data.synthetic.anatomy import Anatomy
from fv2v.data.synthetic.pose import Pose
from fv2v.data.synthetic.sdf import Points, ellipsoid, length, melt
from fv2v.data.synthetic.surfaces import ABSENT, Head


class Parts(NamedTuple):
    """Distances (B, N) to each part, in picture coordinates."""

    face: Tensor
    hair: Tensor
    neck: Tensor
    clothes: Tensor
    glasses: Tensor | None  # None where no head has any; so the others
    hat: Tensor | None = None
    hand: Tensor | None = None

    def nearest(self) -> Tensor:
        """(B, N) to the nearest part; face and neck are joined smoothly."""
        nearest = torch.minimum(torch.minimum(melt(self.face, self.neck, 0.05), self.hair), self.clothes)
        for part in (self.glasses, self.hat, self.hand):
            nearest = nearest if part is None else torch.minimum(nearest, part)
        return nearest

    def which(self) -> Tensor:
        """(B, N): the index of the nearest part in `Parts._fields`."""
        there = [i for i, part in enumerate(self) if part is not None]
        nearest = torch.stack([part for part in self if part is not None]).argmin(0)
        return nearest if len(there) == there[-1] + 1 else nearest.new_tensor(there)[nearest]


class Figure:
    """B heads in their poses."""

    def __init__(self, anatomy: Anatomy, pose: Pose) -> None:
        self.anatomy, self.head = anatomy, Head(anatomy)
        self.scale = anatomy.identity.scale
        hand = pose.hand
        self.hand = hand if hand is not None and bool(hand.shown.amax() > 0) else None
        self.rotation = pose.rotation.unsqueeze(-1)  # (B, 3, 3, 1)
        self.translation = pose.translation.unsqueeze(-1)  # (B, 3, 1)
        # the neck ends in the head and turns with it; the shoulders stay
        top = pose.rotation @ torch.tensor([0.0, 0.28, 0.12], device=pose.rotation.device)
        self.neck_top = (top.unsqueeze(-1) * self.scale.unsqueeze(1) + self.translation).unbind(1)

    def distance(self, points: Points) -> Tensor:
        """(B, N) to the nearest part."""
        return self.parts(points).nearest()

    def parts(self, points: Points) -> Parts:
        local, head = self.to_head(points), self.head
        skull, glasses = head.skull(local), head.glasses(local)
        hair = head.hair(local, skull)
        hat = head.hat(local, skull, hair)
        return Parts(
            face=self.scale * head.face(local, skull),
            hair=self.scale * hair,
            neck=self._neck(points),
            clothes=self._clothes(points),
            glasses=None if glasses is None else self.scale * glasses,
            hat=None if hat is None else self.scale * hat,
            hand=None
            if self.hand is None
            else self.hand.distance(points) + ABSENT * (1 - self.hand.shown[:, None]),
        )

    def to_head(self, points: Points) -> Points:
        """From picture coordinates to head coordinates."""
        x, y, z = (p - t for p, t in zip(points, self.translation.unbind(1), strict=True))
        columns = (self.rotation / self.scale[:, None, None]).unbind(2)  # three of (B, 3, 1)
        hx, hy, hz = (torch.addcmul(torch.addcmul(c[:, 0] * x, c[:, 1], y), c[:, 2], z) for c in columns)
        return hx, hy, hz

    def to_body(self, points: Points) -> Points:
        """From picture coordinates to those of the shoulders, which follow half of the head's translation."""
        x, y, z = points
        return x - 0.5 * self.translation[:, 0], y - 0.5 * self.translation[:, 1], z

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
