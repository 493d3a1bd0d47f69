"""Where things are: coordinates, rotations, views, and how motion goes from one face to another.

Coordinates. Points are (x, y, z): x to the right, y down, z away from the viewer. Volumes are (D, H, W)
= (z, y, x). Every axis runs over [-1, 1].

Two lattices are in use and they differ by up to half a voxel. Keypoints and flows live on the **corner
lattice**: -1 and +1 are the *centres* of the first and last voxel, voxel i at 2 i / (n - 1) - 1. A
preset with `align_corners=True` reads volumes there too, and its identity flow is an identity warp. A
preset with `align_corners=False` reads on the **face lattice**: -1 and +1 are the *outer faces*, voxel i
at (2 i + 1) / n - 1. The identity flow then reads voxel i at i + i / (n - 1) - 1/2, from half a voxel
before the first to half a voxel past the last. The published weights were trained with this mismatch, so
it is kept, in that one field of the preset. Reads outside the volume are zero.

Rotations act on columns, x' = R x, and `rotation_from_euler` says in which order angles make them.
Positive yaw turns the nose (z < 0) to the left of the picture, positive pitch turns it down, positive
roll turns the head clockwise.

Transfer. `place` moves the source's canonical keypoints x_c to where the driving frame d wants them. Each
preset names its rule; d0 is the anchor, and (R_u, t_u) the receiver's view:

  pose (the paper, Sec. 3.3)
    absolute   R_d, t_d, δ_d
    relative   R = R_d R_d0⁻¹ R_s,  t = t_s + t_d − t_d0,  δ = δ_s + δ_d − δ_d0
    view       after: R ← R_u R,  t ← t + t_u
    then       x = R x_c + t + δ,  affine = R_s R⁻¹
  keypoint (zhanglonghao1992's release)
    view       before: in x_d and J_d, while x_d0 stays as read
    absolute   x_d = R_d x_c + t_d + δ_d,  J_d = R_d J_c
    relative   x = x_s + a (x_d − x_d0),  J = J_d J_d0⁻¹ J_s
    then       affine = J_s J⁻¹ for each keypoint; none without Jacobians
  liveportrait (its release)
    absolute   R_d, t_d, s_s; of δ some numbers are the driver's, the others the source's
    relative   R = R_s R_d0⁻¹ R_d,  t and δ as `pose`,  s = s_s s_d / s_d0
    view       after: R ← R_u R,  t ← t + t_u
    then       x = s (R x_c + δ) + t, without affine

Without a scale s is 1. What a preset leaves out of t (`GeometryConfig.translation`) is 0 in every motion. A
view never rotates δ (paper, Eq. 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from fv2v.config import GeometryConfig
from fv2v.devices import no_autocast
from fv2v.geometry.liveportrait import DRIVEN_EXPRESSION, LIPS_AT_REST
from fv2v.geometry.rotation import euler_degrees as euler_degrees
from fv2v.geometry.rotation import rotation_from_euler as rotation_from_euler
from fv2v.geometry.view import View as View
from fv2v.geometry.view import ViewTensors, check_views, view_tensors

Views = View | Sequence[View] | ViewTensors | None  # one for all frames, or one a frame


@dataclass(frozen=True, slots=True)
class Motion:
    """What H and Δ read in B frames, and all that a sender transmits. float32 (or 64), never half."""

    rotation: Tensor  # (B, 3, 3)
    translation: Tensor  # (B, 3)
    expression: Tensor  # (B, K, 3)  δ
    scale: Tensor  # (B, 1)     1 in all presets but LivePortrait's

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, frames: slice) -> "Motion":
        """Some of the frames: `motion[2:3]`."""
        return Motion(*(getattr(self, f.name)[frames] for f in fields(self)))

    def to(self, device: torch.device, dtype: torch.dtype) -> "Motion":
        return Motion(*(getattr(self, f.name).to(device, dtype) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Source:
    """All that a portrait contributes, computed once: what it looks like, and where its keypoints are."""

    features: Tensor  # (B, C, D, H, W)   f_s
    compressed: Tensor  # (B, C', D, H, W)  what M sees of f_s
    canonical: Tensor  # (B, K, 3)         x_c: neutral face, frontal pose
    jacobians: Tensor | None  # (B, K, 3, 3)      J_c, where the preset has them
    motion: Motion  # its own
    keypoints: Tensor  # (B, K, 3)         x_s

    def __len__(self) -> int:
        return len(self.features)


class Placement(NamedTuple):
    """Where the source's keypoints go, and how what surrounds them turns."""

    kp_driving: Tensor  # (B, K, 3)  x_d
    affine: Tensor | None  # (B, 3, 3) shared, (B, K, 3, 3), or None for the identity


def coordinate_dtype(dtype: torch.dtype) -> torch.dtype:
    """What keypoints and rotations are kept in beside features of `dtype`: never half."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def used_translation(translation: Tensor, geometry: GeometryConfig) -> Tensor:
    """t (B, 3) with what the preset leaves out of it at 0."""
    if geometry.translation == "xyz":
        return translation
    first, kept = "xyz".index(geometry.translation), len(geometry.translation)
    return pad(translation[:, first : first + kept], (first, 3 - first - kept))


def keypoints_of(canonical: Tensor, motion: Motion) -> Tensor:
    """T_x (paper, Eq. 1): x = s (R x_c + δ) + t. canonical (B or 1, K, 3) -> (B, K, 3)."""
    with no_autocast(canonical):
        turned = canonical @ motion.rotation.mT + motion.expression
    return motion.scale.unsqueeze(1) * turned + motion.translation.unsqueeze(1)


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

    `motion` has B frames; `source` and `anchor` have one, or B. `view` is one for all frames or B of them.
    `anchor=None` is absolute. `movement` is the factor a of the `keypoint` rule (hull.py).
    """
    with no_autocast(source.canonical):
        if geometry.transfer == "pose":
            return _place_pose(source, motion, anchor, view, geometry)
        if geometry.transfer == "liveportrait":
            return _place_liveportrait(source, motion, anchor, view, geometry)
        return _place_keypoints(source, motion, anchor, view, geometry, movement)


