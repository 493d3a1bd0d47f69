# SPDX-License-Identifier: Apache-2.0
"""Expressions: a few numbers that mean the same for every identity."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from fv2v.batch import Batched
from fv2v.data.synthetic.uniform import Uniform


@dataclass(frozen=True, slots=True)
class Expression(Batched):
    """B expressions; all 0 is the neutral face. Left and right are those of the picture of a frontal head."""

    jaw: Tensor  # (B,)  0 closed, 1 wide open
    smile: Tensor  # (B,)  -0.4 sad, 1 broad
    pucker: Tensor  # (B,)  0, 1 as in "oo"
    brows: Tensor  # (B,)  -0.6 lowered, 1 raised
    blink_left: Tensor  # (B,)  0 open, 1 closed
    blink_right: Tensor  # (B,)
    gaze_x: Tensor  # (B,)  -1 to the left of the picture, 1 to its right
    gaze_y: Tensor  # (B,)  -1 up, 1 down
    teeth: Tensor  # (B,)  0, 1 lips drawn apart before closed teeth
    tongue: Tensor  # (B,)  0, 1 between the teeth, where the jaw is open
    frown: Tensor  # (B,)  0, 1 inner ends of the brows down

    @classmethod
    def neutral(cls, count: int) -> "Expression":
        return cls(**{f.name: torch.zeros(count) for f in fields(cls)})

    @classmethod
    def sample(cls, rng: np.random.Generator, count: int, *, wide: bool = False) -> "Expression":
        """Random mixtures of all; in a quarter the eyes are closed or nearly so, some wink.

        `wide`: also teeth, tongue and frown, and smiles, brows and gazes beyond the ends of their ranges.
        """
        u = Uniform(rng, count)
        blink = u.chance(0.25) * u(0.3, 1.0)
        wink = u.chance(0.1) * u(0.6, 1.0)
        left = u.chance(0.5)
        further = 0.4 if wide else 0.0
        return cls(
            jaw=u(0.0, 1.0) ** 1.6,
            smile=u(-0.4, 1.0 + further),
            pucker=u.chance(0.25) * u(0.2, 1.0),
            brows=u(-0.6, 1.0 + 0.5 * further),
            blink_left=torch.maximum(blink, wink * left),
            blink_right=torch.maximum(blink, wink * (1 - left)),
            gaze_x=u(-1.0 - further, 1.0 + further),
            gaze_y=u(-1.0, 1.0),
            teeth=u.chance(0.4) * u(0.2, 1.0) if wide else torch.zeros(count),
            tongue=u.chance(0.3) * u(0.3, 1.0) if wide else torch.zeros(count),
            frown=u.chance(0.3) * u(0.3, 1.0) if wide else torch.zeros(count),
        )
