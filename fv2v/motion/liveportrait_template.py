# SPDX-License-Identifier: Apache-2.0
"""LivePortrait's motion templates, `.pkl`, which audio-driven generators of its family write as well.

A template is a pickle of plain values: `n_frames`, `output_fps`, and `motion`, a dict for each frame with

    R      (1, 3, 3)   the transpose of R here, since the release multiplies rows (older files: `R_d`)
    t      (1, 3)
    exp    (1, 21, 3)  δ
    scale  (1, 1)

beside them `c_eyes_lst` and `c_lip_lst` (older files: `c_d_eyes_lst`, `c_d_lip_lst`), how far eyes and lips
are open, (1, 2) and (1, 1) a frame; some files have none, which the release's own scripts refuse. The
driver's own keypoints, which newer files hold too, are of no use for another face and are not kept. Frames
come at a constant rate.
"""

import pickle
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fv2v.config import ModelConfig
from fv2v.geometry import Motion
from fv2v.geometry.liveportrait import EYES_OPEN, LIPS_CLOSED
from fv2v.io.limits import FRAMES, PICKLE, LimitError, check_bytes, check_limit, reading
from fv2v.io.paths import whole_file
from fv2v.io.restricted_pickle import RefusedError, numbers, read_plain
from fv2v.io.timing import Timing
from fv2v.motion.sequence import MotionSequence, tensor
from fv2v.presets import LIVEPORTRAIT

SUFFIX = ".pkl"
RATE = 25  # frames a second, where a template does not state it
PROTOCOL = 4  # of pickle, as in the release's own files
_KEYPOINTS = LIVEPORTRAIT.keypoints
MOST = 1000  # numbers in one place: a frame has 63 at most
_GEOMETRY = LIVEPORTRAIT.geometry, _KEYPOINTS
_SHAPES = {"R": (3, 3), "t": (3,), "exp": (_KEYPOINTS, 3), "scale": (1,)}  # of one frame
# each by its key in newer files, and in older ones
_EYES, _LIPS = ("c_eyes_lst", "c_d_eyes_lst"), ("c_lip_lst", "c_d_lip_lst")


def read_template(path: Path) -> MotionSequence:
    """Read a template; nothing in it is run.

    Raises:
        ValueError: no template, a damaged one, or one with more than plain values; numbers that are missing,
            of another K, NaN or infinite. The message begins with the path.
    """
    with reading(path, "no motion template of LivePortrait, or a damaged one"):
        check_bytes(path, PICKLE, "bytes of a template")
        try:
            stored = read_plain(path.read_bytes())
        except RefusedError as error:
            raise ValueError(f"refused, nothing in it was run: {error}") from None
        except LimitError:
            raise
        except ValueError as error:
            raise ValueError(f"expected a motion template of LivePortrait, found {error}") from None
        return _sequence(stored)


def check_template(path: Path, config: ModelConfig) -> None:
    """Check that a preset's motion can be written to that path: only LivePortrait's fits a template.

    Raises:
        ValueError: it cannot.
    """
    if path.suffix.lower() == SUFFIX and (config.geometry, config.keypoints) != _GEOMETRY:
        raise ValueError(
            f"{path}: templates hold LivePortrait's motion, this is {config.name!r}'s; expected a name that "
            "ends in .npz"
        )


