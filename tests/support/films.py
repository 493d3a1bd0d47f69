# SPDX-License-Identifier: Apache-2.0
"""Films with faces at known places: the painting and drawn heads, laid over a wall."""

from collections.abc import Callable
from functools import cache

import clips
import cv2
import numpy as np
import torch

from fv2v.data.synthetic import Expression, Pose, SyntheticHeads, render
from fv2v.face.crop import box_around
from fv2v.face.tracking import FaceTracker

SIZE = (360, 640)  # rows and columns
WALL = (90, 110, 120)
HEADS = SyntheticHeads(size=128, identities=64, seed=500_000_024)
SEATS = {"left": (170, 180), "right": (480, 180)}  # (x, y) of the face


@cache
def person(name: str) -> np.ndarray:
    """(256, 256, 3): "painting", or the number of a drawn head; the face in the middle, half as wide."""
    if name == "painting":
        return clips.crop_face(clips.portrait(), 256)
    identity = HEADS.identity(int(name))
    picture = render(identity, Expression.neutral(1), Pose.at(*torch.zeros(3, 1)), 256)
    return (255 * picture[0] + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()


def wall() -> np.ndarray:
    return np.full((*SIZE, 3), WALL, np.uint8)


def seat(frame: np.ndarray, name: str, at: tuple[float, float], side: int = 240) -> None:
    """Lays a person's picture, `side` pixels square about (x, y), over a frame, as far as it lies inside."""
    scale = side / 256
    x, y = (float(centre) - side / 2 for centre in at)
    there = np.array([[scale, 0, x], [0, scale, y]])
    H, W = frame.shape[:2]
    inside = cv2.warpAffine(np.ones((256, 256), np.uint8), there, (W, H), flags=cv2.INTER_NEAREST) > 0
    frame[inside] = cv2.warpAffine(person(name), there, (W, H), flags=cv2.INTER_AREA)[inside]


def hand(frame: np.ndarray, at: tuple[float, float], side: int = 240) -> None:
    """Covers the face of a person who sits there."""
    centre = (round(at[0]), round(at[1]))
    cv2.ellipse(frame, centre, (side * 3 // 10, side * 4 // 10), 15, 0, 360, (176, 132, 104), -1)


def film(frames: int, draw: Callable[[np.ndarray, int], None]) -> list[np.ndarray]:
    """`draw` puts what is seen in frame i over the wall."""
    made = [wall() for _ in range(frames)]
    for i, frame in enumerate(made):
        draw(frame, i)
    return made


def sway(i: int, reach: float = 4.0) -> float:
    return reach * float(np.sin(i / 5))


def followed(tracker: FaceTracker, frames: list[np.ndarray]) -> tuple[np.ndarray, list[bool]]:
    """(T, 3): x, y and side of the square in each frame, and whether the face is visible."""
    squares, visible = [], []
    for frame in frames:
        box = box_around(tracker.update(frame), frame.shape[:2])
        squares.append((box.left + box.side / 2, box.top + box.side / 2, box.side))
        visible.append(tracker.visible)
    return np.array(squares), visible


def apart(squares: np.ndarray, at: tuple[float, float]) -> float:
    """How far squares are from a place at most, in their sides."""
    return float((np.abs(squares[:, :2] - at).max(axis=1) / squares[:, 2]).max())
