# SPDX-License-Identifier: Apache-2.0
"""From a driver's motion to where the source's keypoints go.

`place` moves the source's canonical keypoints x_c to where the driving frame d wants them. Each
preset names its rule; d0 is the anchor, and (R_u, t_u) the receiver's view:

  pose (the paper, Sec. 3.3)
    absolute   R_d, t_d, δ_d
    relative   R = R_d R_d0⁻¹ R_s,  t = t_s + t_d − t_d0,  δ = δ_s + δ_d − δ_d0
    view       after: R ← R_u R,  t ← t + t_u
    then       x = R x_c + t + δ,  affine = R_s R⁻¹
  keypoint (zhanglonghao1992's release; First Order Motion, which reads x_d and J_d and has no view)
    view       before: in x_d and J_d, while x_d0 stays as read
    absolute   x_d = R_d x_c + t_d + δ_d,  J_d = R_d J_c
    relative   x = x_s + a (x_d − x_d0),  J = J_d J_d0⁻¹ J_s
    then       affine = J_s J⁻¹ for each keypoint; none without Jacobians
  liveportrait (its release)
    absolute   R_d, t_d, s_s; of δ some numbers are the driver's, the others the source's
    relative   R = R_s R_d0⁻¹ R_d,  t and δ as `pose`,  s = s_s s_d / s_d0
    view       after: R ← R_u R,  t ← t + t_u
    then       x = s (R x_c + δ) + t, without affine
  liveportrait, where the source is a film (`FilmTransfer`)
    absolute   as above, R and δ smoothed
    relative   R and δ as above, smoothed, of δ what absolute motion takes,  t = t_s,  s = s_s
  performrecast (its release), which transfers the expression alone: R_s, t_s, s_s
    absolute   its "replacement": δ is the driver's, but at some keypoints a mixture with the source's own
    relative   its "enhancement": δ = δ_s + δ_d − δ_d0
    view       after: R ← R_u R,  t ← t + t_u
    then       x = s (R (x_c + δ)) + t, without affine; s for each axis

Without a scale s is 1. What a preset leaves out of t (`GeometryConfig.translation`) is 0 in every motion. A
view does not rotate δ (paper, Eq. 1), but where δ turns with the head.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import pad

from fv2v.config import GeometryConfig
from fv2v.devices import no_autocast
from fv2v.geometry.liveportrait import DRIVEN_EXPRESSION, GROUPS, LIPS_AT_REST
from fv2v.geometry.performrecast import OWN_SHARES
from fv2v.geometry.rotation import euler_degrees, rotation_from_euler
from fv2v.geometry.types import Motion, Placement, Source
from fv2v.geometry.view import View, ViewTensors, check_views, view_tensors

_PAPER = GeometryConfig()
Views = View | Sequence[View] | ViewTensors | None  # one for all frames, or one a frame


def used_translation(translation: Tensor, geometry: GeometryConfig) -> Tensor:
    """t (B, 3) with what the preset leaves out of it at 0."""
    if geometry.translation == "xyz":
        return translation
    first, kept = "xyz".index(geometry.translation), len(geometry.translation)
    return pad(translation[:, first : first + kept], (first, 3 - first - kept))


def keypoints_of(canonical: Tensor, motion: Motion, geometry: GeometryConfig = _PAPER) -> Tensor:
    """T_x (paper, Eq. 1): x = s (R x_c + δ) + t, or s (R (x_c + δ)) + t where the preset turns δ.

    canonical (B or 1, K, 3) -> (B, K, 3).
    """
    with no_autocast(canonical):
        if TRANSFERS[geometry.transfer].turns_expression:
            turned = (canonical + motion.expression) @ motion.rotation.mT
        else:
            turned = canonical @ motion.rotation.mT + motion.expression
    return motion.scale.unsqueeze(1) * turned + motion.translation.unsqueeze(1)


def jacobians_of(canonical: Tensor | None, motion: Motion) -> Tensor | None:
    """J = R J_c (B, K, 3, 3), or as the motion has them; None without Jacobians."""
    if motion.jacobians is not None or canonical is None:
        return motion.jacobians
    return motion.rotation.unsqueeze(1) @ canonical


def place(
    source: Source,
    motion: Motion,
    anchor: Motion | None = None,
    view: Views = None,
    *,
    geometry: GeometryConfig,
    movement: Tensor | float = 1.0,
) -> Placement:
    """Where the source's keypoints go, and how its surroundings turn with them (the table above).

    Args:
        source: of one portrait, or B.
        motion: of B frames.
        anchor: of one frame, or B; None moves absolutely.
        view: one for all frames, or B of them.
        geometry: the preset's conventions, its transfer rule among them.
        movement: the factor a of the `keypoint` rule (hull.py).
    """
    with no_autocast(source.canonical):
        return TRANSFERS[geometry.transfer].place(source, motion, anchor, view, geometry, movement)


def resting(motion: Motion, geometry: GeometryConfig, region: str = "all") -> Motion | None:
    """What a single driving picture is measured against, so that it moves nothing but the expression.

    LivePortrait's anchor is the picture's own motion with lips at rest; where its eyes alone drive (`region`,
    as `Edit` has it), without expression: δ = 0. Other releases know no such face: there a picture drives
    absolutely.
    """
    return TRANSFERS[geometry.transfer].rest(motion, region)


def apply_view(motion: Motion, view: Views, geometry: GeometryConfig) -> Motion:
    """`motion` (B) as the receiver's view, one for all frames or B of them, wants it shown."""
    if view is None:
        return motion
    if not isinstance(view, ViewTensors):
        view = view_tensors(check_views(view, len(motion)), motion.translation)
    degrees, rotation, translation = view.degrees, motion.rotation, motion.translation
    if view.keeps is not None:
        read = torch.stack(euler_degrees(rotation, geometry.euler_order, pi=geometry.pi), dim=-1)
        degrees = read.where(view.keeps[:, :3], degrees)
        straight = torch.eye(3, dtype=rotation.dtype, device=rotation.device)
        rotation = rotation.where(view.keeps[:, 3, None, None], straight)
        translation = translation.where(view.keeps[:, 4:], 0.0)
    turn = rotation_from_euler(*degrees.unbind(-1), order=geometry.euler_order, pi=geometry.pi)
    return replace(motion, rotation=turn @ rotation, translation=translation + view.translation)


