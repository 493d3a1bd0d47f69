# SPDX-License-Identifier: Apache-2.0
"""A sheet of what a model computes on the way from a face to a picture."""

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from torch import Tensor

from fv2v.checkpoints import Weights
from fv2v.config import ModelConfig
from fv2v.face.cropping import Crops
from fv2v.face.detectors.choice import find_faces
from fv2v.face.portrait import CroppedPortrait, crop_portrait
from fv2v.face.visibility import remarks
from fv2v.geometry import Motion
from fv2v.io.image import IMAGE_SUFFIXES, write_image
from fv2v.io.paths import PathLike, check_input, check_output
from fv2v.io.tensors import as_batch
from fv2v.motion.coefficients import COEFFICIENT_SUFFIXES, driving_coefficients, read_coefficients
from fv2v.pipelines.driving import DrivingVideo
from fv2v.pipelines.faces import FaceFinder
from fv2v.pipelines.model import ModelChoice
from fv2v.pipelines.report import Report
from fv2v.pipelines.write import paths_given
from fv2v.reenactor import Reenactor
from fv2v.viz.model import COLUMNS, driven_line, view_line
from fv2v.viz.sheet import laid_out

NO_FACE = "no face found"
FRAMES = (12, 25, 50)  # the default of `frames`: after half a second, one second, and two, at 25 a second


class Frame(NamedTuple):
    """A driving frame, as `driven_line` takes it."""

    motion: Motion
    name: str
    picture: Tensor | None  # (1, 3, n, n), what the motion was extracted from; None: coefficients
    remarks: tuple[str, ...] = ()  # what of the face in it cannot be seen


class Driver(NamedTuple):
    """What drives the sheet."""

    frames: list[Frame]
    first: Motion | None  # what counts as no change in relative motion


def inspect(
    portrait: PathLike,
    driving: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    source_coefficients: PathLike | None = None,
    frames: Sequence[int] = (),
    relative: bool | None = None,
    crop: Crops = True,
    face: Any = 1,
    driving_face: Any = 1,
    device: str | None = None,
    dtype: str = "float32",
) -> Report:
    """Draw what a model computes of a portrait and a driver.

    For each frame a line: keypoints on both pictures, the output, the K+1 masks as one coloured map, a
    checkerboard as it is deformed, and occlusion. Below, the portrait from five yaws, and from the front.

    Args:
        portrait: a picture with a face.
        driving: a picture or a video of a face; or a file of 3DMM coefficients, for a preset that they drive.
        output: .png, .jpg or .webp.
        preset, weights, device, dtype: as `Reenactor` takes them.
        source_coefficients: a file of the portrait's own, where coefficients drive; its first row counts.
        frames: which frames of the video, counted from 0; by default three of its first two seconds.
        relative: as `Reenactor.animate`, or of a picture `Reenactor.imitate`, takes it.
        crop: as `reenact` takes it.
        face, driving_face: as `fv2v.reenact` takes them.

    Returns:
        a report whose `notes` tell what of the faces cannot be seen, in the portrait and in each frame.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        ValueError: a file that cannot be used, in one line that says why.
    """
    started = time.perf_counter()
    driving = check_input(driving)
    output = check_output(output, IMAGE_SUFFIXES, paths_given(portrait, driving, source_coefficients))
    if any(frame < 0 for frame in frames):
        raise ValueError(f"expected frames counted from 0, got {min(frames)}")
    by_coefficients = driving.suffix.lower() in COEFFICIENT_SUFFIXES
    if by_coefficients != (source_coefficients is not None):
        raise ValueError(
            "expected the coefficients of both faces, or of neither: DRIVING, which ends in "
            f"{', '.join(COEFFICIENT_SUFFIXES)}, and the portrait's own; got {driving}, and of the portrait "
            f"{source_coefficients or 'none'}"
        )
    driven_by = "coefficients" if by_coefficients else "pictures"
    model = ModelChoice(preset, weights, device, dtype, driven_by=driven_by)
    model.check()
    faces = FaceFinder(model, crop)
    crop = faces.crop
    cropped = crop_portrait(portrait, crop, faces.choose(face))
    picture = cropped.image
    own = None if source_coefficients is None else read_coefficients(source_coefficients)[0]
    driver: np.ndarray | CroppedPortrait | DrivingVideo
    if own is not None:
        driver = driving_coefficients(read_coefficients(driving), own)
    elif cv2.haveImageReader(str(driving)):
        driver = crop_portrait(driving, crop, faces.choose(driving_face, drives=True), drives=True)
    else:
        driver = DrivingVideo(driving, crop, faces.choose(driving_face, drives=True))
    reenactor = model.load(optimize=False)
    if isinstance(driver, CroppedPortrait):
        driven = _picture(reenactor, driver.image, relative)
    elif isinstance(driver, DrivingVideo):
        driven = _video(reenactor, driver, frames)
    else:
        driven = _rows(reenactor, driver, frames, driving)
    source = reenactor.encode(picture, None if own is None else own[: reenactor.config.head.inputs])
    if relative is None:
        relative = reenactor.config.geometry.relative
    anchor = driven.first if relative else None
    shown = _network_input(reenactor, picture)
    lines = [
        driven_line(reenactor.model, shown, source, *frame[:3], anchor=anchor) for frame in driven.frames
    ]
    lines += [[], view_line(reenactor.model, source)]
    write_image(output, laid_out(lines, COLUMNS))
    notes = [f"the portrait: {remark}" for remark in cropped.remarks]
    notes += [f"{frame.name}: {remark}" for frame in driven.frames for remark in frame.remarks]
    missing = sum(NO_FACE in frame.remarks for frame in driven.frames)
    seconds = time.perf_counter() - started
    return Report(output, len(driven.frames), seconds, missing, notes=(*notes, *faces.notes))


