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

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fv2v.config import ModelConfig
from fv2v.geometry import Motion, Placement, Source, View, place
from fv2v.landmarks import eye_ratios, lip_ratio
from fv2v.liveportrait import GROUPS, LIPS_APART
from fv2v.networks import FaceVid2Vid
from fv2v.networks.retargeting import Retargeting

REGIONS = ("all", "expression", "pose", "lips", "eyes")
DRIVING_OPTIONS = ("expression-friendly", "pose-friendly")

Group = str | tuple[int, ...]  # a name of LivePortrait's `GROUPS`, or numbers of keypoints
Weights = float | Mapping[Group, float]


@dataclass(frozen=True, slots=True)
class Openness:
    """How far eyes and lips are open, height over width (landmarks.py): about 0.35 and 0 in a calm face."""

    left_eye: float
    right_eye: float
    lips: float

    def __post_init__(self) -> None:
        _check_ratios("Openness", self.left_eye, self.right_eye, self.lips)

    @classmethod
    def of(cls, landmarks: np.ndarray) -> "Openness":
        """From a face's (203, 2) landmarks; ValueError for another set."""
        left, right = eye_ratios(landmarks)
        return cls(float(left), float(right), lip_ratio(landmarks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What to change between a driver and what is shown. `Edit()` changes nothing.

    The head's pose has its own offsets, for every preset: `View`.

    Args:
        region: what of the driver's motion is taken, the rest stays as it was: "all", "expression", "pose";
            of LivePortrait's keypoints also "lips" and "eyes". In relative motion its release turns the head
            for "pose" and leaves it where it is; others move it too.
        strength: how strong the expression is, w: one number, or one for each group of keypoints (then 1 for
            all others; of groups that overlap the last counts). A group is a tuple of numbers from 0 to
            K - 1, or of LivePortrait's "lips", "eyes" or "brows".
        still: a motion of one frame whose expression is blended into the driver's.
        blend: how much of it, b, as `strength`, and 0 for the keypoints of no group.
        multiplier: m, how far keypoints move from the source's.
        eyes, lips: how far eyes and lips should be open, as `Openness` counts; None leaves them alone.
            Relative motion is dropped then, as the release drops it: the face does nothing else.
        normalize_lips: close the portrait's lips, where they are open, before the driver opens them; for
            relative motion.
        portrait: how open the portrait's eyes and lips are, which these three start from.
        driving_option: "expression-friendly" or "pose-friendly", of LivePortrait's command line. They are the
            same: the first scales relative motion by a ratio of hulls that are equal.

    Raises:
        ValueError: what means nothing; what does not fit a preset is told by `check_edit`.
    """

    region: str = "all"
    strength: Weights = 1.0
    still: Motion | None = None
    blend: Weights = 1.0
    multiplier: float = 1.0
    eyes: float | None = None
    lips: float | None = None
    normalize_lips: bool = False
    portrait: Openness | None = None
    driving_option: str = "expression-friendly"

    def __post_init__(self) -> None:
        if self.region not in REGIONS:
            raise ValueError(f"Edit: expected a region, one of {', '.join(REGIONS)}; got {self.region!r}")
        if self.driving_option not in DRIVING_OPTIONS:
            options = " or ".join(map(repr, DRIVING_OPTIONS))
            raise ValueError(f"Edit: expected driving_option {options}, got {self.driving_option!r}")
        weights = [*_numbers(self.strength), *_numbers(self.blend), self.multiplier]
        if not all(map(math.isfinite, weights)):
            raise ValueError(f"Edit: expected finite strength, blend and multiplier, got {weights}")
        _check_ratios("Edit", *(ratio for ratio in (self.eyes, self.lips) if ratio is not None))
        if (self.retargets or self.normalize_lips) and self.portrait is None:
            raise ValueError(
                "Edit: eyes, lips and normalize_lips start from how open the portrait's are: expected "
                "portrait=Openness(left_eye, right_eye, lips), or Openness.of(its 203 landmarks); got none"
            )

    @property
    def retargets(self) -> bool:
        """Whether eyes or lips are opened or closed as asked."""
        return self.eyes is not None or self.lips is not None


def following(edit: Edit, landmarks: Iterable[np.ndarray]) -> Iterator[Edit]:
    """`edit` once a frame of a driver, with eyes and lips as far open as the driver's.

    Both eyes open as the driver's left one, as in the release; what `edit` says of eyes or lips itself stays.

    Args:
        landmarks: (203, 2) of each frame. ValueError for another set, at its frame.
    """
    for each in landmarks:
        now = Openness.of(each)
        yield replace(
            edit,
            eyes=now.left_eye if edit.eyes is None else edit.eyes,
            lips=now.lips if edit.lips is None else edit.lips,
        )


def check_edit(edit: Edit, config: ModelConfig) -> None:
    """ValueError where an edit does not fit a preset; it says why."""
    if not isinstance(edit, Edit):
        raise ValueError(f"expected an Edit, got {edit!r}")
    if (edit.retargets or edit.normalize_lips) and config.retargeting is None:
        raise ValueError(
            f"{config.name!r} has no networks that open eyes and lips, as liveportrait has: edit its "
            "expression by strength and still"
        )
    _region(edit, config)
    for weights in (edit.strength, edit.blend):
        _by_keypoint(weights, 0.0, config)
    if edit.still is not None and tuple(edit.still.expression.shape) != (1, config.keypoints, 3):
        raise ValueError(
            f"still: expected the motion of one frame with {config.keypoints} keypoints, got expression "
            f"{tuple(edit.still.expression.shape)}"
        )


def edited(motion: Motion, own: Motion, anchor: Motion | None, edit: Edit, config: ModelConfig) -> Motion:
    """What `place` is to take in place of `motion`, B frames of a driver; `own` is the source's."""
    before = own if anchor is None else anchor
    if edit.retargets and anchor is not None:
        motion = _parts(motion, before)
    expression = motion.expression
    if edit.still is not None:
        blend = _by_keypoint(edit.blend, 0.0, config)
        expression = _between(expression, edit.still.expression.to(expression), blend)
    share = [
        a * b for a, b in zip(_region(edit, config), _by_keypoint(edit.strength, 1.0, config), strict=True)
    ]
    expression = _between(before.expression, expression, share)
    whole = edit.region == "all"
    keeps_place = anchor is not None and config.geometry.transfer == "liveportrait"
    return _parts(
        replace(motion, expression=expression),
        before,
        rotation=whole or edit.region == "pose",
        translation=whole or (edit.region == "pose" and not keeps_place),
        expression=True,
        scale=whole,
    )


def placed(
    networks: FaceVid2Vid,
    source: Source,
    motion: Motion,
    anchor: Motion | None,
    view: View | Sequence[View] | None,
    edits: Sequence[Edit],
    *,
    movement: Tensor | float = 1.0,
    stitch: bool = True,
) -> Placement:
    """Where the source's keypoints go, stitched and edited: by one edit for all B frames, or by one each.

    Other arguments as `place` takes them; edits for each frame are of one source.
    """
    if len(edits) > 1:
        frames = [
            placed(
                networks,
                source,
                motion[i : i + 1],
                anchor if anchor is None or len(anchor) == 1 else anchor[i : i + 1],
                view if view is None or isinstance(view, View) else view[i],
                [edit],
                movement=movement,
                stitch=stitch,
            )
            for i, edit in enumerate(edits)
        ]
        keypoints, affines = zip(*frames, strict=True)
        return Placement(torch.cat(keypoints), None if affines[0] is None else torch.cat(affines))
    config, relative = networks.config, anchor is not None
    for edit in edits:
        motion = edited(motion, source.motion, anchor, edit, config)
    placement = place(source, motion, anchor, view, geometry=config.geometry, movement=movement)
    for edit in edits:
        placement = _opened(networks.retargeting, source, placement, edit)
    if stitch:
        placement = networks.stitch(source, placement)
    for edit in edits:
        placement = _multiplied(networks.retargeting, source, placement, edit, relative)
    return placement


def _opened(networks: Retargeting | None, source: Source, placement: Placement, edit: Edit) -> Placement:
    """Eyes and lips as far open as asked."""
    keypoints = placement.kp_driving
    if networks is None or edit.portrait is None:
        return placement
    kp_source, now = source.keypoints, edit.portrait
    if edit.eyes is not None:
        ratios = kp_source.new_tensor([now.left_eye, now.right_eye, edit.eyes])
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
    ratios = kp_source.new_tensor([now, wanted])
    return networks.lip_delta(kp_source, ratios.expand(len(kp_source), 2))


def _parts(motion: Motion, before: Motion, **driven: bool) -> Motion:
    """The parts of `motion` that are driven; the others, by default all, as they were before."""
    return Motion(
        *(
            getattr(motion, name)
            if driven.get(name)
            else getattr(before, name).expand_as(getattr(motion, name))
            for name in ("rotation", "translation", "expression", "scale")
        )
    )


def _between(start: Tensor, end: Tensor, weights: Sequence[float]) -> Tensor:
    """(B, K, 3): from start (B or 1, K, 3) to end (B or 1, K, 3), each keypoint as far as its weight says."""
    if all(weight == 1 for weight in weights) and len(end) >= len(start):
        return end
    return torch.lerp(start, end, start.new_tensor(weights)[:, None])


def _region(edit: Edit, config: ModelConfig) -> list[float]:
    """Whether each keypoint's expression is in the region: 1, or 0."""
    if edit.region in ("lips", "eyes"):
        return _by_keypoint({edit.region: 1.0}, 0.0, config)
    return [0.0 if edit.region == "pose" else 1.0] * config.keypoints


def _by_keypoint(weights: Weights, others: float, config: ModelConfig) -> list[float]:
    """A weight for each keypoint; ValueError for groups that the preset has not."""
    if not isinstance(weights, Mapping):
        return [float(weights)] * config.keypoints
    result = [others] * config.keypoints
    for group, weight in weights.items():
        for keypoint in _members(group, config):
            result[keypoint] = float(weight)
    return result


def _members(group: Group, config: ModelConfig) -> tuple[int, ...]:
    if isinstance(group, str):
        if config.geometry.transfer != "liveportrait":
            raise ValueError(
                f"{config.name!r} has no keypoints known as {group!r}: give their numbers, as (0, 3), which "
                "`fv2v inspect` shows (liveportrait has names)"
            )
        if group not in GROUPS:
            raise ValueError(f"expected a group of keypoints, one of {', '.join(GROUPS)}; got {group!r}")
        return GROUPS[group]
    if not all(isinstance(each, int) and 0 <= each < config.keypoints for each in group):
        raise ValueError(f"expected keypoints from 0 to {config.keypoints - 1}, got {group!r}")
    return group


def _numbers(weights: Weights) -> list[float]:
    return list(weights.values()) if isinstance(weights, Mapping) else [weights]


def _check_ratios(name: str, *ratios: float) -> None:
    if not all(math.isfinite(ratio) and ratio >= 0 for ratio in ratios):
        raise ValueError(f"{name}: expected ratios of height to width, at least 0; got {ratios}")