def resting(motion: Motion, geometry: GeometryConfig) -> Motion | None:
    """What a single driving picture is measured against, so that it moves nothing but the expression.

    LivePortrait's anchor is the picture's own motion with lips at rest. Other releases know no such face:
    there a picture drives absolutely.
    """
    if geometry.transfer != "liveportrait":
        return None
    lips = torch.tensor(LIPS_AT_REST, dtype=motion.expression.dtype, device=motion.expression.device)
    return replace(motion, expression=lips.expand_as(motion.expression))


def frontal(motion: Motion) -> Motion:
    """The same face looking straight ahead, its place and expression kept (Sec. 3.3)."""
    ahead = torch.eye(3, dtype=motion.rotation.dtype, device=motion.rotation.device)
    return replace(motion, rotation=ahead.expand_as(motion.rotation))


def _place_pose(
    source: Source,
    motion: Motion,
    anchor: Motion | None,
    view: Views,
    geometry: GeometryConfig,
) -> Placement:
    own = source.motion
    if anchor is not None:
        motion = Motion(
            # a rotation's inverse is its transpose
            rotation=motion.rotation @ anchor.rotation.mT @ own.rotation,
            translation=own.translation + (motion.translation - anchor.translation),
            expression=own.expression + (motion.expression - anchor.expression),
            scale=motion.scale,
        )
    motion = seen(motion, view, geometry)
    return Placement(keypoints_of(source.canonical, motion), own.rotation @ motion.rotation.mT)


def _place_keypoints(
    source: Source,
    motion: Motion,
    anchor: Motion | None,
    view: Views,
    geometry: GeometryConfig,
    movement: Tensor | float,
) -> Placement:
    motion = seen(motion, view, geometry)
    keypoints = keypoints_of(source.canonical, motion)
    if anchor is not None:
        change = keypoints - keypoints_of(source.canonical, anchor)
        keypoints = source.keypoints + movement * change
    if source.jacobians is None:
        return Placement(keypoints, None)
    own = source.motion.rotation.unsqueeze(1) @ source.jacobians  # (B, K, 3, 3)  J = R J_c
    driving = motion.rotation.unsqueeze(1) @ source.jacobians
    if anchor is not None:
        driving = driving @ _inverse(anchor.rotation.unsqueeze(1) @ source.jacobians) @ own
    return Placement(keypoints, own @ _inverse(driving))


def _place_liveportrait(
    source: Source,
    motion: Motion,
    anchor: Motion | None,
    view: Views,
    geometry: GeometryConfig,
) -> Placement:
    own = source.motion
    if anchor is not None:
        motion = Motion(
            rotation=own.rotation @ anchor.rotation.mT @ motion.rotation,
            translation=own.translation + (motion.translation - anchor.translation),
            expression=own.expression + (motion.expression - anchor.expression),
            scale=own.scale * (motion.scale / anchor.scale),
        )
    else:
        expression = _partly_driven(motion.expression, own.expression)
        motion = replace(motion, expression=expression, scale=own.scale.expand_as(motion.scale))
    motion = seen(motion, view, geometry)
    return Placement(keypoints_of(source.canonical, motion), None)


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


def _inverse(matrices: Tensor) -> Tensor:
    """(..., 3, 3); of a singular one infinite or NaN. In a few plain operations, where libraries may wait."""
    a, b, c = matrices.unbind(-2)
    columns = torch.stack([torch.linalg.cross(u, v) for u, v in ((b, c), (c, a), (a, b))], dim=-1)
    volume = (a * columns[..., 0]).sum(-1)
    return columns / volume[..., None, None]


def seen(motion: Motion, view: Views, geometry: GeometryConfig) -> Motion:
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


def check_motion(motion: Motion, keypoints: int, frames: str = "frames", *, scaled: bool = False) -> None:
    """Look at a motion that someone gives. Waits for the device, so not for motions just extracted.

    Raises:
        ValueError: sizes that do not fit, NaN or infinite numbers, a scale where the preset has none or one
            that is not positive; it names which.
    """
    if not isinstance(motion, Motion):
        raise ValueError(f"expected a Motion for the {frames}, got {type(motion).__name__}")
    B = len(motion.translation)
    expected = {
        "rotation": (B, 3, 3),
        "translation": (B, 3),
        "expression": (B, keypoints, 3),
        "scale": (B, 1),
    }
    for name, shape in expected.items():
        got = getattr(motion, name)
        if tuple(got.shape) != shape:
            raise ValueError(
                f"motion of the {frames}: expected {name} of shape {shape} (B={B}, K={keypoints}), "
                f"got {tuple(got.shape)}"
            )
        if not torch.isfinite(got).all():
            raise ValueError(f"motion of the {frames}: {name} holds NaN or infinite numbers")
    wanted = "positive scales" if scaled else "scale 1 (this preset has no other)"
    if not ((motion.scale > 0) if scaled else (motion.scale == 1)).all():
        raise ValueError(f"motion of the {frames}: expected {wanted}, got {motion.scale.flatten().tolist()}")
