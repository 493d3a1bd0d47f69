# SPDX-License-Identifier: Apache-2.0
"""Rotations and the three angles that make them."""

import math

import torch
from torch import Tensor

from fv2v.config import EULER_ORDERS


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


def rotation_from_vector(vector: Tensor) -> Tensor:
    """Axis times angle in radians (..., 3) -> R (..., 3, 3), acting on columns (Rodrigues' formula)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    angle = torch.linalg.vector_norm(vector, dim=-1)[..., None, None]
    first, second = torch.sinc(angle / math.pi), torch.sinc(angle / (2 * math.pi)) ** 2 / 2
    straight = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return straight + first * cross + second * cross @ cross


def rotation_vector(rotation: Tensor) -> Tensor:
    """R (..., 3, 3) -> axis times angle in radians (..., 3), the angle from 0 to pi. Undoes the above.

    Near half a turn, where the axis is hardly to be told, it loses precision.
    """
    r = rotation
    twice = torch.stack(
        [r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]], -1
    )
    sine = torch.linalg.vector_norm(twice, dim=-1, keepdim=True) / 2
    cosine = (r.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) - 1) / 2
    return twice / 2 / torch.sinc(torch.atan2(sine, cosine) / math.pi)


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
