# SPDX-License-Identifier: Apache-2.0
"""Motion edited by hand: how much of the driver's goes over, of which parts, how open eyes and lips are.

What can be said of a motion is said of it, before `place`; what LivePortrait's small networks say is added to
keypoints, after. In order, where x_s are the source's keypoints and 0 is the anchor, or without one the
source:

  eyes, lips   relative motion counts as none: d ← 0 (the release drops the driver's motion then)
  still        δ_d ← δ_d + b_k (δ_still − δ_d)                                   for each keypoint k
  region       of R, t, s and δ_k, what is not in it is 0's
  strength     δ_d ← δ_0 + w_k (δ_d − δ_0)
  place        x_d
  eyes, lips   x_d ← x_d + eye_delta(x_s, ratios) + lip_delta(x_s, ratios)
  stitch       x_d ← stitch(x_s, x_d)
  lips closed  x_d ← x_d + lip_delta(x_s, to closed)        relative, no eyes and lips, lips open at first
  multiplier   x_d ← x_s + m (x_d − x_s)

Eyes, lips, regions and the multiplier are as LivePortrait's release has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fv2v.config import ModelConfig
from fv2v.devices import numbers_like
from fv2v.geometry import POSED, Motion, Placement, Source, View, place
from fv2v.geometry.liveportrait import LIPS_APART
from fv2v.geometry.view import check_has_pose
from fv2v.motion.edit import Edit, by_keypoint, region_of
from fv2v.networks import FaceVid2Vid
from fv2v.networks.retargeting import Retargeting


@dataclass(frozen=True, slots=True)
class FrameInputs:
    """All that B pictures are made of, whichever way they are made."""

    source: Source  # of one portrait, or B
    motion: Motion  # of B driving frames
    anchor: Motion | None = None  # of one frame, or B; None: absolute
    view: View | Sequence[View] | None = None  # one for all, or B
    movement: Tensor | float = 1.0  # the factor of `movement_scale` (hull.py)
    stitch: bool = True

    def checked(self) -> "FrameInputs":
        """These, if source and anchor are of one frame or of as many as the motion; else a ValueError."""
        count, anchors = len(self.motion), 1 if self.anchor is None else len(self.anchor)
        for name, batch in (("source", len(self.source)), ("anchor", anchors)):
            if batch not in (1, count):
                raise ValueError(f"expected a {name} of 1 or {count}, as the motion has, got {batch}")
        return self


def apply_edit(motion: Motion, own: Motion, anchor: Motion | None, edit: Edit, config: ModelConfig) -> Motion:
    """What `place` is to take in place of `motion`, B frames of a driver; `own` is the source's."""
    before = own if anchor is None else anchor
    if edit.retargets and anchor is not None:
        motion = _parts(motion, before)
    expression = motion.expression
    if edit.still is not None:
        blend = by_keypoint(edit.blend, 0.0, config)
        expression = _between(expression, edit.still.expression.to(expression), blend)
    share = [
        a * b for a, b in zip(region_of(edit, config), by_keypoint(edit.strength, 1.0, config), strict=True)
    ]
    expression = _between(before.expression, expression, share)
    whole = edit.region == "all"
    posed = whole or edit.region == "pose"
    return _parts(
        replace(motion, expression=expression),
        before,
        rotation=posed,
        translation=posed,
        expression=True,
        scale=whole,
    )


def place_edited(networks: FaceVid2Vid, frames: FrameInputs, edits: Sequence[Edit]) -> Placement:
    """Where the source's keypoints go, edited and stitched.

    Args:
        networks: of the preset.
        frames: what `place` takes.
        edits: none, one for all B frames, or one each.
    """
    if len(edits) > 1:
        placements = [place_edited(networks, _frame(frames, i), [edit]) for i, edit in enumerate(edits)]
        keypoints, affines = zip(*placements, strict=True)
        return Placement(torch.cat(keypoints), None if affines[0] is None else torch.cat(affines))
    source, motion, anchor, config = frames.source, frames.motion, frames.anchor, networks.config
    if frames.view is not None:
        check_has_pose(config, "a view")
    for edit in edits:
        motion = apply_edit(motion, source.motion, anchor, edit, config)
    placement = place(source, motion, anchor, frames.view, geometry=config.geometry, movement=frames.movement)
    for edit in edits:
        placement = _opened(networks.retargeting, source, placement, edit)
    if frames.stitch:
        placement = networks.stitch(source, placement)
    for edit in edits:
        placement = _multiplied(networks.retargeting, source, placement, edit, anchor is not None)
    return placement


def _frame(frames: FrameInputs, i: int) -> FrameInputs:
    """The i-th of B frames."""
    source, anchor, view = frames.source, frames.anchor, frames.view
    return replace(
        frames,
        source=source if len(source) == 1 else source[i : i + 1],
        motion=frames.motion[i : i + 1],
        anchor=anchor if anchor is None or len(anchor) == 1 else anchor[i : i + 1],
        view=view if view is None or isinstance(view, View) else view[i],
    )


def _opened(networks: Retargeting | None, source: Source, placement: Placement, edit: Edit) -> Placement:
    """Eyes and lips as far open as asked."""
    keypoints = placement.kp_driving
    if networks is None or edit.portrait is None:
        return placement
    kp_source, now = source.keypoints, edit.portrait
    if edit.eyes is not None:
        ratios = numbers_like([now.left_eye, now.right_eye, edit.eyes], kp_source)
        keypoints = keypoints + networks.eye_delta(kp_source, ratios.expand(len(kp_source), 3))
    if edit.lips is not None:
        keypoints = keypoints + _lip_delta(networks, kp_source, now.lips, edit.lips)
    return placement._replace(kp_driving=keypoints)


def _multiplied(
    networks: Retargeting | None, source: Source, placement: Placement, edit: Edit, relative: bool
) -> Placement:
    """Lips closed, where they were open, and all movement multiplied."""
    keypoints, kp_source = placement.kp_driving, source.keypoints
    closes = edit.normalize_lips and relative and not edit.retargets
    if closes and networks is not None and edit.portrait is not None and edit.portrait.lips >= LIPS_APART:
        keypoints = keypoints + _lip_delta(networks, kp_source, edit.portrait.lips, 0.0)
    if edit.multiplier != 1:
        keypoints = kp_source + edit.multiplier * (keypoints - kp_source)
    return placement._replace(kp_driving=keypoints)


def _lip_delta(networks: Retargeting, kp_source: Tensor, now: float, wanted: float) -> Tensor:
    ratios = numbers_like([now, wanted], kp_source)
    return networks.lip_delta(kp_source, ratios.expand(len(kp_source), 2))


def _parts(motion: Motion, before: Motion, **driven: bool) -> Motion:
    """The parts of `motion` that are driven; the others, by default all, as they were before."""
    return replace(
        motion,
        **{
            name: getattr(before, name).expand_as(getattr(motion, name))
            for name in POSED
            if not driven.get(name)
        },
    )


def _between(start: Tensor, end: Tensor, weights: Sequence[float]) -> Tensor:
    """(B, K, 3): from start (B or 1, K, 3) to end (B or 1, K, 3), each keypoint as far as its weight says."""
    if all(weight == 1 for weight in weights) and len(end) >= len(start):
        return end
    return torch.lerp(start, end, numbers_like(weights, start)[:, None])
