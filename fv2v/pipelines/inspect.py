"""`fv2v inspect`: a sheet of what a model makes of a face on its way to a picture."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from torch import Tensor

from fv2v.checkpoints import Weights
from fv2v.config import ModelConfig
from fv2v.face.find import find_first_face
from fv2v.face.portrait import FaceChoice, choose_face, crop_portrait
from fv2v.face.tracking import driving_crops
from fv2v.geometry import Motion
from fv2v.io.image import IMAGE_SUFFIXES, write_image
from fv2v.io.paths import PathLike, check_input, check_output
from fv2v.io.tensors import as_batch
from fv2v.io.video import read_video
from fv2v.motion.coefficients import COEFFICIENT_SUFFIXES, driving_coefficients, read_coefficients
from fv2v.pipelines.model import check_drive, check_model
from fv2v.reenactor import Reenactor
from fv2v.viz.model import COLUMNS, driven_line, view_line
from fv2v.viz.sheet import laid_out

FRAMES = (12, 25, 50)  # of a video, where none are asked for: half a second in, one second, and two


class Frame(NamedTuple):
    """One that drives, as `driven_line` takes it."""

    motion: Motion
    name: str
    picture: Tensor | None  # (1, 3, n, n), that the motion was read in


class Driver(NamedTuple):
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
    crop: bool = True,
    face: Any = 1,
    driving_face: Any = 1,
    device: str | None = None,
    dtype: str = "float32",
) -> Path:
    """Write a sheet of what a model makes of a portrait and a driver.

    For each frame a line: keypoints on both pictures, the output, the K+1 masks as one coloured map, a
    checkerboard as it is deformed, and occlusion. Below, the portrait from five yaws, and from the front.

    Args:
        portrait: a picture with a face.
        driving: a picture or a video of a face; for a preset that they drive a file of 3DMM coefficients.
        output: .png, .jpg or .webp.
        preset, weights, device, dtype: as `Reenactor` takes them.
        source_coefficients: a file of the portrait's own, where coefficients drive; its first row counts.
        frames: which frames of the video, counted from 0; by default three of its first two seconds.
        relative: as `Reenactor.animate`, or of a picture `Reenactor.imitate`, takes it.
        crop: cut the square around the face out of pictures and video. False takes their middle squares.
        face, driving_face: as `fv2v.reenact` takes them.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        ValueError: a file that cannot be used, in one line that says why.
    """
    driving = check_input(driving)
    given = [] if source_coefficients is None else [source_coefficients]
    output = check_output(output, IMAGE_SUFFIXES, inputs=(portrait, driving, *given))
    if any(frame < 0 for frame in frames):
        raise ValueError(f"expected frames counted from 0, got {min(frames)}")
    by_coefficients = driving.suffix.lower() in COEFFICIENT_SUFFIXES
    if by_coefficients != bool(given):
        raise ValueError(
            "expected the coefficients of both faces, or of neither: DRIVING, which ends in "
            f"{', '.join(COEFFICIENT_SUFFIXES)}, and the portrait's own; got {driving}, and of the portrait "
            f"{source_coefficients or 'none'}"
        )
    check_model(None, preset, weights, device, dtype, by_coefficients=by_coefficients)
    choice = choose_face(driving_face, crop)
    picture = crop_portrait(portrait, crop, face).image
    reenactor = Reenactor(preset, weights=weights, device=device, dtype=dtype, optimize=False)
    check_drive(reenactor.config, by_coefficients)
    own = None
    if source_coefficients is not None:
        own = read_coefficients(source_coefficients)[0]
        driven = _rows(reenactor, driving, own, frames)
        own = own[: reenactor.config.head.inputs]
    elif cv2.haveImageReader(str(driving)):
        driven = _picture(reenactor, crop_portrait(driving, crop, choice).image, relative)
    else:
        driven = _video(reenactor, driving, frames, choice, crop)
    source = reenactor.encode(picture, own)
    if relative is None:
        relative = reenactor.config.geometry.relative
    anchor = driven.first if relative else None
    seen = _as_seen(reenactor, picture)
    lines = [driven_line(reenactor.model, seen, source, *frame, anchor=anchor) for frame in driven.frames]
    lines += [[], view_line(reenactor.model, source)]
    write_image(output, laid_out(lines, COLUMNS))
    return output


def _picture(reenactor: Reenactor, driving: np.ndarray, relative: bool | None) -> Driver:
    """Relative, where the release drives so, to lips at rest."""
    motion = reenactor.extract(driving)
    frame = Frame(motion, "driving", _as_seen(reenactor, driving))
    return Driver([frame], reenactor.rest(motion, relative))


def _video(
    reenactor: Reenactor, driving: Path, frames: Sequence[int], choice: FaceChoice, crop: bool
) -> Driver:
    reader = read_video(driving)
    start = find_first_face(reader, str(driving), choice.number, choice.detector) if crop else None
    crops = driving_crops(reader, start, reenactor.config.image_size, choice.detector)
    kept: dict[int, np.ndarray] = {}
    count = 0
    for count, image in enumerate(islice(crops, max(frames or FRAMES) + 1), start=1):
        if count == 1 or count - 1 in (frames or FRAMES):
            kept[count - 1] = image
        last = image
    numbers = _numbers(frames, count, driving)
    shown = [kept.get(number, last) for number in numbers]
    found = [
        Frame(reenactor.extract(image), f"frame {number}", _as_seen(reenactor, image))
        for number, image in zip(numbers, shown, strict=True)
    ]
    return Driver(found, reenactor.extract(kept[0]))


def _rows(reenactor: Reenactor, driving: Path, own: np.ndarray, frames: Sequence[int]) -> Driver:
    rows = driving_coefficients(read_coefficients(driving), own)[:, : reenactor.config.head.inputs]
    motion = reenactor.extract(rows)
    numbers = _numbers(frames, len(rows), driving)
    found = [Frame(motion[number : number + 1], f"frame {number}", None) for number in numbers]
    return Driver(found, motion[:1])


def _numbers(frames: Sequence[int], count: int, driving: Path) -> list[int]:
    """Which frames of `count` to show, those there are; ValueError where one asked for is not."""
    if frames and max(frames) >= count:
        raise ValueError(f"{driving}: expected a frame from 0 to {count - 1}, got {max(frames)}")
    return list(frames) or sorted({min(frame, count - 1) for frame in FRAMES})


def _as_seen(reenactor: Reenactor, picture: np.ndarray) -> Tensor:
    """(1, 3, n, n) in [0, 1], as the networks see it."""
    return reenactor.runner.images(as_batch([picture], reenactor.config.image_size, reenactor.device))
