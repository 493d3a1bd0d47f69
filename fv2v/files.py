"""Whole files in, whole files out. Everything cheap is checked before weights are loaded."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fv2v.checkpoints import NO_WEIGHTS, Weights, find
from fv2v.coefficients import driving_coefficients, pose_views, read_coefficients
from fv2v.config import PRESETS, ModelConfig
from fv2v.config import preset as find_preset
from fv2v.crop import SteadyCrop, box_around, cut, find_face, find_first_face, middle_square
from fv2v.devices import find_device, find_dtype
from fv2v.edit import Edit, with_still
from fv2v.geometry import View
from fv2v.image import IMAGE_SUFFIXES, read_image, write_image
from fv2v.paths import PathLike, check_output
from fv2v.pipeline import Ahead, Timed
from fv2v.reenactor import Reenactor
from fv2v.report import Report, Stages
from fv2v.video import VIDEO_SUFFIXES, read_video, write_video

Progress = Callable[[int, int | None], None]  # told the frames done, and the frames in all where known
SPARE = 4  # frames that may lie ready between two stages, beside a batch: one of them may be late at times


def reenact(
    portrait: PathLike,
    driving: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    relative: bool | None = None,
    view: View | Iterable[View] | None = None,
    adapt_scale: bool = False,
    stitch: bool = True,
    edit: Edit | Iterable[Edit] | None = None,
    still: PathLike | None = None,
    frames: int | None = None,
    crop: bool = True,
    batch_size: int = 1,
    device: str | None = None,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> Report:
    """Move a portrait as a video does: the video's frame count, time stamps and sound, the portrait's face.

    Decoding and cropping, the networks, and encoding run at the same time, each in a thread. Memory does not
    grow with the video's length. Frames before the first face (sought in the first 150) take the square of
    that face, frames in which it is lost keep the last square; both are counted.

    Args:
        portrait: a picture with a face.
        driving: a video of a face, in any container that PyAV reads.
        output: .mp4, .m4v, .mov or .mkv.
        preset, weights, device, dtype: as `Reenactor` takes them.
        reenactor: one that is there already, in place of those four.
        relative, view, adapt_scale, stitch, edit, batch_size: as `Reenactor.animate` takes them.
        still: a picture of a face whose expression `edit` blends in.
        frames: stop after so many; the sound is cut to match.
        crop: cut the square around the face out of portrait and video. False takes their middle squares.
        progress: called after each frame with the frames done, and the frames to come in all where known.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        ValueError: a file that cannot be used, in one line that says why.
    """
    output = check_output(output, VIDEO_SUFFIXES, inputs=(portrait, driving))
    if batch_size < 1:
        raise ValueError(f"expected batch_size >= 1, got {batch_size}")
    _check_model(reenactor, preset, weights, device, dtype)
    started = time.perf_counter()
    picture = _framed(portrait, crop)
    blended = None if still is None else _framed(still, crop)
    reader = read_video(driving, frames=frames)
    start = find_first_face(reader, str(reader.path)) if crop else None
    sought = time.perf_counter() - started
    reenactor = reenactor or _load(preset, weights, device, dtype)
    size = reenactor.config.image_size
    started = time.perf_counter()
    decoded = Timed(reader)
    crops = SteadyCrop(decoded, start, size) if start else (cut(f, middle_square(f), size) for f in decoded)
    cropped = Timed(crops)
    with Ahead(cropped, batch_size + SPARE) as ahead:
        source = reenactor.encode(picture)
        if blended is not None:
            edit = with_still(edit or Edit(), reenactor.extract(blended))
        encoded = time.perf_counter() - started
        drivers = Timed(ahead)
        images = reenactor.animate(
            source,
            drivers,
            relative=relative,
            view=view,
            adapt_scale=adapt_scale,
            stitch=stitch,
            edit=edit,
            batch_size=batch_size,
        )
        count, made, written = _write(output, images, batch_size, reader.length, progress, like=reader)
    stages = Stages(
        decode=decoded.seconds,
        crop=sought + cropped.seconds - decoded.seconds,
        network=encoded + made - drivers.seconds,
        encode=written,
    )
    missing = crops.missing if isinstance(crops, SteadyCrop) else 0
    return Report(output, count, sought + time.perf_counter() - started, missing, stages)


def talk(
    portrait: PathLike,
    coefficients: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    source_coefficients: PathLike,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    still: bool = False,
    expression_scale: float = 1.0,
    pitch: float | Sequence[float] | None = None,
    yaw: float | Sequence[float] | None = None,
    roll: float | Sequence[float] | None = None,
    fps: float = 25,
    crop: bool = True,
    batch_size: int = 1,
    device: str | None = None,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> Report:
    """Move a portrait by 3DMM coefficients, as SadTalker does: a frame for each row, without sound.

    Args:
        portrait: a picture with a face.
        coefficients: the driver's, a file as `fv2v.read_coefficients` reads it.
        output: .mp4, .m4v, .mov or .mkv.
        preset, weights, device, dtype: as `Reenactor` takes them; a preset that coefficients drive.
        source_coefficients: a file of the portrait's own; its first row counts.
        reenactor: one that is there already, in place of those four.
        still, expression_scale: as `fv2v.coefficients.driving_coefficients` takes them.
        pitch, yaw, roll: hold the head at so many degrees, or walk it through a list of them at constant
            speed; what is left out stays the driver's.
        fps: frames a second; SadTalker makes 25 rows of them.
        crop: cut the square around the face out of the portrait. False takes its middle square.
        batch_size: frames rendered at once.
        progress: called after each frame with the frames done and the frames in all.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        ValueError: a file that cannot be used, in one line that says why.
    """
    output = check_output(output, VIDEO_SUFFIXES, inputs=(portrait, coefficients, source_coefficients))
    if batch_size < 1:
        raise ValueError(f"expected batch_size >= 1, got {batch_size}")
    if not 1 <= fps <= 1000:
        raise ValueError(f"expected fps from 1 to 1000, got {fps}")
    _check_model(reenactor, preset, weights, device, dtype, by_coefficients=True)
    own = read_coefficients(source_coefficients)[0]
    moved = driving_coefficients(
        read_coefficients(coefficients), own, expression_scale=expression_scale, still=still
    )
    views = pose_views(len(moved), pitch=pitch, yaw=yaw, roll=roll)
    started = time.perf_counter()
    picture = _framed(portrait, crop)
    sought = time.perf_counter() - started
    reenactor = reenactor or _load(preset, weights, device, dtype, by_coefficients=True)
    inputs = reenactor.config.head.inputs  # weights that read no crop leave out its columns, the last
    started = time.perf_counter()
    source = reenactor.encode(picture, own[:inputs])
    encoded = time.perf_counter() - started
    images = reenactor.animate(source, moved[:, :inputs], view=views, batch_size=batch_size)
    count, made, written = _write(output, images, batch_size, len(moved), progress, fps=fps)
    stages = Stages(decode=0.0, crop=sought, network=encoded + made, encode=written)
    return Report(output, count, sought + time.perf_counter() - started, missing=0, stages=stages)


def imitate(
    portrait: PathLike,
    driving: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    relative: bool | None = None,
    view: View | None = None,
    stitch: bool = True,
    edit: Edit | None = None,
    crop: bool = True,
    device: str | None = None,
    dtype: str = "float32",
) -> Report:
    """Give a portrait the expression of one driving picture, as `Reenactor.imitate` does.

    Arguments and errors as `reenact`, with a picture of a face for `driving`; writes .png, .jpg or .webp.
    """
    output = check_output(output, IMAGE_SUFFIXES, inputs=(portrait, driving))
    _check_model(reenactor, preset, weights, device, dtype)
    pictures = [_framed(each, crop) for each in (portrait, driving)]
    reenactor = reenactor or _load(preset, weights, device, dtype)
    started = time.perf_counter()
    source = reenactor.encode(pictures[0])
    image = reenactor.imitate(source, pictures[1], relative=relative, view=view, stitch=stitch, edit=edit)
    write_image(output, image)
    return Report(output, 1, time.perf_counter() - started, 0)


def frontalize(
    portrait: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    crop: bool = True,
    device: str | None = None,
    dtype: str = "float32",
) -> Report:
    """Turn a portrait's face to the front. Arguments and errors as `reenact`; writes .png, .jpg or .webp."""
    output = check_output(output, IMAGE_SUFFIXES, inputs=(portrait,))
    _check_model(reenactor, preset, weights, device, dtype)
    picture = _framed(portrait, crop)
    reenactor = reenactor or _load(preset, weights, device, dtype)
    started = time.perf_counter()
    write_image(output, reenactor.frontalize(reenactor.encode(picture)))
    return Report(output, 1, time.perf_counter() - started, 0)


