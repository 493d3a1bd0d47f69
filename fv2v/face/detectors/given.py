# SPDX-License-Identifier: Apache-2.0
"""Faces given by the user in place of a detector: boxes or landmarks, in an array or a file.

A box is (left, top, right, bottom) in pixels, around a face from the forehead to the chin, as face detectors
give it. Landmarks are n points (x, y) in pixels, one of the sets of landmarks.py. Either is given once for
all frames (T = 1 too), or once for each frame:

    (4,)       a box for all frames            (n, 2)     landmarks for all frames
    (T, 4)     a box a frame                   (T, n, 2)  landmarks a frame
                                               (T, 2n)    the same, as x, y, x, y, ...

A frame whose numbers are all NaN (in .csv empty cells, in .json null) has no face.
"""

import csv
import json
from array import array
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fv2v.face.crop import WIDE
from fv2v.face.detectors.base import Face
from fv2v.face.landmarks import (
    DRIVING_SCALE,
    DRIVING_VY,
    EYES_AND_LIP,
    Square,
    eye_ratios,
    lip_ratio,
    square_around,
    upright_square,
)
from fv2v.io.arrays import read_arrays
from fv2v.io.limits import ARRAY, FRAMES, TEXT, check_bytes, check_limit, reading
from fv2v.io.paths import PathLike, check_input

UNREADABLE = "cannot be read as numbers"
NUMBERS = ARRAY // 8  # float64
FARTHEST = 1 << 20  # pixels from the picture's corner
LARGEST = 4096  # pixels of a face's side, or half as much again as the picture's: more is an error
FORMATS = "(4,) or (T, 4) boxes, (n, 2), (T, n, 2) or (T, 2n) landmarks"


class GivenFaces:
    """A `FaceDetector` that returns the given face of each frame and ignores the picture.

    By landmarks a portrait's crop is rotated upright, a driving video's is not, since a tilt of the head is
    motion: `square` is the one that LivePortrait's release crops it to.

    Args:
        faces: an array in one of the forms above.
        name: what errors call it.

    Attributes:
        frames: how many were given; None: one for all frames.
        marked: whether landmarks were given; else boxes.

    Raises:
        ValueError: another shape, infinite numbers, a frame of which some numbers are NaN, a box without
            width or height, wrong landmarks (see `landmarks.square_around`), or no face at all.
    """

    def __init__(self, faces: Any, name: str = "faces") -> None:
        self._name = name
        self._rows = _rows(faces, name)
        self.marked = self._rows.ndim == 3
        self.frames = len(self._rows) if len(self._rows) > 1 else None
        flat = self._rows.reshape(len(self._rows), -1)
        absent = np.isnan(flat).all(axis=1)
        broken = ~absent & ~(np.abs(flat) <= FARTHEST).all(axis=1)
        if broken.any():
            raise ValueError(
                f"{name}: expected finite pixels, or a whole frame of NaN, up to {FARTHEST}; "
                f"got {self._rows[broken.argmax()]}"
            )
        rows = zip(self._rows, absent.tolist(), strict=True)
        self._faces = [None if nothing else self._face(row) for row, nothing in rows]
        if not any(self._faces):
            raise ValueError(f"{name}: expected a face in some frame, got none")

    def __call__(self, image: np.ndarray, frame: int = 0, near: Face | None = None) -> list[Face]:
        """The face of that frame; `near` is ignored.

        ValueError for a frame beyond those given, and for a face that is not in the picture.
        """
        face = self._faces[self._index(frame)]
        if face is None:
            return []
        H, W = image.shape[:2]
        reach = face.side / 2
        inside = -reach < face.x < W + reach and -reach < face.y < H + reach
        if not (inside and 1 <= face.side <= max(LARGEST, 1.5 * max(H, W))):
            raise ValueError(
                f"{self._name}: frame {frame}: expected a face in the picture of {W} x {H} pixels, got one "
                f"{face.side:g} pixels wide around ({face.x:g}, {face.y:g})"
            )
        return [face]

    def landmarks(self, image: np.ndarray, face: Face, frame: int = 0) -> np.ndarray:
        """(n, 2), of that frame: a `LandmarkDetector`. ValueError where there are none."""
        row = self._rows[self._index(frame)]
        if not self.marked or np.isnan(row).all():
            raise ValueError(f"{self._name}: no landmarks for frame {frame}")
        return row

    def latest(self, frame: int) -> np.ndarray:
        """(n, 2): the landmarks of that frame, or else of the last one before it, or of the first."""
        known = [number for number, face in enumerate(self._faces) if face is not None]
        before = int(np.searchsorted(known, self._index(frame), side="right")) - 1
        return self._rows[known[max(before, 0)]]

    def square(
        self, frames: int | None = None, scale: float = DRIVING_SCALE, vy: float = DRIVING_VY
    ) -> Square | None:
        """The mean of the squares around the landmarks of a video's first `frames` frames; None for boxes."""
        rows = self._rows[:frames]
        return upright_square(rows[~np.isnan(rows).all(axis=(1, 2))], scale, vy) if self.marked else None

    def scaled(self, factor: float) -> "GivenFaces":
        """The same faces in pictures that are so much larger."""
        return GivenFaces(self._rows * factor, self._name)

    def openness(self, frames: int) -> np.ndarray | None:
        """(frames, 3): how far left eye, right eye and lips are open in each frame, height over width.

        None unless the landmarks are the set of 203. A frame without a face has the ratios of the last one
        before it, or of the first.
        """
        if not self.marked or self._rows.shape[1] != 203:
            return None
        known = [i for i, face in enumerate(self._faces) if face is not None]
        ratios = np.array([(*eye_ratios(self._rows[i]), lip_ratio(self._rows[i])) for i in known])
        before = np.searchsorted(known, [self._index(i) for i in range(frames)], side="right") - 1
        return ratios[before.clip(0)]

    def _index(self, frame: int) -> int:
        if self.frames is None:
            return 0
        if frame >= self.frames:
            raise ValueError(
                f"{self._name}: expected a face for each frame of the video, or one for all; "
                f"got {self.frames}, and the video has more frames"
            )
        return frame

    def _face(self, row: np.ndarray) -> Face:
        """From a box (4,) or landmarks (n, 2)."""
        if not self.marked:
            left, top, right, bottom = map(float, row)
            if not (left < right and top < bottom):
                raise ValueError(f"{self._name}: expected a box as left, top, right, bottom; got {row}")
            return Face((left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top))
        square = square_around(row, DRIVING_SCALE, DRIVING_VY)
        return Face(*square.centre, square.side / WIDE)  # `box_around` widens it again


