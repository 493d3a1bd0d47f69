# SPDX-License-Identifier: Apache-2.0
"""SadTalker's driving: 3DMM coefficients of a face, frame by frame, in place of a driving picture.

A frame is a row of numbers: 64 of expression, 3 of rotation, 3 of translation, and, for the weights that
render whole pictures ("full"), 3 more for where the face was cropped from its picture: 70 or 73. H and Δ
read a window of rows around each frame. Sequences are (T, n) float32 arrays. The functions here do what the
release (OpenTalker/SadTalker) does before its renderer.
"""

import itertools
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from fv2v.config import HeadConfig, ModelConfig
from fv2v.geometry import View
from fv2v.io.arrays import read_arrays
from fv2v.io.limits import FRAMES, check_limit, reading
from fv2v.io.paths import PathLike, check_input
from fv2v.motion.mat import read_mat

EXPRESSION, FACE, WITH_CROP = 64, 70, 73  # columns of the expression; of the face; with the crop
COEFFICIENT_SUFFIXES = (".npy", ".npz", ".mat")
KEY = "coeff_3dmm"  # the array's name in the release's files


def windows(coefficients: np.ndarray, length: int) -> np.ndarray:
    """What H and Δ read for each frame: (T, n) -> (T, n, length), a read-only view of a padded copy.

    The window of frame i has it in the middle; before the first frame the first is repeated, after the last
    the last. `length` is odd: 27, `HeadConfig.window`, sees frames i − 13 … i + 13.
    """
    reach = length // 2
    padded = np.pad(coefficients, ((reach, reach), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, length, axis=0)


def driving_windows(coefficients: Any, head: HeadConfig) -> np.ndarray:
    """The windows of a sequence that `head` reads; the sequence is checked as by `check_coefficients`."""
    sequence = check_coefficients(coefficients, (head.inputs,), "driving coefficients")
    return windows(sequence, head.window)


def source_windows(coefficients: Any, config: ModelConfig, portraits: int) -> np.ndarray | None:
    """(portraits, n, length): each portrait's row, repeated. None for a preset that reads pictures alone.

    Raises:
        ValueError: rows that are missing, or not for this preset, or as `check_coefficients`.
    """
    if config.driven_by == "pictures":
        if coefficients is not None:
            raise ValueError(
                f"{config.name!r} reads pictures alone: expected no coefficients of the portrait"
            )
        return None
    if coefficients is None:
        raise ValueError(
            f"{config.name!r} reads a portrait's 3DMM coefficients beside its picture: expected "
            f"encode(portrait, coefficients=row), a row of {config.head.inputs}; got none"
        )
    rows = check_rows(coefficients, (config.head.inputs,), portraits)
    return np.repeat(rows[:, :, None], config.head.window, axis=2)


def driving_coefficients(
    driving: Any, source: Any, *, expression_scale: float = 1.0, still: bool = False
) -> np.ndarray:
    """A driver's coefficients, made ready to drive a source: (T, 70), or (T, 73) where the source has 73.

    Args:
        driving: (T, 70), or (T, 73), whose last three, the crop's, are not used.
        source: (70,) or (73,), of the portrait that is moved. Its last three, the crop's, go to every frame.
        expression_scale: factor of the driver's expression; 1 leaves it as it is.
        still: keep the source's pose: all but the expression is the source's.

    Raises:
        ValueError: sizes that do not fit, NaN or infinite numbers, no frames.
    """
    driver = check_coefficients(driving, (FACE, WITH_CROP), "driving coefficients")
    own = check_rows(source, (FACE, WITH_CROP), 1)[0]
    if not np.isfinite(expression_scale):
        raise ValueError(f"expected a finite expression_scale, got {expression_scale}")
    rest = own[EXPRESSION:FACE] if still else driver[:, EXPRESSION:FACE]
    crop = own[FACE:]
    frames = len(driver)
    return np.concatenate(
        [
            driver[:, :EXPRESSION] * np.float32(expression_scale),
            np.broadcast_to(rest, (frames, FACE - EXPRESSION)),
            np.broadcast_to(crop, (frames, len(crop))),
        ],
        axis=1,
    )


def walk(degrees: float | Sequence[float], frames: int) -> np.ndarray:
    """Angles changing at constant speed over a video, (frames,), in the release's own sequence; one stays.

    With Δ the sum of all changes, a frame takes Δ / (frames − 1) degrees. Each leg starts anew at its angle
    and ends before the next one's; frames that are left over repeat the last, which is never quite reached:
    (-30, 0, 30) over 5 frames is -30, -15, 0, 15, 15. A repeated angle takes no time; the release divides
    by 0 there, as it does for a single frame.

    Raises:
        ValueError: no angles or frames, NaN or infinite numbers.
    """
    stops = np.atleast_1d(np.asarray(degrees, np.float64))
    if stops.ndim != 1 or stops.size == 0 or not np.isfinite(stops).all():
        raise ValueError(f"expected an angle in degrees, or a list of them to walk through; got {degrees!r}")
    if frames < 1:
        raise ValueError(f"expected at least 1 frame to walk over, got {frames}")
    legs = [(start, end) for start, end in itertools.pairwise(stops.tolist()) if start != end]
    step = sum(abs(end - start) for start, end in legs) / max(frames - 1, 1)
    # in the release's order of operations: the last bit decides how many angles a leg has
    angles = [np.arange(start, end, step * abs(end - start) / (end - start)) for start, end in legs]
    walked = np.concatenate(angles or [stops[:1]])[:frames]
    return np.pad(walked, (0, frames - len(walked)), mode="edge")


def pose_views(
    frames: int,
    *,
    pitch: float | Sequence[float] | None = None,
    yaw: float | Sequence[float] | None = None,
    roll: float | Sequence[float] | None = None,
) -> list[View] | None:
    """The pose override: a `View` a frame that sets the given angles, each by `walk`.

    Angles left out stay the driver's; None where all are. ValueError as `walk`.
    """
    given = (pitch, yaw, roll)
    if all(degrees is None for degrees in given):
        return None
    walked = [[None] * frames if each is None else walk(each, frames).tolist() for each in given]
    return [View(p, y, r, mode="replace") for p, y, r in zip(*walked, strict=True)]


def read_coefficients(path: PathLike) -> np.ndarray:
    """The sequence in a file, (T, 70 or 73): of a driver, or of a portrait, of which the first row is used.

    `.npy` holds the array alone (one row may be (70,)); `.npz` and `.mat` hold it under `coeff_3dmm`, as
    SadTalker writes it. Nothing in a file is ever run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that cannot be read, or holds something else; the message says what.
    """
    path = check_input(path)
    suffix = path.suffix.lower()
    if suffix not in COEFFICIENT_SUFFIXES:
        raise ValueError(f"{path}: expected a file that ends in .npy, .npz or .mat, got {path.suffix!r}")
    unreadable = f"no {suffix} file of numbers, or a damaged one"
    with reading(path, unreadable):
        try:
            stored = read_mat(path, KEY) if suffix == ".mat" else read_arrays(path, (KEY,))
        except ValueError as error:
            raise ValueError(f"{unreadable} ({error})") from error
        if isinstance(stored, dict):
            found = stored.get(KEY)
            if found is None:
                held = ", ".join(name for name in stored if not name.startswith("__"))
                raise ValueError(f"expected the array {KEY!r} in it; the file holds {held or 'nothing'}")
            stored = found
        rows = stored[None] if stored.ndim == 1 else stored
        if rows.ndim:
            check_limit("frames of coefficients", len(rows), FRAMES)
        return check_coefficients(rows, (FACE, WITH_CROP), str(path))


def holds_coefficients(path: PathLike) -> bool:
    """Whether a file holds what `read_coefficients` reads; a `.npz` may hold motion instead."""
    path = check_input(path)
    if path.suffix.lower() != ".npz":
        return path.suffix.lower() in COEFFICIENT_SUFFIXES
    try:
        with reading(path, "damaged"):
            arrays = read_arrays(path, ())
            return isinstance(arrays, dict) and KEY in arrays
    except ValueError:  # reading it will raise
        return False


def check_coefficients(given: Any, widths: Collection[int], name: str) -> np.ndarray:
    """A user's sequence, (T, n) with n one of `widths`, as float32 on the CPU.

    Raises:
        ValueError: no numbers, another shape, no frames, NaN or infinite numbers. It begins with `name`.
    """
    values = given.detach().cpu().float().numpy() if isinstance(given, Tensor) else np.asarray(given)
    expected = " or ".join(f"(T, {width})" for width in widths)
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected coefficients, an array {expected}; got {type(given).__name__}")
    if values.ndim != 2 or values.shape[1] not in widths:
        raise ValueError(
            f"{name}: expected coefficients {expected}, got {values.shape}{_advice(values, widths)}"
        )
    if len(values) == 0:
        raise ValueError(f"{name}: expected coefficients {expected} of at least one frame, got none")
    with np.errstate(over="ignore"):  # numbers too large for float32 become infinite, and are refused below
        values = values.astype(np.float32)
    broken = ~np.isfinite(values).all(axis=1)
    if broken.any():
        raise ValueError(f"{name}: frame {broken.argmax()} holds NaN or infinite numbers")
    return values


def check_rows(given: Any, widths: Collection[int], portraits: int) -> np.ndarray:
    """Portraits' own coefficients, one row each; a single row may be (n,). Errors as `check_coefficients`."""
    rows = given[None] if getattr(given, "ndim", None) == 1 else given
    rows = check_coefficients(rows, widths, "source coefficients")
    if len(rows) != portraits:
        raise ValueError(f"source coefficients: expected a row a portrait, {portraits}; got {len(rows)}")
    return rows


def _advice(values: np.ndarray, widths: Collection[int]) -> str:
    width = values.shape[-1] if values.ndim == 2 else None
    if width == FACE and WITH_CROP in widths:
        return (
            f": these weights read the crop's three too; driving_coefficients(driving, source) takes them "
            f"from a source's {WITH_CROP}"
        )
    if width == WITH_CROP and FACE in widths:
        return f": these weights read no crop; give the first {FACE} columns"
    return ""
