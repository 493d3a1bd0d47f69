# SPDX-License-Identifier: Apache-2.0
"""The receiver's view of a head: what is wished, in numbers and as tensors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fv2v.config import ModelConfig

LARGEST_ANGLE = 90  # degrees: turned further, a head shows no face


def check_has_pose(config: ModelConfig, wish: str) -> None:
    """ValueError for a model that `wish` cannot be had of, as its heads have no pose."""
    if config.direct:
        raise ValueError(
            f"{config.name!r} reads keypoints where they are in a picture and knows no pose of the head: it "
            f"cannot show {wish}; models with a canonical face can, as 'vox-256'"
        )


@dataclass(frozen=True, slots=True)
class View:
    """The receiver's wish for the head's pose: degrees, and a translation (the volume is 2 wide).

    `mode="compose"` turns the head on from where it is, R_u R and t + t_u (paper, Sec. 3.3); None is 0.
    `mode="replace"` sets what is given and keeps what is None, as zhanglonghao1992's release does.

    Raises:
        ValueError: another mode, numbers that are not finite, or angles outside -90 to 90.
    """

    pitch: float | None = None
    yaw: float | None = None
    roll: float | None = None
    translation: tuple[float, float, float] | None = None
    mode: str = "compose"

    def __post_init__(self) -> None:
        if self.mode not in ("compose", "replace"):
            raise ValueError(f"View: expected mode 'compose' or 'replace', got {self.mode!r}")
        if self.translation is not None and len(self.translation) != 3:
            raise ValueError(f"View: expected a translation of 3 numbers (x, y, z), got {self.translation!r}")
        if not all(math.isfinite(number) for number in self.numbers):
            raise ValueError(f"View: expected finite numbers, got {self}")
        for name, angle in zip(("pitch", "yaw", "roll"), self.angles, strict=True):
            if angle is not None and abs(angle) > LARGEST_ANGLE:
                raise ValueError(
                    f"View: expected {name} from -{LARGEST_ANGLE} to {LARGEST_ANGLE} degrees, got {angle:g}"
                )

    @property
    def angles(self) -> tuple[float | None, float | None, float | None]:
        return self.pitch, self.yaw, self.roll

    @property
    def numbers(self) -> tuple[float, ...]:
        """Pitch, yaw, roll, x, y, z; 0 for what is None."""
        return tuple(wish or 0.0 for wish in (*self.angles, *(self.translation or (0.0, 0.0, 0.0))))

    @property
    def keeps(self) -> tuple[bool, ...]:
        """As `ViewTensors.keeps` has it."""
        composes = self.mode == "compose"
        angles = (not composes and wish is None for wish in self.angles)
        return *angles, composes, composes or self.translation is None


AHEAD = View(pitch=0, yaw=0, roll=0, mode="replace")  # the face looks straight ahead (Sec. 3.3)


class ViewTensors(NamedTuple):
    """Views of B frames, or one for all of them, where frames are computed.

    `keeps` says of each frame which angles are the motion's own (columns 0 to 2: pitch, yaw, roll), whether
    the rotation these angles make turns the motion's on, R_u R, or takes its place (column 3), and whether
    the translation is added to the motion's (column 4). None where every view composes, which needs no
    angles of the motion.
    """

    degrees: Tensor  # (B, 3)  pitch, yaw, roll
    translation: Tensor  # (B, 3)
    keeps: Tensor | None  # (B, 5) bool


def check_views(view: View | Sequence[View], frames: int) -> Sequence[View]:
    """One view for all frames, or one for each of them.

    Raises:
        ValueError: something else.
    """
    if isinstance(view, View):
        return [view]
    if not isinstance(view, Sequence):
        raise ValueError(f"expected a View, or a sequence of them, got {view!r}")
    if len(view) != frames:
        raise ValueError(f"expected one view, or one for each of {frames} frames, got {len(view)}")
    for each in view:
        if not isinstance(each, View):
            raise ValueError(f"expected a View, or a sequence of them, got {each!r}")
    return view


def view_form(views: Sequence[View]) -> str:
    """What it takes to show them all: "compose", or "replace", which shows every view."""
    return "replace" if any(view.mode == "replace" for view in views) else "compose"


def view_tensors(views: Sequence[View], like: Tensor, form: str | None = None) -> ViewTensors:
    """On the device of `like` and in its dtype. Numbers go there as fills: a copy would wait for it."""
    numbers = like.new_empty((len(views), 6))
    keeps = None
    if (form or view_form(views)) == "replace":
        keeps = torch.empty((len(views), 5), dtype=torch.bool, device=like.device)
    for i, view in enumerate(views):
        for column, number in enumerate(view.numbers):
            numbers[i, column].fill_(number)
        if keeps is not None:
            for column, keep in enumerate(view.keeps):
                keeps[i, column].fill_(keep)
    return ViewTensors(numbers[:, :3], numbers[:, 3:], keeps)