def read_faces(path: PathLike) -> GivenFaces:
    """The faces in a file, in one of the forms of this module.

    Args:
        path: .npy; .npz of one array; .json, nested lists; or .csv, a frame a row (four columns are a box,
            more are landmarks as x, y, x, y, ...) or, of two columns, a point a row. A row of names may come
            first.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, one that is damaged, or larger than `limits`; or as `GivenFaces`.
    """
    path = check_input(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path}: expected faces in {', '.join(READERS)}, got {path.suffix!r}")
    with reading(path, UNREADABLE):
        try:
            faces = reader(path)
        except ValueError as error:
            raise ValueError(f"{UNREADABLE} ({error})") from None
        return GivenFaces(faces, str(path))


def _rows(faces: Any, name: str) -> np.ndarray:
    """(T, 4) or (T, n, 2) in float64."""
    try:
        given = np.asarray(faces)
        check_limit("numbers of faces", given.size, NUMBERS)
        numbers = np.asarray(given, np.float64)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise ValueError(f"{name}: expected numbers, at most {NUMBERS}, {FORMATS}") from None
    match numbers.shape:
        case (4,) | (_, 2):
            rows = numbers[None]
        case (_, 4) | (_, _, 2):
            rows = numbers
        case (_, width) if width % 2 == 0 and (width // 2 in EYES_AND_LIP or width > 202):
            rows = numbers.reshape(len(numbers), -1, 2)
        case _:
            raise ValueError(f"{name}: expected {FORMATS}, got {numbers.shape}")
    check_limit(f"frames in {name}", len(rows), FRAMES)
    return rows


def _read_csv(path: Path) -> np.ndarray:
    check_bytes(path, TEXT, "bytes of .csv, larger ones as .npy")
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = (line for line in csv.reader(file, strict=True) if line)
        first = next(lines, [])
        if not any(map(_is_number, first)) and any(map(str.strip, first)):  # names
            first = next(lines, [])
        numbers = array("d")  # as it is read, since a list takes five times the memory
        for line in chain([first], lines):
            if len(line) != len(first):
                break
            numbers.extend([float(cell) if cell.strip() else np.nan for cell in line])
        else:
            if first:
                return np.array(numbers).reshape(-1, len(first))
    raise ValueError("expected rows of one length, at least one")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_json(path: Path) -> np.ndarray:
    check_bytes(path, TEXT, "bytes of .json, larger ones as .npy")
    faces = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(faces, list):
        raise ValueError("expected a list")
    known = next((np.asarray(face, np.float64) for face in faces if face is not None), np.zeros(()))
    check_limit("numbers of faces", len(faces) * max(1, known.size), NUMBERS)
    nothing = np.full(known.shape, np.nan).tolist()
    return np.array([nothing if face is None else face for face in faces], np.float64)


def _read_npz(path: Path) -> np.ndarray:
    arrays = read_arrays(path, ())
    names = list(arrays) if isinstance(arrays, dict) else []
    if len(names) != 1:
        raise ValueError(f"expected one array, got {', '.join(names) or 'none'}")
    return _only(read_arrays(path))


def _only(arrays: np.ndarray | dict[str, np.ndarray | None]) -> np.ndarray:
    """The array of a `.npy`; of a `.npz` the only one."""
    if isinstance(arrays, dict):
        [found] = arrays.values()
        return found if found is not None else np.zeros(0)
    return arrays


def _read_npy(path: Path) -> np.ndarray:
    return _only(read_arrays(path))


READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _read_csv,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".json": _read_json,
}