def _check_model(
    reenactor: Reenactor | None,
    preset: str | ModelConfig | None,
    weights: Weights | None,
    device: str | None,
    dtype: str,
    *,
    by_coefficients: bool = False,
) -> None:
    """What is wrong with these is told before faces are sought."""
    if reenactor is not None:
        if weights is not None or preset is not None:
            raise ValueError("expected a reenactor, or a preset and weights, got both")
        _check_drive(reenactor.config, by_coefficients)
        return
    config = find_preset(preset) if isinstance(preset, str) else preset
    if config is not None:
        _check_drive(config, by_coefficients)
    if weights is None:
        raise ValueError(NO_WEIGHTS)
    if weights != "random":
        find(weights, config)
    find_dtype(dtype)
    find_device(device)


def _check_drive(config: ModelConfig, by_coefficients: bool) -> None:
    """Whether the preset is driven by what there is: a sequence of coefficients, or pictures."""
    if by_coefficients and not config.head.window:
        able = ", ".join(name for name, preset in PRESETS.items() if preset.head.window)
        raise ValueError(f"{config.name!r} is driven by pictures: expected fv2v reenact, or one of {able}")
    if config.head.window and not by_coefficients:
        raise ValueError(f"{config.name!r} is driven by 3DMM coefficients, no pictures: expected fv2v talk")