def _picture(reenactor: Reenactor, driving: np.ndarray, relative: bool | None) -> Driver:
    """Relative motion is measured against lips at rest, where the release drives so."""
    motion = reenactor.extract(driving)
    frame = Frame(motion, "driving", _network_input(reenactor, driving), _remarks(driving))
    return Driver([frame], reenactor.rest(motion, relative))


def _video(reenactor: Reenactor, video: DrivingVideo, frames: Sequence[int]) -> Driver:
    kept: dict[int, np.ndarray] = {}
    count = 0
    crops = video.crops(reenactor.config)
    for count, image in enumerate(islice(crops, max(frames or FRAMES) + 1), start=1):
        if count == 1 or count - 1 in (frames or FRAMES):
            kept[count - 1] = image
        last = image
    numbers = _numbers(frames, count, video.reader.path)
    images = [kept.get(number, last) for number in numbers]
    found = [
        Frame(reenactor.extract(image), f"frame {number}", _network_input(reenactor, image), _remarks(image))
        for number, image in zip(numbers, images, strict=True)
    ]
    return Driver(found, reenactor.extract(kept[0]))


def _rows(reenactor: Reenactor, rows: np.ndarray, frames: Sequence[int], driving: Path) -> Driver:
    motion = reenactor.extract(rows[:, : reenactor.config.head.inputs])
    numbers = _numbers(frames, len(rows), driving)
    found = [Frame(motion[number : number + 1], f"frame {number}", None) for number in numbers]
    return Driver(found, motion[:1])


def _numbers(frames: Sequence[int], count: int, driving: Path) -> list[int]:
    """Which frames of `count` to show, those there are; ValueError where one asked for is not."""
    if frames and max(frames) >= count:
        raise ValueError(f"{driving}: expected a frame from 0 to {count - 1}, got {max(frames)}")
    return list(frames) or sorted({min(frame, count - 1) for frame in FRAMES})


def _remarks(crop: np.ndarray) -> tuple[str, ...]:
    """What of the face in a driving crop cannot be seen."""
    face = next(iter(find_faces(crop)), None)
    return (NO_FACE,) if face is None else tuple(remarks(face, crop.shape[:2]))


def _network_input(reenactor: Reenactor, picture: np.ndarray) -> Tensor:
    """(1, 3, n, n) in [0, 1], as the networks get it."""
    config = reenactor.config
    batch = as_batch([picture], config.image_size, reenactor.device, config.resize)
    return reenactor.runner.images(batch)
