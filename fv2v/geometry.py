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

A view never rotates δ (paper, Eq. 1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from fv2v.config import EULER_ORDERS, GeometryConfig


@dataclass(frozen=True, slots=True)
class Motion:
    """What H and Δ read in B frames, and all that a sender transmits. float32 (or 64), never half."""

    rotation: Tensor  # (B, 3, 3)
    translation: Tensor  # (B, 3)
    expression: Tensor  # (B, K, 3)  δ
    scale: Tensor  # (B, 1)     1: no preset here has one

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


@dataclass(frozen=True, slots=True)
class View:
    """The receiver's wish for the head's pose: degrees, and a translation (the volume is 2 wide).

    `mode="compose"` turns the head on from where it is, R_u R and t + t_u (paper, Sec. 3.3); None is 0.
    `mode="replace"` sets what is given and keeps what is None, as zhanglonghao1992's release does.
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
        numbers = [*self.angles, *(self.translation or ())]
        if not all(math.isfinite(number) for number in numbers if number is not None):
            raise ValueError(f"View: expected finite numbers, got {self}")

    @property
    def angles(self) -> tuple[float | None, float | None, float | None]:
        return self.pitch, self.yaw, self.roll


class Placement(NamedTuple):
    """Where the source's keypoints go, and how what surrounds them turns."""

    kp_driving: Tensor  # (B, K, 3)  x_d
    affine: Tensor | None  # (B, 3, 3) shared, (B, K, 3, 3), or None for the identity


def coordinate_dtype(dtype: torch.dtype) -> torch.dtype:
    """What keypoints and rotations are kept in beside features of `dtype`: never half."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def rotation_from_euler(
    pitch: Tensor, yaw: Tensor, roll: Tensor, *, order: str = "xyz", pi: float = math.pi
) -> Tensor:
    """(B,) degrees each -> R (B, 3, 3), acting on columns.

    `order` spells the product: "xyz" is Rx(pitch) Ry(yaw) Rz(roll), "zyx" is Rz(roll) Ry(yaw) Rx(pitch).
    `pi` is what half a turn counts as in radians: released weights mean what their training meant.
    """
    _check_order(order)
    axes = {"x": _turn(pitch, pi, 0), "y": _turn(yaw, pi, 1), "z": _turn(roll, pi, 2)}
    first, second, third = (axes[axis] for axis in order)
    return first @ second @ third


def euler_degrees(
    rotation: Tensor, order: str = "xyz", *, pi: float = math.pi
) -> tuple[Tensor, Tensor, Tensor]:
    """R (B, 3, 3) -> pitch, yaw, roll, (B,) degrees each; yaw in [-90, 90]. Undoes `rotation_from_euler`.

    At a yaw of ±90° pitch and roll turn about the same axis: any split that gives R back may come out.
    """
    _check_order(order)
    if order == "zyx":  # the transpose is Rx(-pitch) Ry(-yaw) Rz(-roll)
        pitch, yaw, roll = euler_degrees(rotation.mT, "xyz", pi=pi)
        return -pitch, -yaw, -roll
    r = rotation
    yaw = torch.atan2(r[:, 0, 2], torch.hypot(r[:, 1, 2], r[:, 2, 2]))
    pitch = torch.atan2(-r[:, 1, 2], r[:, 2, 2])
    # the middle row of Rx(-pitch) R is (sin roll, cos roll, 0), also where pitch is arbitrary
    c, s = torch.cos(pitch), torch.sin(pitch)
    roll = torch.atan2(c * r[:, 1, 0] + s * r[:, 2, 0], c * r[:, 1, 1] + s * r[:, 2, 1])
    degrees = 180 / pi
    return pitch * degrees, yaw * degrees, roll * degrees


def _check_order(order: str) -> None:
    if order not in EULER_ORDERS:
        raise ValueError(f"expected an Euler order, one of {EULER_ORDERS}, got {order!r}")


def _turn(degrees: Tensor, pi: float, axis: int) -> Tensor:
    """(B,) -> the rotation (B, 3, 3) about x, y or z that takes the next axis towards the one after it."""
    radians = degrees / 180 * pi
    c, s, zero, one = radians.cos(), radians.sin(), torch.zeros_like(radians), torch.ones_like(radians)
    rows = {
        0: (one, zero, zero, zero, c, -s, zero, s, c),
        1: (c, zero, s, zero, one, zero, -s, zero, c),
        2: (c, -s, zero, s, c, zero, zero, zero, one),
    }[axis]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def keypoints_of(canonical: Tensor, motion: Motion) -> Tensor:
    """T_x (paper, Eq. 1): x = R x_c + t + δ. canonical (B or 1, K, 3) -> (B, K, 3)."""
    return canonical @ motion.rotation.mT + motion.translation.unsqueeze(1) + motion.expression


def place(
    source: Source,
    motion: Motion,
    anchor: Motion | None = None,
    view: View | Sequence[View] | None = None,
    *,
    geometry: GeometryConfig,
    movement: Tensor | float = 1.0,
) -> Placement:
    """Where the source's keypoints go, and how its surroundings turn with them (the table above).

    `motion` has B frames; `source` and `anchor` have one, or B. `view` is one for all frames or B of them.
    `anchor=None` is absolute. `movement` is the factor a of the `keypoint` rule (hull.py).
    """
    if geometry.transfer == "pose":
        return _place_pose(source, motion, anchor, view, geometry)
    return _place_keypoints(source, motion, anchor, view, geometry, movement)


def _place_pose(
    source: Source,
    motion: Motion,
    anchor: Motion | None,
    view: View | Sequence[View] | None,
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
    view: View | Sequence[View] | None,
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


def _inverse(matrices: Tensor) -> Tensor:
    # inv_ex does not wait for the device to report singular matrices
    return torch.linalg.inv_ex(matrices).inverse


def seen(motion: Motion, view: View | Sequence[View] | None, geometry: GeometryConfig) -> Motion:
    """`motion` (B) as the receiver's view, one for all frames or B of them, wants it shown."""
    if view is None:
        return motion
    if not isinstance(view, View | Sequence):
        raise ValueError(f"expected a View, or a sequence of them, got {view!r}")
    if not isinstance(view, View):
        if len(view) != len(motion):
            raise ValueError(f"expected one view, or one for each of {len(motion)} frames, got {len(view)}")
        frames = [seen(motion[i : i + 1], each, geometry) for i, each in enumerate(view)]
        return Motion(*(torch.cat([getattr(frame, f.name) for frame in frames]) for f in fields(Motion)))
    replace = view.mode == "replace"
    read = euler_degrees(motion.rotation, geometry.euler_order, pi=geometry.pi)
    pitch, yaw, roll = (
        torch.full_like(angle, wish) if wish is not None else angle if replace else torch.zeros_like(angle)
        for angle, wish in zip(read, view.angles, strict=True)
    )
    rotation = rotation_from_euler(pitch, yaw, roll, order=geometry.euler_order, pi=geometry.pi)
    translation = motion.translation
    if view.translation is not None:
        shift = translation.new_tensor(view.translation)
        translation = shift.expand_as(translation) if replace else translation + shift
    if not replace:
        rotation = rotation @ motion.rotation
    return Motion(rotation, translation, motion.expression, motion.scale)


def check_motion(motion: Motion, keypoints: int, frames: str = "frames") -> None:
    """Look at a motion that someone gives. Waits for the device, so not for motions just extracted.

    Raises:
        ValueError: sizes that do not fit, NaN or infinite numbers, a scale; it names which.
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
    if not (motion.scale == 1).all():
        got = motion.scale.flatten().tolist()
        raise ValueError(f"motion of the {frames}: expected scale 1 (no preset has another), got {got}")
