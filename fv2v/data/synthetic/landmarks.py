# SPDX-License-Identifier: Apache-2.0
"""Landmarks: corresponding points of the skin of every head, and their exact motion."""

from typing import NamedTuple

import torch
from torch import Tensor

from fv2v.data.synthetic.anatomy import Anatomy
from fv2v.data.synthetic.expression import Expression
from fv2v.data.synthetic.identity import Identity
from fv2v.data.synthetic.pose import Pose
from fv2v.data.synthetic.surfaces import Head
from fv2v.geometry import Motion

LANDMARKS: tuple[str, ...] = (
    "iris_left",
    "iris_right",
    "upper_lid_left",
    "upper_lid_right",
    "lower_lid_left",
    "lower_lid_right",
    "brow_inner_left",
    "brow_inner_right",
    "brow_outer_left",
    "brow_outer_right",
    "lip_left",
    "lip_right",
    "lip_upper",
    "lip_lower",
    "nose",
    "chin",
    "cheek_left",
    "cheek_right",
    "ear_left",
    "ear_right",
    "forehead",
    "crown",
)
STEPS = 48


class TrueMotion(NamedTuple):
    """x = R x_c + t + δ are the landmarks in the picture; scale is 1, since x_c has the head's size."""

    canonical: Tensor  # (B, K, 3)  x_c, of the neutral face
    motion: Motion


@torch.no_grad()
def landmarks(identity: Identity, expression: Expression) -> Tensor:
    """(B, K, 3): where `LANDMARKS` are on a frontal head, in picture coordinates."""
    anatomy = Anatomy(identity, expression)
    head = Head(anatomy)
    x, y, z = _starts(anatomy)
    walk = x.new_tensor([_direction(name) for name in LANDMARKS])  # (K, 3)
    for _ in range(STEPS):
        distance = 0.8 * head.face((x, y, z), head.skull((x, y, z))).clamp(max=0.15)
        x, y, z = (p + distance * way for p, way in zip((x, y, z), walk.unbind(1), strict=True))
    return torch.stack([x, y, z], dim=-1) * identity.scale[:, None, None]


def truth(identity: Identity, expression: Expression, pose: Pose) -> TrueMotion:
    """The truth of B rendered heads: x_c, and R, t and δ of x = R x_c + t + δ (paper, Eq. 1).

    δ = R (l(expression) - l(neutral)), with l the landmarks of the frontal head.
    """
    neutral = Expression.neutral(len(identity)).to(identity.scale.device)
    canonical = landmarks(identity, neutral)
    moved = (landmarks(identity, expression) - canonical) @ pose.rotation.mT
    one = torch.ones_like(pose.translation[:, :1])
    return TrueMotion(canonical, Motion(pose.rotation, pose.translation, moved, one))


def _direction(name: str) -> tuple[float, float, float]:
    """The direction in which the landmark's ray meets the head from outside: for most, from the viewer."""
    if name.startswith("ear"):
        return (1.0, 0.0, 0.0) if name.endswith("left") else (-1.0, 0.0, 0.0)
    if name == "crown":
        return (0.0, 1.0, 0.0)
    return (0.0, 0.0, 1.0)


def _starts(anatomy: Anatomy) -> list[Tensor]:
    """x, y, z (B, K) where rays start outside the head; the landmark is found along the third coordinate."""
    places = _places(anatomy)
    like = anatomy.identity.scale
    rows = [
        torch.cat([torch.as_tensor(number, device=like.device).expand_as(like) for number in places[name]], 1)
        for name in LANDMARKS
    ]
    return list(torch.stack(rows, dim=1).unbind(-1))


def _places(anatomy: Anatomy) -> dict[str, tuple[Tensor | float, Tensor | float, Tensor | float]]:
    i, eyes, mouth = anatomy.identity, anatomy.eyes, anatomy.mouth
    smile = anatomy.expression.smile
    far = -1.0
    places: dict[str, tuple[Tensor | float, Tensor | float, Tensor | float]] = {
        "lip_left": (-mouth.width, mouth.corner, far),
        "lip_right": (mouth.width, mouth.corner, far),
        "lip_upper": (0.0, mouth.upper - 0.75 * mouth.thickness, far),
        "lip_lower": (0.0, mouth.lower + 1.2 * mouth.thickness, far),
        "nose": (0.0, i.nose_y, far),
        "chin": (0.0, anatomy.chin_y - 0.07, far),
        "forehead": (0.0, -0.28, far),
        "crown": (0.0, far, 0.05),
    }
    for name, sign, lid in (("left", -1.0, eyes.left), ("right", 1.0, eyes.right)):
        x = sign * i.eye_x
        brow = [sign * (i.eye_x + u * anatomy.brow_width) for u in (-0.9, 0.9)]
        heights = [anatomy.brow_line(torch.full_like(i.eye_x, u)) for u in (-0.9, 0.9)]
        places |= {
            f"iris_{name}": (x + eyes.gaze_x, i.eye_y + eyes.gaze_y, far),
            f"upper_lid_{name}": (x, i.eye_y + lid, far),
            f"lower_lid_{name}": (x, i.eye_y + eyes.lower, far),
            f"brow_inner_{name}": (brow[0], heights[0], far),
            f"brow_outer_{name}": (brow[1], heights[1], far),
            f"cheek_{name}": (sign * 0.23, 0.15 - 0.03 * smile, far),
            f"ear_{name}": (sign, 0.03, 0.05),
        }
    return places