def _place_pose(
    source: Source, motion: Motion, anchor: Motion | None, view: Views, geometry: GeometryConfig, _: object
) -> Placement:
    own = source.motion
    if anchor is not None:
        # a rotation's inverse is its transpose
        rotation = motion.rotation @ anchor.rotation.mT @ own.rotation
        motion = replace(_changed(own, motion, anchor), rotation=rotation)
    motion = apply_view(motion, view, geometry)
    turn = own.rotation @ motion.rotation.mT
    return Placement(keypoints_of(source.canonical, motion, geometry), turn)


def _place_keypoints(
    source: Source,
    motion: Motion,
    anchor: Motion | None,
    view: Views,
    geometry: GeometryConfig,
    movement: Tensor | float,
) -> Placement:
    motion = apply_view(motion, view, geometry)
    keypoints = keypoints_of(source.canonical, motion, geometry)
    if anchor is not None:
        change = keypoints - keypoints_of(source.canonical, anchor, geometry)
        keypoints = source.keypoints + movement * change
    own, driving = (jacobians_of(source.jacobians, each) for each in (source.motion, motion))
    if own is None or driving is None:
        return Placement(keypoints, None)
    before = None if anchor is None else jacobians_of(source.jacobians, anchor)
    if before is not None:
        driving = driving @ _inverse(before) @ own
    return Placement(keypoints, own @ _inverse(driving))


def _place_liveportrait(
    source: Source, motion: Motion, anchor: Motion | None, view: Views, geometry: GeometryConfig, _: object
) -> Placement:
    own = source.motion
    if anchor is not None:
        rotation = own.rotation @ anchor.rotation.mT @ motion.rotation
        scale = own.scale * (motion.scale / anchor.scale)
        motion = replace(_changed(own, motion, anchor), rotation=rotation, scale=scale)
    else:
        expression = _partly_driven(motion.expression, own.expression)
        motion = replace(motion, expression=expression, scale=own.scale.expand_as(motion.scale))
    motion = apply_view(motion, view, geometry)
    return Placement(keypoints_of(source.canonical, motion, geometry), None)


def _place_performrecast(
    source: Source, motion: Motion, anchor: Motion | None, view: Views, geometry: GeometryConfig, _: object
) -> Placement:
    own, driven = source.motion, motion.expression
    if anchor is not None:
        expression = own.expression + (driven - anchor.expression)
    else:
        expression = _mixed(driven, own.expression.expand_as(driven))
    still = own.repeat(len(motion)) if len(own) == 1 else own
    motion = replace(still, expression=expression)
    motion = apply_view(motion, view, geometry)
    return Placement(keypoints_of(source.canonical, motion, geometry), None)


