"""Motion taken from a driver into a file, and shown again from there: `reenact` in two halves."""

import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from fv2v.checkpoints import Weights
from fv2v.config import ModelConfig
from fv2v.face.find import find_first_face
from fv2v.face.portrait import choose_face, crop_portrait
from fv2v.face.tracking import SteadyCrop, driving_crops
from fv2v.geometry import Motion, View
from fv2v.io.audio import check_sound
from fv2v.io.paths import PathLike, check_output
from fv2v.io.prefetch import Prefetch
from fv2v.io.timing import Timing
from fv2v.io.video import VIDEO_SUFFIXES, read_video
from fv2v.motion.coefficients import (
    COEFFICIENT_SUFFIXES,
    driving_coefficients,
    driving_windows,
    holds_coefficients,
    read_coefficients,
)
from fv2v.motion.edit import Edit, with_still
from fv2v.motion.liveportrait_template import check_template
from fv2v.motion.npz import MOTION_SUFFIXES, read_motion, write_motion
from fv2v.motion.sequence import MotionSequence, check_fits
from fv2v.motion.smoothing import SteadyMotion
from fv2v.pipelines.model import check_model, load_model
from fv2v.pipelines.report import Report
from fv2v.pipelines.write import SPARE, Progress, show
from fv2v.presets import preset as find_preset
from fv2v.reenactor import Reenactor

COEFFICIENT_RATE = 25  # rows a second, as SadTalker makes them


