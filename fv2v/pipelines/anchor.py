# SPDX-License-Identifier: Apache-2.0
"""What counts as no change in relative motion, as the user names it: a frame of the driver, or a file."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fv2v.config import GeometryConfig
from fv2v.face.cropping import Crops
from fv2v.face.portrait import CroppedPortrait, crop_portrait
from fv2v.geometry import Motion, Source
from fv2v.geometry.transfer import keypoints_of
from fv2v.io.paths import check_input
from fv2v.motion.npz import MOTION_SUFFIXES, read_motion
from fv2v.motion.sequence import MotionSequence, check_fits
from fv2v.pipelines.driving import DrivingVideo
from fv2v.reenactor import Reenactor
from fv2v.reenactor.options import Anchor, AnimationOptions

BEST = "best"
Given = Motion | int | float | str | CroppedPortrait | MotionSequence | None


def read_anchor(anchor: Anchor | None, crop: Crops) -> Given:
    """`anchor` as `AnimationOptions` takes it, with a file read: before weights are.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a number below 0, a file that is no picture with a face and no motion.
    """
    if anchor is None or isinstance(anchor, Motion):
        return anchor
    if isinstance(anchor, int | float):
        if not 0 <= anchor < float("inf"):
            raise ValueError(f"anchor: expected a frame's number or seconds from 0, got {anchor}")
        return anchor
    if anchor == BEST:
        return BEST
    path = check_input(Path(anchor))
    if path.suffix.lower() in MOTION_SUFFIXES:
        return read_motion(path)
    return crop_portrait(path, crop, drives=True)


def anchor_of_video(given: Given, reenactor: Reenactor, video: DrivingVideo, portrait: np.ndarray) -> Motion:
    """The anchor of motion that is read from a video; by default the first good frame's.

    Args:
        given: from `read_anchor`. A frame that it names is sought in the video, which is read once more.
        portrait: the crop that is encoded; "best" is the frame nearest to it.

    Raises:
        ValueError: no such frame, or the face is not seen in it; motion of another preset.
    """
    config = reenactor.config
    if given is None:
        return reenactor.extract(video.first_crop(config))
    if given == BEST:
        seen = [reenactor.extract(frame.crop) for frame in video.look_through(config) if frame.seen]
        motion = Motion.cat(seen)
        number = nearest(motion, reenactor.encode(portrait), reenactor.config.geometry)
        return motion[number : number + 1]
    if not isinstance(given, int | float):
        return _anchor_of_file(given, reenactor)
    frames = video.look_through(config)
    found = next((frame for frame in frames if _reached(given, frame.number, frame.time)), None)
    if found is None:
        raise ValueError(f"{video.reader.path}: anchor: expected a frame of it, got {_what(given)}")
    if not found.seen:
        raise ValueError(f"{video.reader.path}: anchor: expected a frame with the face, got {_what(given)}")
    return reenactor.extract(found.crop)


def anchor_of_motion(given: Given, reenactor: Reenactor, sequence: MotionSequence, portrait: Any) -> Motion:
    """The same, of motion from a file; by default the first frame's."""
    motion, timing = sequence.motion, sequence.timing
    if given is None:
        return motion[:1]
    if given == BEST:
        number = nearest(motion, reenactor.encode(portrait), reenactor.config.geometry)
    elif isinstance(given, int | float):
        seconds = (np.array(timing.pts) - timing.pts[0]) * float(timing.time_base)
        reached = (n for n, time in enumerate(seconds) if _reached(given, n, time))
        number = next(reached, len(motion))
        if number == len(motion):
            raise ValueError(f"anchor: expected one of {len(motion)} frames, got {_what(given)}")
    else:
        return _anchor_of_file(given, reenactor)
    return motion[number : number + 1]


def motions_with_rest(
    reenactor: Reenactor,
    crops: Iterable[np.ndarray | None],
    options: AnimationOptions,
    portrait: np.ndarray,
) -> Iterator[Motion]:
    """The motion of each crop; where there is none the anchor's, or of absolute motion the portrait's own."""
    rest = options.anchor if isinstance(options.anchor, Motion) else reenactor.extract(portrait)
    return (rest if crop is None else reenactor.extract(crop) for crop in crops)


def nearest(motion: Motion, source: Source, geometry: GeometryConfig) -> int:
    """Which of T frames has the pose and expression nearest to the source's: of R x_c + δ, by squares.

    Of models without a pose it is that whose keypoints lie to each other most as the source's do, wherever
    and how large the face is.
    """
    apart = _pose(motion, source, geometry) - _pose(source.motion, source, geometry)
    return int(apart.square().sum(dim=(1, 2)).argmin())


def _pose(motion: Motion, source: Source, geometry: GeometryConfig) -> Tensor:
    motion = motion.to(source.canonical.device, source.canonical.dtype)
    still = replace(motion, translation=0 * motion.translation, scale=torch.ones_like(motion.scale))
    points = keypoints_of(source.canonical, still, geometry)
    if source.canonical.any():
        return points
    points = points - points.mean(dim=1, keepdim=True)
    return points / torch.linalg.vector_norm(points, dim=(1, 2), keepdim=True).clamp(min=1e-6)


def _reached(anchor: float, number: int, time: float) -> bool:
    """Whether a frame is the one of that number, or the first one from that time on."""
    return number == anchor if isinstance(anchor, int) else time >= anchor - 1e-6


def _what(anchor: float) -> str:
    return f"frame {anchor} (counted from 0)" if isinstance(anchor, int) else f"{anchor:g} s"


def _anchor_of_file(given: Given, reenactor: Reenactor) -> Motion:
    if isinstance(given, CroppedPortrait):
        return reenactor.extract(given.image)
    if isinstance(given, MotionSequence):
        check_fits(given, reenactor.config)
        return given.motion[:1]
    if isinstance(given, Motion):
        return given
    raise ValueError(f"expected an anchor, got {given!r}")
