# SPDX-License-Identifier: Apache-2.0
"""Edits of a driver's motion, and whether they fit a preset; fv2v/reenactor/placement.py applies them."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fv2v.config import ModelConfig
from fv2v.geometry import Motion
from fv2v.geometry.transfer import TRANSFERS
from fv2v.geometry.view import check_has_pose
from fv2v.motion.ratios import Openness, check_ratios

REGIONS = ("all", "expression", "pose", "lips", "eyes")

Group = str | tuple[int, ...]  # a name of LivePortrait's `GROUPS`, or numbers of keypoints
Weights = float | Mapping[Group, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What to change in the driver's motion before it is rendered. `Edit()` changes nothing.

    The head's pose has its own offsets, for every preset: `View`.

    Args:
        region: which part of the driver's motion is used: "all", "expression" or "pose", and with
            LivePortrait's keypoints also "lips" or "eyes". "pose" turns and moves the head; its scale stays.
        strength: how strong the expression is, w: one number, or one for each group of keypoints (then 1 for
            all others; of groups that overlap the last counts). A group is a tuple of numbers from 0 to
            K - 1, or of LivePortrait's "lips", "eyes" or "brows".
        still: a motion of one frame whose expression is blended into the driver's.
        blend: how much of it, b, given as `strength` is; 0 for the keypoints of no group.
        multiplier: m, how far keypoints move from the source's.
        eyes, lips: how far eyes and lips should be open, as ratios of `Openness`; None leaves them alone.
            Relative motion is dropped then, as in the release: the face does nothing else.
        normalize_lips: close the portrait's lips, where they are open, before the driver opens them; for
            relative motion.
        portrait: how open the portrait's eyes and lips are, which these three start from.

    Raises:
        ValueError: a value out of range. Whether an edit fits a preset is checked by `check_edit`.
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

    def __post_init__(self) -> None:
        if self.region not in REGIONS:
            raise ValueError(f"Edit: expected a region, one of {', '.join(REGIONS)}; got {self.region!r}")
        weights = [*_numbers(self.strength), *_numbers(self.blend), self.multiplier]
        if not all(map(math.isfinite, weights)):
            raise ValueError(f"Edit: expected finite strength, blend and multiplier, got {weights}")
        check_ratios("Edit", *(ratio for ratio in (self.eyes, self.lips) if ratio is not None))
        if (self.retargets or self.normalize_lips) and self.portrait is None:
            raise ValueError(
                "Edit: eyes, lips and normalize_lips start from how open the portrait's are: expected "
                "portrait=Openness(left_eye, right_eye, lips), or Openness.of(its 203 landmarks); got none"
            )

    @property
    def retargets(self) -> bool:
        """Whether eyes or lips are set."""
        return self.eyes is not None or self.lips is not None


# Makes edits of how far a portrait's eyes and lips are open, and a driver's in each frame; None: not known.
EditMaker = Callable[[Openness | None, Sequence[Openness] | None], Edit | Sequence[Edit] | None]


def following(
    edit: Edit, driver: Iterable[Openness], *, eyes: bool = True, lips: bool = True
) -> Iterator[Edit]:
    """`edit` once a frame, with eyes, lips or both as far open as the driver's are in that frame.

    Both eyes open as the driver's left one, as in the release.
    """
    for now in driver:
        yield replace(edit, eyes=now.left_eye if eyes else edit.eyes, lips=now.lips if lips else edit.lips)


def with_still(edit: Edit | Iterable[Edit] | None, still: Motion) -> Edit | Iterator[Edit]:
    """The edit, or each of them, with a still expression to blend in; for None an edit with that alone."""
    if edit is None or isinstance(edit, Edit):
        return replace(edit or Edit(), still=still)
    return (replace(each, still=still) for each in edit)


def check_edits(edit: Edit | Iterable[Edit] | None, frames: int, config: ModelConfig) -> Sequence[Edit]:
    """The edits as a list: none, one for all frames, or one a frame; ValueError otherwise.

    Each is checked by `check_edit`.
    """
    edits = [] if edit is None else [edit] if isinstance(edit, Edit) else list(edit)
    if len(edits) > 1 and len(edits) != frames:
        raise ValueError(f"expected one edit, or one for each of {frames} frames, got {len(edits)}")
    for each in edits:
        check_edit(each, config)
    return edits


def check_edit(edit: Edit, config: ModelConfig) -> None:
    """ValueError where an edit does not fit a preset; the message says why."""
    if not isinstance(edit, Edit):
        raise ValueError(f"expected an Edit, got {edit!r}")
    if (edit.retargets or edit.normalize_lips) and config.retargeting is None:
        raise ValueError(
            f"{config.name!r} has no networks that open eyes and lips, as liveportrait has: edit its "
            "expression by strength and still"
        )
    if config.direct and (edit.region != "all" or edit.strength != 1 or edit.still is not None):
        check_has_pose(config, "an expression without it (region, strength, still)")
    region_of(edit, config)
    for weights in (edit.strength, edit.blend):
        by_keypoint(weights, 0.0, config)
    if edit.still is not None and tuple(edit.still.expression.shape) != (1, config.keypoints, 3):
        raise ValueError(
            f"still: expected the motion of one frame with {config.keypoints} keypoints, got expression "
            f"{tuple(edit.still.expression.shape)}"
        )


def region_of(edit: Edit, config: ModelConfig) -> list[float]:
    """Whether each keypoint's expression is in the region: 1, or 0."""
    if edit.region in ("lips", "eyes"):
        return by_keypoint({edit.region: 1.0}, 0.0, config)
    return [0.0 if edit.region == "pose" else 1.0] * config.keypoints


def by_keypoint(weights: Weights, others: float, config: ModelConfig) -> list[float]:
    """A weight for each keypoint. ValueError for groups that the preset does not have."""
    if not isinstance(weights, Mapping):
        return [float(weights)] * config.keypoints
    result = [others] * config.keypoints
    for group, weight in weights.items():
        for keypoint in _members(group, config):
            result[keypoint] = float(weight)
    return result


def _members(group: Group, config: ModelConfig) -> tuple[int, ...]:
    if isinstance(group, str):
        groups = TRANSFERS[config.geometry.transfer].groups
        if not groups:
            raise ValueError(
                f"{config.name!r} has no keypoints known as {group!r}: give their numbers, as (0, 3), which "
                "`fv2v inspect` shows (liveportrait has names)"
            )
        if group not in groups:
            raise ValueError(f"expected a group of keypoints, one of {', '.join(groups)}; got {group!r}")
        return groups[group]
    if not all(isinstance(each, int) and 0 <= each < config.keypoints for each in group):
        raise ValueError(f"expected keypoints from 0 to {config.keypoints - 1}, got {group!r}")
    return group


def _numbers(weights: Weights) -> list[float]:
    return list(weights.values()) if isinstance(weights, Mapping) else [weights]