def _move_film(own: Motion, motion: Motion, anchor: Motion | None) -> Motion:
    if anchor is None:
        return motion
    rotation = own.rotation @ anchor.rotation.mT @ motion.rotation
    expression = own.expression + (motion.expression - anchor.expression)
    return replace(own, rotation=rotation, expression=expression)


def _keep_of_film(own: Motion, motion: Motion) -> Motion:
    return replace(motion, expression=_partly_driven(motion.expression, own.expression))


def _changed(own: Motion, motion: Motion, anchor: Motion) -> Motion:
    """`motion` with the source's own t and δ, changed as the driver's have since the anchor."""
    return replace(
        motion,
        translation=own.translation + (motion.translation - anchor.translation),
        expression=own.expression + (motion.expression - anchor.expression),
    )


def _at_rest(motion: Motion, region: str) -> Motion:
    if region == "eyes":
        return replace(motion, expression=torch.zeros_like(motion.expression))
    lips = torch.tensor(LIPS_AT_REST, dtype=motion.expression.dtype, device=motion.expression.device)
    return replace(motion, expression=lips.expand_as(motion.expression))


def _partly_driven(driving: Tensor, own: Tensor) -> Tensor:
    """δ (B, K, 3), of which some numbers are the driver's and the others the source's own (B or 1, K, 3).

    Pieces of rows and no mask, which would have to come from the host.
    """
    rows = {True: driving.flatten(1), False: own.expand_as(driving).flatten(1)}
    pieces, end = [], 0
    for driven, run in groupby(flag for point in DRIVEN_EXPRESSION for flag in point):
        start, end = end, end + len(list(run))
        pieces.append(rows[driven][:, start:end])
    return torch.cat(pieces, dim=1).unflatten(1, (-1, 3))


def _mixed(driving: Tensor, own: Tensor) -> Tensor:
    """δ (B, K, 3), the driver's but at PerformRecast's keypoints that keep a share of the source's own."""
    pieces, end = [], 0
    for (first, last), shares in OWN_SHARES.items():
        at = slice(first, last + 1)
        axes = [torch.lerp(driving[:, at, i], own[:, at, i], share) for i, share in enumerate(shares)]
        pieces += [driving[:, end:first], torch.stack(axes, dim=-1)]
        end = last + 1
    return torch.cat([*pieces, driving[:, end:]], dim=1)


def _inverse(matrices: Tensor) -> Tensor:
    """(..., 3, 3); of a singular one infinite or NaN. In a few plain operations, where libraries may wait."""
    a, b, c = matrices.unbind(-2)
    columns = torch.stack([torch.linalg.cross(u, v) for u, v in ((b, c), (c, a), (a, b))], dim=-1)
    volume = (a * columns[..., 0]).sum(-1)
    return columns / volume[..., None, None]


@dataclass(frozen=True, slots=True)
class FilmTransfer:
    """How the frames of a film are moved by a release that smooths what they are given."""

    move: Callable[[Motion, Motion, Motion | None], Motion]  # own, driver's, anchor -> to be smoothed
    keep: Callable[[Motion, Motion], Motion]  # own, smoothed -> what the frame is given


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A transfer rule: how it places keypoints, and what else of the package depends on it."""

    place: Callable[
        [Source, Motion, Motion | None, Views, GeometryConfig, Tensor | float], Placement
    ]  # as `place`
    rest: Callable[[Motion, str], Motion | None] = lambda motion, region: None  # as `resting`
    film: FilmTransfer | None = None  # None: a film's frames are moved as portraits are
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # keypoints that have a name
    scales_movement: bool = False  # relative movement can be scaled to the source's size of face
    rotates_flow: bool = False  # the affine of the flow is R_s R_d⁻¹, whatever the Jacobians are
    reads_jacobians: bool = False  # the affine of the flow is J_s J_d⁻¹
    turns_expression: bool = False  # δ is of the canonical face, and turns with the head
    keeps_own_expression: bool = False  # absolute motion leaves part of δ as the source has it


TRANSFERS = {  # by the names of `GeometryConfig.transfer`
    "pose": Transfer(place=_place_pose, rotates_flow=True),
    "keypoint": Transfer(place=_place_keypoints, scales_movement=True, reads_jacobians=True),
    "liveportrait": Transfer(
        place=_place_liveportrait,
        rest=_at_rest,
        film=FilmTransfer(_move_film, _keep_of_film),
        groups=GROUPS,
        keeps_own_expression=True,
    ),
    "performrecast": Transfer(
        place=_place_performrecast,
        turns_expression=True,
        keeps_own_expression=True,
    ),
}
