# SPDX-License-Identifier: Apache-2.0
"""Faces whose place is known, in the positions in which detectors fail: drawn heads and the shipped painting.

And textures without a face, on which they should find none.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import clips
import cv2
import numpy as np
import torch

from fv2v.data.synthetic import LANDMARKS, Expression, Pose, SyntheticHeads, render, truth
from fv2v.face.detectors.base import FaceDetector

HEADS = SyntheticHeads(size=128, identities=64, seed=500_000_031)
OTHER_HEADS = SyntheticHeads(size=128, identities=64, seed=77)  # 0 and 5 have dark skin, 0 glasses
FRAME = (480, 640)  # rows and columns of a picture with one face
HEIGHT = 200  # pixels of a face in it, from mid-forehead to chin
WALL = (90, 110, 120)
NEAR = 0.3  # heights by which the centre may be off


class PosedFace(NamedTuple):
    """A picture with one face."""

    picture: np.ndarray  # (H, W, 3) uint8
    x: float  # of the middle between forehead and chin, in pixels
    y: float
    height: float  # between the two


@cache
def drawn(number: int, yaw: float = 0.0, size: int = 128, heads: SyntheticHeads = HEADS) -> PosedFace:
    """One of the heads, its face where the renderer has it."""
    identity, expression = heads.identity(number), Expression.neutral(1)
    pose = Pose.at(torch.zeros(1), torch.tensor([yaw]), torch.zeros(1))
    picture = (255 * render(identity, expression, pose, size)[0] + 0.5).to(torch.uint8)
    canonical, motion = truth(identity, expression, pose)
    points = (canonical @ motion.rotation.mT + motion.translation[:, None])[0, :, :2]
    pixels = ((points + 1) / 2 * size).double().numpy()
    forehead, chin = pixels[LANDMARKS.index("forehead")], pixels[LANDMARKS.index("chin")]
    x, y = (forehead + chin) / 2
    return PosedFace(picture.permute(1, 2, 0).numpy(), x, y, float(chin[1] - forehead[1]))


def painted() -> PosedFace:
    """The shipped painting's, read off by eye."""
    return PosedFace(clips.portrait(), 201, 184, 148)


def placed(
    face: PosedFace, roll: float = 0.0, height: float = HEIGHT, size: tuple[int, int] = FRAME
) -> PosedFace:
    """In the middle of a wall of `size`, so many pixels high, turned anticlockwise by degrees."""
    H, W = size
    matrix = cv2.getRotationMatrix2D((face.x, face.y), roll, height / face.height)
    matrix[:, 2] += np.array([W / 2 - face.x, H / 2 - face.y])
    how = cv2.INTER_AREA if height < face.height else cv2.INTER_CUBIC
    picture = cv2.warpAffine(face.picture, matrix, (W, H), flags=how, borderValue=WALL)
    return PosedFace(picture, W / 2, H / 2, height)


def covered(face: PosedFace, share: float = 0.45) -> PosedFace:
    """Its lower part behind a board of the wall's colour."""
    picture = face.picture.copy()
    top = round(face.y + (0.5 - share) * face.height)
    left, right = (round(face.x + side * face.height) for side in (-0.6, 0.6))
    picture[top : round(face.y + 0.8 * face.height), left:right] = WALL
    return face._replace(picture=picture)


def cut_off(face: PosedFace, share: float = 0.2) -> PosedFace:
    """The picture begins below so much of the face."""
    top = round(face.y - (0.5 - share) * face.height)
    return face._replace(picture=face.picture[top:], y=face.y - top)


def dimmed(face: PosedFace, light: float = 0.05) -> PosedFace:
    return face._replace(picture=np.rint(face.picture * light).astype(np.uint8))


UPRIGHT: dict[str, Callable[[PosedFace], Iterator[PosedFace]]] = {
    "as it is": lambda face: iter([placed(face)]),
    "roll -45 to 45°": lambda face: (placed(face, roll) for roll in (-45, -30, -15, 15, 30, 45)),
    "roll beyond, to 180°": lambda face: (placed(face, roll) for roll in (-120, -90, -60, 60, 90, 150, 180)),
    "100 to 200 px of 3840 x 2160": lambda face: (
        placed(face, height=height, size=(2160, 3840)) for height in (100, 150, 200)
    ),
    "lower 45 % covered": lambda face: iter([covered(placed(face))]),
    "forehead cut by 20 %": lambda face: iter([cut_off(placed(face))]),
    "light x 0.05": lambda face: iter([dimmed(placed(face))]),
}
YAWS = (-60, -40, 40, 60)  # degrees to which heads are drawn


def turned(number: int) -> Iterator[PosedFace]:
    return (placed(drawn(number, yaw)) for yaw in YAWS)


def is_found(detector: FaceDetector, face: PosedFace) -> bool:
    """Whether the first that is found, the largest, is about there."""
    faces = detector(face.picture)
    return bool(faces) and float(np.hypot(faces[0].x - face.x, faces[0].y - face.y)) < NEAR * face.height


def textures(count: int, size: int = 320) -> Iterator[np.ndarray]:
    """(size, size, 3) each: noise of five sizes of grain, discs, boxes, waves, and lines."""
    for number in range(count):
        rng = np.random.default_rng(number)
        colours = rng.integers(0, 256, (60, 3)).tolist()
        places = rng.integers(0, size, (60, 2)).tolist()
        sizes = rng.integers(4, size // 4, 60).tolist()
        picture = np.full((size, size, 3), colours[0], np.uint8)
        match number % 5:
            case 0:
                grain = size // int(2 ** rng.integers(0, 5))
                noise = rng.integers(0, 256, (grain, grain, 3), np.uint8)
                picture = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
            case 1:
                for colour, place, radius in zip(colours, places, sizes, strict=True):
                    cv2.circle(picture, place, radius, colour, -1 if radius % 3 else 3)
            case 2:
                for colour, (x, y), side in zip(colours, places, sizes, strict=True):
                    cv2.rectangle(picture, (x, y), (x + side, y + 2 * side // 3), colour, -1)
            case 3:
                y, x = np.mgrid[:size, :size]
                a, b = rng.uniform(0.02, 0.5, 2)
                picture[:] = (127 + 120 * np.sin(a * x + 3 * np.sin(b * y)))[..., None]
            case 4:
                for colour, start, end in zip(colours, places, places[1:] + places[:1], strict=True):
                    cv2.line(picture, start, end, colour, 1 + start[0] % 7)
        yield picture