def write_template(path: Path, sequence: MotionSequence) -> None:
    """Write a template that drives the release's own scripts, of every version.

    Uneven time stamps are replaced by the average rate, ratios that are not known by those of a face at rest.

    Raises:
        ValueError: a number of keypoints other than LivePortrait's.
    """
    motion, K = sequence.motion.to(torch.device("cpu"), torch.float32), sequence.motion.expression.shape[1]
    if K != _KEYPOINTS:
        raise ValueError(
            f"{path}: a template has {_KEYPOINTS} keypoints, motion of {sequence.preset!r} has {K}; "
            "expected a name that ends in .npz"
        )
    rows = {"scale": motion.scale, "R": motion.rotation.mT, "exp": motion.expression, "t": motion.translation}
    arrays = {name: values.contiguous().numpy() for name, values in rows.items()}
    rate = sequence.timing.rate
    stored: dict[str, Any] = {
        "n_frames": len(sequence),
        "output_fps": int(rate) if rate.denominator == 1 else float(rate),
        "motion": [
            {name: values[i : i + 1] for name, values in arrays.items()} for i in range(len(sequence))
        ],
    }
    eyes, lips = sequence.eyes, sequence.lips
    eyes = torch.full((len(sequence), 2), EYES_OPEN) if eyes is None else eyes
    lips = torch.full((len(sequence), 1), LIPS_CLOSED) if lips is None else lips
    for names, ratios in ((_EYES, eyes), (_LIPS, lips)):
        each = [ratio.numpy() for ratio in ratios.cpu().float().split(1)]
        stored |= dict.fromkeys(names, each)
    with whole_file(path) as temporary:
        temporary.write_bytes(pickle.dumps(stored, PROTOCOL))


def _sequence(stored: Any) -> MotionSequence:
    frames = stored.get("motion") if isinstance(stored, dict) else None
    if not isinstance(frames, list | tuple) or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError(
            "expected a motion template of LivePortrait: `motion`, a list of a dict for each frame"
        )
    T = len(frames)
    check_limit("frames of motion", T, FRAMES)
    stated = _number(stored, "n_frames", T)
    if stated != T or T == 0:
        raise ValueError(
            f"n_frames says {stated:g}, and there is motion of {T} frames: expected as many, one at least"
        )
    read = {
        name: tensor(np.stack([_of_frame(frame, name, i) for i, frame in enumerate(frames)]), name)
        for name in _SHAPES
    }
    return MotionSequence(
        Motion(read["R"].mT.contiguous(), read["t"], read["exp"], read["scale"]),
        Timing.even(T, _number(stored, "output_fps", RATE)),
        LIVEPORTRAIT.name,
        eyes=_ratios(stored, _EYES, (T, 2)),
        lips=_ratios(stored, _LIPS, (T, 1)),
    )


def _number(stored: Mapping[str, Any], name: str, otherwise: float) -> float:
    value = numbers(stored.get(name, otherwise), 1, name)
    if value.dtype.kind not in "fiu" or value.size != 1:
        raise ValueError(f"expected a number for {name}, got {value.shape} of {value.dtype}")
    return float(value.item())


def _of_frame(frame: Mapping[str, Any], name: str, index: int) -> np.ndarray:
    """One frame's numbers, in its shape of `_SHAPES`; more axes of 1, or a flat one, are accepted."""
    key = "R_d" if name == "R" and name not in frame else name
    if key not in frame:
        held = ", ".join(map(str, frame)) or "nothing"
        raise ValueError(f"frame {index}: expected {', '.join(_SHAPES)}; it has {held}")
    values, wanted = numbers(frame[key], MOST, key), _SHAPES[name]
    long = [size for size in values.shape if size != 1]
    if values.shape[1:] != wanted and long not in ([size for size in wanted if size != 1], [prod(wanted)]):
        raise ValueError(f"frame {index}: expected {key} {(1, *wanted)}, got {tuple(values.shape)}")
    return values.reshape(wanted)


def _ratios(stored: Mapping[str, Any], names: tuple[str, str], shape: tuple[int, int]) -> Tensor | None:
    """Ratios under either name; None where there are none, or not for all frames."""
    rows = stored.get(names[0], stored.get(names[1]))
    if not isinstance(rows, list | tuple) or len(rows) == 0 or any(row is None for row in rows):
        return None
    if len(rows) == shape[0]:
        values = [numbers(row, MOST, names[0]).ravel() for row in rows]
        if all(len(row) == shape[1] for row in values):
            return tensor(np.stack(values), names[0])
    raise ValueError(f"expected {names[0]} of {shape[0]} frames, {shape[1]} numbers each, got others")
