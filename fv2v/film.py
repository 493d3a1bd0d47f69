"""Motion in files: what H and Δ read in a driving video, to keep, to edit and to show again.

A `.npz` holds numpy arrays under these names, T frames of K keypoints, to be changed at will:

    rotation     (T, 3, 3)  R, acting on columns; x to the right, y down, z away from the viewer
    translation  (T, 3)     t, in units of the volume, which is 2 wide, high and deep
    expression   (T, K, 3)  δ, in the same units, before the scale
    scale        (T, 1)     s; 1 in all presets but LivePortrait's
    eyes         (T, 2)     how far the left and the right eye are open, height over width; may be absent
    lips         (T, 1)     how far the lips are, alike; may be absent
    pts          (T,)       time stamps, ticks
    time_base    (2,)       seconds a tick, as numerator and denominator
    rate         (2,)       frames a second on average, alike
    preset       ()         the name of the preset that gave the numbers their meaning
    keypoints    ()         K
    version      ()         of this layout

A `.pkl` is a motion template of LivePortrait (templates.py). Sound is in neither.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fv2v.coefficients import KEY
from fv2v.config import PRESETS, ModelConfig
from fv2v.geometry import Motion, check_motion
from fv2v.paths import PathLike, check_input, check_output, whole_file
from fv2v.timing import Timing

MOTION_SUFFIXES = (".npz", ".pkl")
VERSION = 1
SKEW = 0.05  # how far R Rᵀ may be from the identity: averages of rotations are not quite rotations
_MOTION = tuple(field.name for field in fields(Motion))
_RATIOS = {"eyes": 2, "lips": 1}  # and how many numbers a frame has of each
_REST = ("pts", "time_base", "rate", "preset", "keypoints", "version")


@dataclass(frozen=True, slots=True)
class Film:
    """Motion of T frames, and when they are shown: all that a driving video contributes but its sound.

    Raises:
        ValueError: sizes that do not fit, NaN or infinite numbers, scales that are not positive, rotations
            that are none; it names which.
    """

    motion: Motion  # of T frames, float32 on the CPU
    timing: Timing  # of T frames
    preset: str  # the name of the preset whose H and Δ read it, or whose it is to be
    eyes: Tensor | None = None  # (T, 2) how far the left and the right eye are open, height over width
    lips: Tensor | None = None  # (T, 1) how far the lips are

    def __post_init__(self) -> None:
        check_motion(self.motion, self.motion.expression.shape[1], "film", scaled=True)
        T = len(self.motion)
        if len(self.timing.pts) != T:
            raise ValueError(f"expected a time stamp for each of {T} frames, got {len(self.timing.pts)}")
        for name, width in _RATIOS.items():
            ratios = getattr(self, name)
            if ratios is not None and ratios.shape != (T, width):
                raise ValueError(f"expected {name} {(T, width)}, got {tuple(ratios.shape)}")
            if ratios is not None and not ratios.isfinite().all():
                raise ValueError(f"{name} hold NaN or infinite numbers")
        R = self.motion.rotation
        skew = (R @ R.mT - torch.eye(3)).abs().amax(dim=(1, 2))
        skewed = (skew > SKEW) | (torch.linalg.det(R) < 0)
        if skewed.any():
            raise ValueError(
                f"expected rotations, got at frame {int(skewed.int().argmax())} a matrix that is none"
            )

    def __len__(self) -> int:
        return len(self.motion)


def read_motion(path: PathLike) -> Film:
    """A film of motion from a `.npz` that `fv2v extract` wrote, or a `.pkl` of LivePortrait.

    Nothing in a file is ever run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that cannot be read, or holds something else; it says what.
    """
    path = _known(check_input(path))
    if path.suffix.lower() == ".pkl":
        from fv2v.templates import read_template  # it imports this

        return read_template(path)
    try:
        with path.open("rb") as file:
            stored = np.load(file)  # never with allow_pickle
            arrays = {} if isinstance(stored, np.ndarray) else dict(stored)
    except Exception as error:  # damaged and foreign bytes make numpy raise nearly anything
        # not numpy's own words: they tell to switch the safety off
        raise ValueError(f"{path}: no .npz file of motion, or a damaged one") from error
    with told_of(path):
        return _from_arrays(arrays)


def write_motion(path: PathLike, film: Film) -> None:
    """Write a film to a `.npz`, or as a template of LivePortrait to a `.pkl`; whole or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: another suffix, a folder that cannot be written to, or a film that is no LivePortrait's
            for a `.pkl`.
    """
    path = check_output(path, MOTION_SUFFIXES)
    if path.suffix.lower() == ".pkl":
        from fv2v.templates import write_template  # it imports this

        write_template(path, film)
        return
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **_to_arrays(film))


def check_fits(film: Film, config: ModelConfig) -> None:
    """Whether a film's numbers mean something to a preset: its own, or one with its keypoints and geometry.

    Raises:
        ValueError: they do not; it names both.
    """
    meant = PRESETS.get(film.preset, config if film.preset == config.name else None)
    K = film.motion.expression.shape[1]
    alike = meant is not None and _meaning(meant) == _meaning(config)
    if not alike or config.keypoints != K:
        raise ValueError(
            f"motion of {film.preset!r} with {K} keypoints cannot move {config.name!r}, which has "
            f"{config.keypoints}: expected weights of the preset that the motion is of"
        )


def tensor(values: Any, name: str) -> Tensor:
    """Numbers from a file as float32; those too large for it become infinite, and are refused as such."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"expected numbers for {name}, got an array of {array.dtype}")
    with np.errstate(over="ignore"):
        return torch.from_numpy(array.astype(np.float32, order="C"))


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Errors about what a file holds begin with its name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _known(path: Path) -> Path:
    if path.suffix.lower() not in MOTION_SUFFIXES:
        expected = ", ".join(MOTION_SUFFIXES)
        raise ValueError(f"{path}: expected motion, a file that ends in {expected}; got {path.suffix!r}")
    return path


