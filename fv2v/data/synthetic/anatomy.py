# SPDX-License-Identifier: Apache-2.0
"""Where the features of a face are, in head coordinates, for shapes, colours and landmarks alike.

Head coordinates are those of fv2v.geometry (x right, y down, z away from the viewer) of a frontal head before
it is scaled and moved. All numbers are columns (B, 1), which broadcast against points (B, N).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fv2v.data.synthetic.expression import Expression
from fv2v.data.synthetic.identity import Identity

IRIS_RADIUS, PUPIL_RADIUS = 0.046, 0.021
JAW_DROP = 0.15  # how far the chin sinks when the mouth is wide open
LOWER_LID = 0.62  # of the eye's half height, how far the lower lid is below its middle


class Mouth(NamedTuple):
    """Lips as curves over x / width = -1 ... 1, all parabolas that meet in the corners."""

    width: Tensor  # half
    corner: Tensor  # y
    middle: Tensor  # y of the line between closed lips
    upper: Tensor  # y of the upper lip's lower edge, at x = 0
    lower: Tensor  # y of the lower lip's upper edge, at x = 0
    thickness: Tensor  # of the upper lip; the lower one has 1.2 times as much


class Eyes(NamedTuple):
    """Lids as parabolas over (|x| - eye_x) / eye_width = -1 ... 1, y counted from the eyes' own."""

    left: Tensor  # y of the upper lid of the eye at x < 0, in its middle
    right: Tensor  # the other's
    lower: Tensor  # y of the lower lids, in their middle
    gaze_x: Tensor  # where the pupils are, from the middle of the eye
    gaze_y: Tensor


class Anatomy:
    """The features of B heads, each with its expression."""

    def __init__(self, identity: Identity, expression: Expression) -> None:
        self.identity = i = identity.columns()
        self.expression = e = expression.columns()
        self.drop = JAW_DROP * e.jaw
        self.mouth = self._mouth()
        self.eyes = self._eyes()
        self.brow_y = i.brow_y - 0.05 * e.brows
        self.brow_width = 1.2 * i.eye_width
        self.chin_y = 0.2 + i.jaw[:, 1] + self.drop

    def _mouth(self) -> Mouth:
        i, e = self.identity, self.expression
        width = i.mouth_width * (1 + 0.22 * e.smile - 0.35 * e.pucker - 0.1 * e.jaw)
        return Mouth(
            width=width,
            corner=i.mouth_y + 0.3 * self.drop - 0.04 * e.smile,
            middle=i.mouth_y + 0.01 * e.smile,
            upper=i.mouth_y + 0.01 * e.smile - 0.1 * self.drop - 0.026 * e.teeth,
            lower=i.mouth_y + 0.01 * e.smile + 0.95 * self.drop + 0.03 * e.teeth,
            thickness=i.lip_thickness * (1 + 0.35 * e.pucker - 0.15 * e.smile),
        )

    def _eyes(self) -> Eyes:
        i, e = self.identity, self.expression
        lower = LOWER_LID * i.eye_height * (1 - 0.3 * e.smile.clamp(min=0))
        upper = -i.eye_height * (1 + 0.12 * e.brows)
        # upper lids follow the gaze
        left, right = (
            upper + (lower - upper) * (blink + 0.18 * (1 - blink) * e.gaze_y)
            for blink in (e.blink_left, e.blink_right)
        )
        return Eyes(left, right, lower, gaze_x=0.034 * e.gaze_x, gaze_y=0.02 * e.gaze_y)

    def brow_line(self, u: Tensor) -> Tensor:
        """y of a brow at u = (|x| - eye_x) / brow_width: -1 is its inner end, 1 the outer one."""
        lowered = (-self.expression.brows).clamp(min=0)
        return (
            self.brow_y
            - self.identity.brow_arch * (1 - u * u)
            + (0.025 * lowered + 0.018 * self.expression.frown) * (1 - u)
        )


def side(x: Tensor) -> Tensor:
    """-1 on the left, 1 on the right."""
    return torch.where(x < 0, -1.0, 1.0)
