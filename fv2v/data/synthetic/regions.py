# SPDX-License-Identifier: Apache-2.0
"""Which part of a person each pixel shows, as the renderer knows it."""

from dataclasses import replace

import torch
from torch import Tensor

from fv2v.data.synthetic.anatomy import Anatomy
from fv2v.data.synthetic.expression import Expression
from fv2v.data.synthetic.figure import Figure, Parts
from fv2v.data.synthetic.identity import Identity
from fv2v.data.synthetic.pose import Pose
from fv2v.data.synthetic.render import CELL, check_size, trace
from fv2v.data.synthetic.sdf import Points

# eyes and mouth are parts of the face; other: neck, clothes, glasses
# occluder: hats, and hands, which hide what `without_occluders` shows
REGIONS = ("background", "hair", "face", "eyes", "mouth", "other", "occluder")
MARGIN = 1.35  # of the ellipses around eyes and mouth, which lids and lips are inside of


@torch.no_grad()
def regions(identity: Identity, expression: Expression, pose: Pose, size: int) -> Tensor:
    """(B, size, size) uint8, numbers of `REGIONS`: what `render` shows in the middle of each pixel.

    ValueError for a size that `render` does not draw.
    """
    check_size(size)
    finer = 1 if size % CELL == 0 else 2
    maps = []
    for row in range(len(pose)):  # a frame at a time, as `render` draws them
        here = slice(row, row + 1)
        maps.append(_map(Figure(Anatomy(identity[here], expression[here]), pose[here]), finer * size))
    return torch.cat(maps)[:, ::finer, ::finer]


def without_occluders(identity: Identity, pose: Pose) -> tuple[Identity, Pose]:
    """The same without hats and hands: what is behind them is what `render` then draws there."""
    photo = identity.photo
    bare = None if photo is None else replace(photo, hat=torch.zeros_like(photo.hat))
    return replace(identity, photo=bare), replace(pose, hand=None)


def _map(figure: Figure, rays: int) -> Tensor:
    """(B, rays, rays)"""
    index, points, hit = trace(figure, rays)
    which = figure.parts(points).which()
    shown = torch.full_like(which, REGIONS.index("other"))
    shown[which == Parts._fields.index("hair")] = REGIONS.index("hair")
    for name in ("hat", "hand"):
        shown[which == Parts._fields.index(name)] = REGIONS.index("occluder")
    face = which == Parts._fields.index("face")
    shown[face] = REGIONS.index("face")
    eyes, mouth = _features(figure.anatomy, figure.to_head(points))
    shown[face & eyes] = REGIONS.index("eyes")
    shown[face & mouth] = REGIONS.index("mouth")
    shown[~hit] = REGIONS.index("background")
    picture = torch.full((len(index), rays * rays), REGIONS.index("background"), device=index.device)
    return picture.scatter(1, index, shown).unflatten(1, (rays, rays)).to(torch.uint8)


def _features(anatomy: Anatomy, local: Points) -> tuple[Tensor, Tensor]:
    """Whether points (B, N) of the face, in head coordinates, are on an eye with its lids, on the mouth."""
    i, mouth, (x, y, z) = anatomy.identity, anatomy.mouth, local
    front = z < -0.05
    u, v = (x.abs() - i.eye_x) / i.eye_width, (y - i.eye_y) / (1.5 * i.eye_height)
    eyes = torch.hypot(u, v) < MARGIN
    top, bottom = mouth.upper - mouth.thickness, mouth.lower + 1.2 * mouth.thickness
    middle, half = 0.5 * (top + bottom), 0.5 * (bottom - top)
    lips = torch.hypot(x / mouth.width, (y - middle) / half) < MARGIN
    return eyes & front, lips & front