def _meaning(config: ModelConfig) -> tuple[object, ...]:
    return config.geometry, config.keypoints, config.head.scale


def _from_arrays(arrays: Mapping[str, np.ndarray]) -> Film:
    missing = [name for name in (*_MOTION, *_REST) if name not in arrays]
    if missing and KEY in arrays:
        raise ValueError("expected motion, found SadTalker's coefficients: fv2v.read_coefficients reads them")
    if missing:
        raise ValueError(
            f"expected motion, with the arrays {', '.join((*_MOTION, *_REST))}; the file has no "
            f"{', '.join(missing)}"
        )
    version = _whole(arrays["version"], "version", 1)[0]
    if version != VERSION:
        raise ValueError(f"expected motion of version {VERSION}, got {version}: written by another fv2v")
    motion = Motion(*(tensor(arrays[name], name) for name in _MOTION))
    K = _whole(arrays["keypoints"], "keypoints", 1)[0]
    if motion.expression.dim() != 3 or motion.expression.shape[1] != K:
        raise ValueError(f"expected expression (T, {K}, 3), got {tuple(motion.expression.shape)}")
    pts = arrays["pts"]
    timing = Timing(
        tuple(_whole(pts, "pts", pts.size)), _fraction(arrays, "time_base"), _fraction(arrays, "rate")
    )
    ratios = {name: tensor(arrays[name], name) if name in arrays else None for name in _RATIOS}
    return Film(motion, timing, str(arrays["preset"]), **ratios)


def _to_arrays(film: Film) -> dict[str, Any]:
    arrays = {name: getattr(film.motion, name).numpy() for name in _MOTION}
    arrays |= {name: getattr(film, name).numpy() for name in _RATIOS if getattr(film, name) is not None}
    timing = film.timing
    return arrays | {
        "pts": np.array(timing.pts, np.int64),
        "time_base": np.array(timing.time_base.as_integer_ratio(), np.int64),
        "rate": np.array(timing.rate.as_integer_ratio(), np.int64),
        "preset": np.array(film.preset),
        "keypoints": np.array(film.motion.expression.shape[1]),
        "version": np.array(VERSION),
    }


def _fraction(arrays: Mapping[str, np.ndarray], name: str) -> Fraction:
    numerator, denominator = _whole(arrays[name], name, 2)
    if denominator <= 0:
        raise ValueError(f"expected {name} as numerator and denominator, got {numerator} and {denominator}")
    return Fraction(numerator, denominator)


def _whole(values: np.ndarray, name: str, count: int) -> list[int]:
    if values.dtype.kind not in "iu" or values.size != count:
        raise ValueError(f"expected {count} whole numbers for {name}, got {values.shape} of {values.dtype}")
    numbers: list[int] = values.ravel().tolist()
    return numbers
