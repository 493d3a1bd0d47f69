# SPDX-License-Identifier: Apache-2.0
"""Identities: everything that stays the same while a head moves."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fv2v.batch import Batched
from fv2v.data.synthetic.photo import Photo
from fv2v.data.synthetic.uniform import Uniform

Colour = tuple[float, float, float]
LIGHT_SKIN: Colour = (0.97, 0.80, 0.69)
DARK_SKIN: Colour = (0.40, 0.25, 0.17)
HAIR: tuple[Colour, ...] = (
    (0.10, 0.08, 0.08),
    (0.20, 0.13, 0.09),
    (0.36, 0.22, 0.12),
    (0.52, 0.33, 0.16),
    (0.80, 0.62, 0.34),
    (0.62, 0.26, 0.12),
    (0.62, 0.60, 0.58),
)
IRISES: tuple[Colour, ...] = (
    (0.28, 0.16, 0.08),
    (0.45, 0.28, 0.12),
    (0.24, 0.45, 0.70),
    (0.25, 0.50, 0.34),
    (0.45, 0.50, 0.55),
)


@dataclass(frozen=True, slots=True)
class Identity(Batched):
    """Shape, colours, clothes, background and light of B heads.

    Lengths are in head coordinates: a head is about 1.15 high there, and `scale` times that in the picture,
    which is 2 high. Colours are sRGB in [0, 1].
    """

    scale: Tensor  # (B,)
    # skull, jaw, features
    skull: Tensor  # (B, 3)  radii
    jaw: Tensor  # (B, 3)  radii
    chin: Tensor  # (B,)  radius
    cheeks: Tensor  # (B,)  how full
    nose: Tensor  # (B, 3)  width, length, depth
    nose_y: Tensor  # (B,)
    ears: Tensor  # (B,)  size
    eye_x: Tensor  # (B,)
    eye_y: Tensor  # (B,)
    eye_width: Tensor  # (B,)  half
    eye_height: Tensor  # (B,)  half
    eye_tilt: Tensor  # (B,)  how much higher the outer corner is
    brow_y: Tensor  # (B,)
    brow_thickness: Tensor  # (B,)
    brow_arch: Tensor  # (B,)
    mouth_y: Tensor  # (B,)
    mouth_width: Tensor  # (B,)  half
    lip_thickness: Tensor  # (B,)
    # hair; bald, long and glasses are 0 or 1
    bald: Tensor  # (B,)
    long: Tensor  # (B,)
    hair_length: Tensor  # (B,)  y that long hair reaches
    hair_volume: Tensor  # (B,)  how far it stands off the skull
    hair_lift: Tensor  # (B,)  how much further it does on top
    combed: Tensor  # (B,)  to the back; else it falls to all sides
    hairline: Tensor  # (B,)  its y in front
    hair_slope: Tensor  # (B,)  how much lower the hairline is at the back
    parting: Tensor  # (B,)  how much lower it is on one side
    fringe: Tensor  # (B,)  how jagged
    curls: Tensor  # (B,)
    bun: Tensor  # (B,)  radius, negative for none
    beard: Tensor  # (B,)  0 none, 1 full
    glasses: Tensor  # (B,)
    lens: Tensor  # (B, 3)  half width, half height, how round
    # colours
    skin: Tensor  # (B, 3)
    freckles: Tensor  # (B,)
    lips: Tensor  # (B, 3)
    iris: Tensor  # (B, 3)
    hair: Tensor  # (B, 3)
    frames: Tensor  # (B, 3)  of the glasses
    # clothes
    neck: Tensor  # (B,)  radius
    shoulders: Tensor  # (B,)  half width
    neckline: Tensor  # (B, 2)  half width, depth
    clothes: Tensor  # (B, 3)
    pattern: Tensor  # (B, 3)  strength, stripes across, stripes along
    # surroundings
    background: Tensor  # (B, 3)
    backdrop: Tensor  # (B, 3)  the colour it fades to
    blobs: Tensor  # (B, 3)  strength, how many across, how many along
    light: Tensor  # (B, 3)  unit vector towards it
    light_colour: Tensor  # (B, 3)
    ambient: Tensor  # (B,)
    phases: Tensor  # (B, 8)  of all that is wavy
    photo: Photo | None = None  # how skin takes light, and a hat; None: neither

    @classmethod
    def sample(cls, rng: np.random.Generator, count: int) -> "Identity":
        """`count` random heads, as varied as faces are."""
        u = Uniform(rng, count)
        skin = _skin(u)
        hair = (u.choice(HAIR) * u(0.85, 1.15, 1)).clamp(0, 1)
        background = (u(0.3, 0.85, 1) + u(-0.15, 0.15, 3)).clamp(0.05, 0.95)
        light = torch.stack([u(-0.8, 0.8), u(-0.9, -0.25), u(-1.0, -0.6)], dim=-1)
        long, bald = u.chance(0.42), u.chance(0.08)
        has_bun = u.chance(0.15) * (1 - bald)
        combed, curly = u.chance(0.4), u.chance(0.3)
        bushy = curly * (1 - long) * u.chance(0.5)
        return cls(
            scale=u(1.1, 1.26),
            skull=_triple(u, (0.38, 0.42), (0.39, 0.44), (0.43, 0.47)),
            jaw=_triple(u, (0.28, 0.335), (0.36, 0.42), (0.31, 0.35)),
            chin=u(0.07, 0.11),
            cheeks=u(0.0, 1.0),
            nose=_triple(u, (0.042, 0.062), (0.11, 0.15), (0.07, 0.11)),
            nose_y=u(0.13, 0.17),
            ears=u(0.85, 1.2),
            eye_x=u(0.155, 0.178),
            eye_y=u(-0.05, -0.01),
            eye_width=u(0.084, 0.102),
            eye_height=u(0.044, 0.060),
            eye_tilt=u(-0.01, 0.014),
            brow_y=u(-0.185, -0.15),
            brow_thickness=u(0.012, 0.026),
            brow_arch=u(0.01, 0.035),
            mouth_y=u(0.315, 0.355),
            mouth_width=u(0.115, 0.15),
            lip_thickness=u(0.022, 0.040),
            bald=bald,
            long=long * (1 - bald),
            hair_length=u(0.45, 0.85),
            hair_volume=u(0.035, 0.08) + bushy * u(0.04, 0.08),
            hair_lift=(u(0.0, 1.0) + combed * u(0.0, 1.2)) * (1 - 0.8 * bushy),
            combed=combed,
            hairline=u(-0.36, -0.27) - 0.06 * combed,
            hair_slope=u(0.75, 1.05),
            parting=u(-0.22, 0.22) * (1 + combed),
            fringe=u.chance(0.5) * u(0.008, 0.03) * (1 - 0.6 * combed),
            curls=curly * u(0.5, 1.0) * (1 + 0.6 * bushy),
            bun=u(0.12, 0.18) * has_bun - (1 - has_bun),
            beard=u.chance(0.25) * (1 - long) * u(0.5, 1.0),
            glasses=u.chance(0.25),
            lens=_triple(u, (0.105, 0.125), (0.075, 0.11), (0.3, 1.0)),
            skin=skin,
            freckles=u.chance(0.3) * u(0.3, 1.0),
            lips=(skin * torch.tensor([0.86, 0.55, 0.56]) + u(0.0, 0.1, 1)).clamp(0, 1),
            iris=(u.choice(IRISES) * u(0.85, 1.15, 1)).clamp(0, 1),
            hair=hair,
            frames=u(0.03, 0.3, 3),
            neck=u(0.17, 0.22),
            shoulders=u(0.75, 0.95),
            neckline=torch.stack([u(0.24, 0.36), u(0.0, 0.35)], dim=-1),
            clothes=u(0.1, 0.85, 3),
            pattern=_triple(u, (-0.5, 0.45), (0.0, 12.0), (0.0, 12.0)),
            background=background,
            backdrop=(background + u(-0.2, 0.2, 3)).clamp(0.03, 0.97),
            blobs=_triple(u, (0.0, 0.16), (1.0, 5.0), (1.0, 5.0)),
            light=light / light.norm(dim=-1, keepdim=True),
            light_colour=u(0.92, 1.08, 3),
            ambient=u(0.32, 0.5),
            phases=u(0.0, 6.2832, 8),
        )


def _skin(u: Uniform) -> Tensor:
    """(B, 3) from light to dark, some redder and some more yellow."""
    tone, warmth = u(0, 1, 1), u(-0.03, 0.03, 1)
    skin = torch.tensor(LIGHT_SKIN) * (1 - tone) + torch.tensor(DARK_SKIN) * tone
    return (skin + warmth * torch.tensor([0.5, 0.2, -1.0])).clamp(0, 1)


def _triple(u: Uniform, *ranges: tuple[float, float]) -> Tensor:
    """(B, 3)"""
    return torch.stack([u(low, high) for low, high in ranges], dim=-1)
