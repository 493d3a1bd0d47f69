# SPDX-License-Identifier: Apache-2.0
"""How a portrait follows its driver: every option of an animation, declared once and passed as one value."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from os import PathLike
from typing import TypedDict

from torch import Tensor

from fv2v.config import ModelConfig
from fv2v.geometry import Motion, Source, View
from fv2v.geometry.hull import check_adapt_scale
from fv2v.geometry.view import check_has_pose
from fv2v.motion.edit import Edit, check_edit
from fv2v.motion.smoothing import STEADY, Steadiness, SteadyMotion
from fv2v.reenactor.placement import FrameInputs

Anchor = Motion | int | float | str | PathLike[str]
FRAME_OPTIONS = ("view", "stitch", "edit")  # those that concern a frame by itself, not an animation


class PictureKeywords(TypedDict, total=False):
    """`stitch` and `edit` of `AnimationOptions` as keyword arguments, for type checkers and editors."""

    stitch: bool
    edit: Edit | Iterable[Edit] | None


class AnimationKeywords(PictureKeywords, total=False):
    """All fields of `AnimationOptions` as keyword arguments."""

    relative: bool | None
    anchor: Anchor | None
    view: View | Iterable[View] | None
    adapt_scale: bool
    steady: SteadyMotion | Steadiness | bool | None
    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimationOptions:
    """How a portrait follows its driver.

    Args:
        relative: True moves by the change since the anchor, False takes the driver's own pose; None does what
            the preset's release does.
        anchor: the motion that counts as no change, of one frame (or, for several sources, one for each); by
            default the first driving frame's. Where files drive (`fv2v.reenact`, `fv2v.render`) also a frame:
            its number, from 0 (int); its seconds (float); "best", the one whose pose and expression are
            nearest to the portrait's; or the path of a picture of the driver or of motion (its first frame).
            By default that is the first frame with a face, bright and with open eyes.
        view: the head's pose as the receiver wants it; one for all frames, or an iterable of one a frame.
        adapt_scale: scale the driver's movement to the source's size of face; for `keypoint` transfer,
            relative.
        stitch: let the preset's network, where there is one (LivePortrait), fit the head to its picture.
        steady: smooth the driver's motion (motion/smoothing.py): True, a `Steadiness`, or a `SteadyMotion`,
            which remembers the frames before; None and False leave it as it is read.
        edit: what to change of the motion (motion/edit.py); one for all frames, or an iterable of one a
            frame.
        batch_size: how many driving frames go through the networks together. On a CPU it hardly matters.

    Raises:
        ValueError: a batch size below 1. What does not fit a preset, `check` says.
    """

    relative: bool | None = None
    anchor: Anchor | None = None
    view: View | Iterable[View] | None = None
    adapt_scale: bool = False
    stitch: bool = True
    steady: SteadyMotion | Steadiness | bool | None = None
    edit: Edit | Iterable[Edit] | None = None
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"expected batch_size >= 1, got {self.batch_size}")

    def check(self, config: ModelConfig) -> "AnimationOptions":
        """The same options, with `relative` as the preset has it where it was left out.

        Raises:
            ValueError: options that do not fit the preset or each other; it says why.
        """
        geometry = config.geometry
        relative = geometry.relative if self.relative is None else self.relative
        if self.anchor is not None and not relative:
            raise ValueError("an anchor needs relative=True: absolute motion is measured against nothing")
        if self.adapt_scale:
            check_adapt_scale(geometry, relative, config.name)
        if self.view is not None:
            check_has_pose(config, "a view")
        _check_one_or_many(self.view, View)
        _check_one_or_many(self.edit, Edit)
        if isinstance(self.edit, Edit):
            check_edit(self.edit, config)
        return replace(self, relative=relative)

    def only_of_frames(self, name: str, *others: str) -> "AnimationOptions":
        """The same options; ValueError for one that `name`, which makes a single picture, does not take."""
        taken = (*FRAME_OPTIONS, *others)
        given = [f.name for f in fields(self) if getattr(self, f.name) != f.default and f.name not in taken]
        if given:
            raise ValueError(f"{name} takes the options {', '.join(taken)}; got {', '.join(given)}")
        return self

    def frame_inputs(
        self,
        source: Source,
        motion: Motion,
        anchor: Motion | None,
        view: View | Sequence[View] | None,
        movement: Tensor | float = 1.0,
    ) -> FrameInputs:
        """Frames of this animation, as the networks' side takes them."""
        return FrameInputs(source, motion, anchor, view, movement, self.stitch)

    def at_rate(self, fps: float) -> "AnimationOptions":
        """The same options for a driver of so many frames a second, which is what `steady` counts in."""
        return replace(self, steady=self.smoother(fps))

    def smoother(self, fps: float = 25.0) -> SteadyMotion | None:
        """What `steady` asks for, as the filter itself."""
        if not self.steady:
            return None
        if isinstance(self.steady, SteadyMotion):
            return self.steady
        return SteadyMotion(STEADY if self.steady is True else self.steady, fps)


def _check_one_or_many(option: object, kind: type) -> None:
    """An option of frames is one for all of them, or an iterable; told before a frame is read."""
    if option is not None and not isinstance(option, kind | Iterable):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise ValueError(f"expected {article} {kind.__name__}, or an iterable of them, got {option!r}")