def extract(
    driving: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    source_coefficients: PathLike | None = None,
    frames: int | None = None,
    crop: bool = True,
    driving_face: Any = 1,
    batch_size: int = 1,
    device: str | None = None,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> Report:
    """Keep the motion of a video: what `render` makes of it with a portrait is what `reenact` would.

    Time stamps are kept, sound is not: `render` takes it from the video.

    Args:
        driving: a video of a face; for a preset that coefficients drive a file of them, as
            `fv2v.read_coefficients` reads it, 25 rows a second.
        output: .npz, with arrays as motion_files.py lists them; or .pkl, LivePortrait's template, from its
            preset alone; uneven times go on at their average rate there.
        preset, weights, reenactor, device, dtype: as `reenact` takes them.
        source_coefficients: a file of the portrait's own, for weights that read its crop as well (73).
        frames, crop, driving_face, batch_size, progress: as `reenact` takes them.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        ValueError: a file that cannot be used, in one line that says why.
    """
    output = check_output(output, MOTION_SUFFIXES, _given(driving, source_coefficients))
    if batch_size < 1:
        raise ValueError(f"expected batch_size >= 1, got {batch_size}")
    if frames is not None and frames < 1:
        raise ValueError(f"expected at least 1 frame to be asked for, got frames={frames}")
    by_coefficients = Path(driving).suffix.lower() in COEFFICIENT_SUFFIXES
    check_model(reenactor, preset, weights, device, dtype, by_coefficients=by_coefficients)
    if (config := _known(reenactor, preset)) is not None:
        check_template(output, config)
    if by_coefficients:
        rows = read_coefficients(driving)
        if source_coefficients is not None:
            rows = driving_coefficients(rows, read_coefficients(source_coefficients)[0])
    elif source_coefficients is not None:
        raise ValueError(f"{driving} is a video: expected no coefficients of the portrait")
    choice = choose_face(driving_face, crop)
    started = time.perf_counter()
    reader = None if by_coefficients else read_video(driving, frames=frames)
    start = None
    if reader and crop:
        start = find_first_face(reader, str(reader.path), choice.number, choice.detector)
    sought = time.perf_counter() - started
    reenactor = reenactor or load_model(preset, weights, device, dtype, by_coefficients=by_coefficients)
    config = reenactor.config
    check_template(output, config)
    started = time.perf_counter()
    if reader is None:
        windows = driving_windows(rows[:, : config.head.inputs], config.head)[:frames]
        motion = _watched(reenactor, windows, batch_size, len(windows), progress)
        timing, missing = Timing.even(len(windows), COEFFICIENT_RATE), 0
    else:
        crops = driving_crops(reader, start, config.image_size, choice.detector)
        with Prefetch(crops, batch_size + SPARE) as ahead:
            motion = _watched(reenactor, ahead, batch_size, reader.length, progress)
        timing, missing = reader.timing, crops.missing if isinstance(crops, SteadyCrop) else 0
    write_motion(output, MotionSequence(motion, timing, config.name))
    return Report(output, len(motion), sought + time.perf_counter() - started, missing)


def render(
    portrait: PathLike,
    motion: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    source_coefficients: PathLike | None = None,
    sound: PathLike | None = None,
    relative: bool | None = None,
    view: View | Iterable[View] | None = None,
    adapt_scale: bool = False,
    stitch: bool = True,
    steady: bool = False,
    edit: Edit | Iterable[Edit] | None = None,
    still: PathLike | None = None,
    crop: bool = True,
    face: Any = 1,
    paste_back: bool = False,
    batch_size: int = 1,
    device: str | None = None,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> Report:
    """Move a portrait by motion from a file: a frame for each of its frames, with its time stamps.

    Args:
        portrait: a picture with a face.
        motion: .npz as `extract` writes it; .pkl, a template of LivePortrait, for its preset; or coefficients
            as `fv2v.read_coefficients` reads them, 25 rows a second, for a preset that they drive.
        output: .mp4, .m4v, .mov or .mkv.
        source_coefficients: a file of the portrait's own, where the preset is driven by them; its first row
            counts.
        sound: a file whose sound goes along, cut where the motion ends; a file of motion has none.
        preset, weights, reenactor, device, dtype: as `reenact` takes them; the preset that the motion is of.
        relative, view, adapt_scale, stitch, edit, batch_size: as `Reenactor.animate` takes them.
        steady, still, face, paste_back: as `reenact` takes them.
        crop: cut the square around the face out of portrait and still. False takes their middle squares.
        progress: called after each frame with the frames done and the frames in all.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        ValueError: a file that cannot be used, in one line that says why; motion of another preset.
    """
    output = check_output(output, VIDEO_SUFFIXES, _given(portrait, motion, source_coefficients, sound, still))
    if batch_size < 1:
        raise ValueError(f"expected batch_size >= 1, got {batch_size}")
    by_coefficients = True if holds_coefficients(motion) else None
    check_model(reenactor, preset, weights, device, dtype, by_coefficients=by_coefficients)
    if sound is not None:
        check_sound(sound)
    own = None if source_coefficients is None else read_coefficients(source_coefficients)[0]
    film = None if by_coefficients else read_motion(motion)
    if (config := _known(reenactor, preset)) is not None:
        _check_input(config, film, source_coefficients, still)
    started = time.perf_counter()
    framed = crop_portrait(portrait, crop, face)
    blended = None if still is None else crop_portrait(still, crop)
    sought = time.perf_counter() - started
    reenactor = reenactor or load_model(preset, weights, device, dtype, by_coefficients=by_coefficients)
    _check_input(reenactor.config, film, source_coefficients, still)
    if film is None:
        frames: Any = driving_coefficients(read_coefficients(motion), own)
        timing = Timing.even(len(frames), COEFFICIENT_RATE)
    else:
        frames, timing = film.motion, film.timing
    if blended is not None:
        edit = with_still(edit, reenactor.extract(blended.image))
    return show(
        reenactor,
        framed,
        frames,
        output,
        timing,
        own=own,
        sound=sound,
        paste_back=paste_back,
        sought=sought,
        batch_size=batch_size,
        progress=progress,
        relative=relative,
        view=view,
        adapt_scale=adapt_scale,
        stitch=stitch,
        steady=SteadyMotion(fps=float(timing.rate)) if steady else None,
        edit=edit,
    )


def _watched(
    reenactor: Reenactor,
    drivers: Iterable[Any],
    batch_size: int,
    total: int | None,
    progress: Progress | None,
) -> Motion:
    """H and Δ on all that drives, a batch at a time: pictures, or windows of coefficients."""
    drivers, parts, done = iter(drivers), [], 0
    while batch := list(islice(drivers, batch_size)):
        parts.append(reenactor.runner.extract(reenactor.runner.batch(batch)))
        done += len(batch)
        if progress:
            progress(done, total)
    motion = Motion.cat(parts)
    return motion.to(torch.device("cpu"), torch.float32)


def _check_input(
    config: ModelConfig,
    film: MotionSequence | None,
    source_coefficients: PathLike | None,
    still: PathLike | None,
) -> None:
    """What a preset is to be moved by, and what of the portrait it reads beside its picture."""
    if film is not None:
        check_fits(film, config)
    if config.head.window and source_coefficients is None:
        raise ValueError(
            f"{config.name!r} reads a portrait's 3DMM coefficients beside its picture: expected a file of "
            "them, --source-coefficients"
        )
    if source_coefficients is not None and not config.head.window:
        raise ValueError(f"{config.name!r} reads pictures alone: expected no coefficients of the portrait")
    if config.head.window and still is not None:
        raise ValueError(f"{config.name!r} reads no motion in pictures: expected no still one to blend in")


def _known(reenactor: Reenactor | None, preset: str | ModelConfig | None) -> ModelConfig | None:
    """The config, where it is known before weights are read."""
    if reenactor is not None:
        return reenactor.config
    return find_preset(preset) if isinstance(preset, str) else preset


def _given(*paths: PathLike | None) -> list[PathLike]:
    return [path for path in paths if path is not None]