def _load(
    preset: str | ModelConfig | None,
    weights: Weights | None,
    device: str | None,
    dtype: str,
    *,
    by_coefficients: bool = False,
) -> Reenactor:
    """The weights, looked at once more: without a preset only their file tells what drives them."""
    reenactor = Reenactor(preset, weights=weights, device=device, dtype=dtype)
    _check_drive(reenactor.config, by_coefficients)
    return reenactor


def _framed(portrait: PathLike, crop: bool) -> np.ndarray:
    """The square of the picture that is used, in its own resolution."""
    image = read_image(portrait)
    box = box_around(find_face(image, str(portrait)), image.shape[:2]) if crop else middle_square(image)
    return cut(image, box, box.side)


def _write(
    output: Path,
    images: Iterator[np.ndarray],
    batch_size: int,
    total: int | None,
    progress: Progress | None,
    **times: Any,
) -> tuple[int, float, float]:
    """Write what the networks make while they make more: frames, seconds of making, seconds of writing.

    `images` runs in a thread; writing stays in the caller's, where an interrupt arrives.
    """
    started = time.perf_counter()
    made = Timed(images)
    with Ahead(made, batch_size + SPARE) as ahead:
        ready = Timed(ahead)
        count = write_video(output, _counted(ready, total, progress), **times)
    return count, made.seconds, time.perf_counter() - started - ready.seconds


def _counted(
    images: Iterable[np.ndarray], total: int | None, progress: Progress | None
) -> Iterator[np.ndarray]:
    for done, image in enumerate(images, 1):
        yield image
        if progress:
            progress(done, total)
