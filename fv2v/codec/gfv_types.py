# SPDX-License-Identifier: Apache-2.0
"""What the messages of generative face video hold (gfv.py)."""

from dataclasses import dataclass, field

import numpy as np

GFV, GFVE = 223, 224  # payload types
AFFINE, COVARIANCE, MOUTH, EYES, ROTATION, TRANSLATION, LOCATION, FEATURE = range(8)  # types of matrices
CHROMA_KEY = (50, 220, 100, 48, 75)  # where a message states none: three values, two thresholds
MOST = 1 << 10  # keypoints, matrices, rows, columns
ELEMENTS = 1 << 16  # of all matrices of a message


@dataclass(slots=True)
class Network:
    """A generator that the sender names (uri), or sends (data)."""

    tag: str = ""
    uri: str | None = None
    data: bytes = b""


@dataclass(slots=True)
class Coordinates:
    values: np.ndarray  # (K, 2 or 3)
    precision: int = 8  # bits after the point
    predicted: bool = False
    z_max: int = 1


@dataclass(slots=True)
class Matrices:
    """Of one type; GFVE has no types, and all of its matrices have number 1."""

    values: np.ndarray  # (n, height, width)
    kind: int = FEATURE


@dataclass(slots=True)
class Message:
    """GFV: what drives one picture."""

    number: int = 0  # gfv_cnt
    id: int = 0
    base: bool = False  # it describes the decoded picture itself, which the others are made from
    network: Network | None = None  # of a base
    chroma_key: tuple[int, int, int, int, int] | None = None  # of a base
    fusion: bool = False  # of others: drive_picture_fusion_flag
    low_confidence: bool = False
    coordinates: Coordinates | None = None
    matrices: list[Matrices] = field(default_factory=list)
    matrix_precision: int = 8
    matrices_predicted: bool = False


@dataclass(slots=True)
class Enhancement:
    """GFVE: what sharpens one picture."""

    number: int = 0  # gefv_gfv_cnt
    id: int = 0
    gfv_id: int = 0
    base: bool = False
    network: Network | None = None
    matrices: list[Matrices] = field(default_factory=list)
    matrix_precision: int = 8
    matrices_predicted: bool = False
    pupils: tuple[np.ndarray | None, np.ndarray | None] = (None, None)  # (2,) each, left and right
    pupil_precision: int = 8
