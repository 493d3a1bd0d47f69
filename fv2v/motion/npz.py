# SPDX-License-Identifier: Apache-2.0
"""Motion in files: what H and Δ estimate from a driving video, to store, edit and render later.

A `.npz` holds numpy arrays under these names, of T frames with K keypoints:

    rotation     (T, 3, 3)  R, acting on columns; x to the right, y down, z away from the viewer
    translation  (T, 3)     t, in units of the volume, which is 2 wide, high and deep
    expression   (T, K, 3)  δ, in the same units, before the scale
    scale        (T, 1)     s; 1 in all presets but LivePortrait's and PerformRecast's, which has (T, 3)
    jacobians    (T, K, 3, 3)  J, of presets without H, which have no pose; absent elsewhere
    eyes         (T, 2)     how far the left and the right eye are open, height over width; may be absent
    lips         (T, 1)     how far the lips are open, the same; may be absent
    pts          (T,)       time stamps, ticks
    time_base    (2,)       seconds a tick, as numerator and denominator
    rate         (2,)       frames a second on average, the same
    preset       ()         the name of the preset that the motion was estimated with
    keypoints    ()         K
    version      ()         of this layout

A `.pkl` is a motion template of LivePortrait (liveportrait_template.py). Neither holds sound.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from fv2v.geometry import POSED, Motion
from fv2v.io.arrays import read_arrays
from fv2v.io.limits import FRAMES, check_limit, reading
from fv2v.io.paths import PathLike, check_input, check_output, whole_file
from fv2v.io.timing import Timing
from fv2v.motion.coefficients import KEY
from fv2v.motion.liveportrait_template import SUFFIX, read_template, write_template
from fv2v.motion.sequence import RATIOS, MotionSequence, tensor

MOTION_SUFFIXES = (".npz", SUFFIX)
VERSION = 1
_JACOBIANS = "jacobians"
_REST = ("pts", "time_base", "rate", "preset", "keypoints", "version")


def read_motion(path: PathLike) -> MotionSequence:
    """Read a `.npz` that `fv2v extract` wrote, or a `.pkl` of LivePortrait.

    Nothing in a file is ever run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that cannot be read, or holds something else; the message says what.
    """
    path = check_input(path)
    if path.suffix.lower() not in MOTION_SUFFIXES:
        expected = ", ".join(MOTION_SUFFIXES)
        raise ValueError(f"{path}: expected motion, a file that ends in {expected}; got {path.suffix!r}")
    if path.suffix.lower() == SUFFIX:
        return read_template(path)
    unreadable = "no .npz file of motion, or a damaged one"
    with reading(path, unreadable):
        try:
            stored = read_arrays(path, (*POSED, _JACOBIANS, *RATIOS, *_REST))
        except ValueError as error:
            raise ValueError(f"{unreadable} ({error})") from error
        return _from_arrays({} if isinstance(stored, np.ndarray) else stored)


def write_motion(path: PathLike, sequence: MotionSequence) -> None:
    """Write a `.npz`, or a `.pkl` as a template of LivePortrait, whole or not at all.

    A template always says how far eyes and lips are open: where that is not known, as in a face at rest.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: another suffix, a folder that cannot be written to, or, for a `.pkl`, motion that is not
            LivePortrait's.
    """
    path = check_output(path, MOTION_SUFFIXES)
    if path.suffix.lower() == SUFFIX:
        write_template(path, sequence)
        return
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **_to_arrays(sequence))


def _from_arrays(stored: Mapping[str, np.ndarray | None]) -> MotionSequence:
    arrays = {name: values for name, values in stored.items() if values is not None}
    missing = [name for name in (*POSED, *_REST) if name not in arrays]
    if missing and KEY in stored:
        raise ValueError("expected motion, found SadTalker's coefficients: fv2v.read_coefficients reads them")
    if missing:
        raise ValueError(
            f"expected motion, with the arrays {', '.join((*POSED, *_REST))}; the file has no "
            f"{', '.join(missing)}"
        )
    version = _whole(arrays["version"], "version", 1)[0]
    if version != VERSION:
        raise ValueError(f"expected motion of version {VERSION}, got {version}: written by another fv2v")
    motion = Motion(**{name: tensor(arrays[name], name) for name in (*POSED, _JACOBIANS) if name in arrays})
    K = _whole(arrays["keypoints"], "keypoints", 1)[0]
    if motion.expression.dim() != 3 or motion.expression.shape[1] != K:
        raise ValueError(f"expected expression (T, {K}, 3), got {tuple(motion.expression.shape)}")
    pts = arrays["pts"]
    check_limit("frames of motion", pts.size, FRAMES)
    timing = Timing(
        tuple(_whole(pts, "pts", pts.size)), _fraction(arrays, "time_base"), _fraction(arrays, "rate")
    )
    ratios = {name: tensor(arrays[name], name) if name in arrays else None for name in RATIOS}
    return MotionSequence(motion, timing, str(arrays["preset"]), **ratios)


def _to_arrays(sequence: MotionSequence) -> dict[str, Any]:
    motion, timing = sequence.motion.to(torch.device("cpu"), torch.float32), sequence.timing
    arrays = {name: getattr(motion, name).numpy() for name in POSED}
    if motion.jacobians is not None:
        arrays[_JACOBIANS] = motion.jacobians.numpy()
    ratios = {name: getattr(sequence, name) for name in RATIOS}
    arrays |= {name: values.numpy() for name, values in ratios.items() if values is not None}
    return arrays | {
        "pts": np.array(timing.pts, np.int64),
        "time_base": np.array(timing.time_base.as_integer_ratio(), np.int64),
        "rate": np.array(timing.rate.as_integer_ratio(), np.int64),
        "preset": np.array(sequence.preset),
        "keypoints": np.array(sequence.motion.expression.shape[1]),
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
