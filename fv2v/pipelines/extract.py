# SPDX-License-Identifier: Apache-2.0
"""A driver's motion, kept in a file."""

import time
from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fv2v.checkpoints import Weights
from fv2v.config import ModelConfig
from fv2v.face.cropping import Crops
from fv2v.face.lost import check_lost
from fv2v.geometry import Motion
from fv2v.io.paths import PathLike, check_output
from fv2v.io.prefetch import Prefetch
from fv2v.io.timing import Span, Timing
from fv2v.motion.coefficients import (
    COEFFICIENT_SUFFIXES,
    driving_coefficients,
    driving_windows,
    read_coefficients,
)
from fv2v.motion.liveportrait_template import SUFFIX as TEMPLATE_SUFFIX
from fv2v.motion.liveportrait_template import check_template
from fv2v.motion.npz import MOTION_SUFFIXES, write_motion
from fv2v.motion.sequence import MotionSequence
from fv2v.pipelines.driving import DrivingVideo
from fv2v.pipelines.faces import FaceFinder
from fv2v.pipelines.model import COEFFICIENT_RATE, ModelChoice
from fv2v.pipelines.report import Report
from fv2v.pipelines.write import SPARE, paths_given
from fv2v.progress import FrameProgress
from fv2v.reenactor import Reenactor

AT_REST = (
    "eyes and lips are as at rest throughout, since how far they are open needs 203 landmarks of the "
    "driver's face (--driving-face FILE)"
)


def extract(
    driving: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    source_coefficients: PathLike | None = None,
    frames: int | None = None,
    start: float | None = None,
    end: float | None = None,
    strict: bool = False,
    crop: Crops = True,
    driving_face: Any = 1,
    lost: str = "hold",
    batch_size: int = 1,
    device: str | None = None,
    dtype: str = "float32",
    progress: FrameProgress | None = None,
) -> Report:
    """Keep the motion of a video: what `render` makes of it with a portrait is what `reenact` would.

    Time stamps are kept, sound is not: `render` takes it from the video. Where `driving_face` is landmarks of
    the set of 203, how far eyes and lips are open is kept as well.

    Args:
        driving: a video of a face; for a preset that coefficients drive a file of them, as
            `fv2v.read_coefficients` reads it, 25 rows a second.
        output: .npz, with the arrays that `fv2v.write_motion` lists; or .pkl, LivePortrait's template, from
            its preset alone; uneven times become their average rate there, and eyes and lips of which nothing
            is known are at rest, which the report then says.
        preset, weights, reenactor, device, dtype: as `reenact` takes them.
        source_coefficients: a file of the portrait's own, for weights that read its crop as well (73).
        frames, start, end, strict, crop, driving_face, progress: as `reenact` takes them; the time stamps are
            still those of the video.
        lost: "hold" or "drive", as `reenact` has them.
        batch_size: frames whose motion is read at once.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        ValueError: a file that cannot be used, in one line that says why.
    """
    output = check_output(output, MOTION_SUFFIXES, paths_given(driving, source_coefficients))
    check_lost(lost, "hold", "drive")
    if batch_size < 1:
        raise ValueError(f"expected batch_size >= 1, got {batch_size}")
    span = Span(start, end, frames)
    by_coefficients = Path(driving).suffix.lower() in COEFFICIENT_SUFFIXES
    model = ModelChoice(
        preset,
        weights,
        device,
        dtype,
        reenactor,
        driven_by="coefficients" if by_coefficients else "pictures",
        requirements=[partial(check_template, output)],
    )
    model.check()
    if source_coefficients is not None and not by_coefficients:
        raise ValueError(f"{driving} is a video: expected no coefficients of the portrait")
    faces = FaceFinder(model, crop)
    crop = faces.crop
    started = time.perf_counter()
    driver = (
        _read_rows(driving, source_coefficients)
        if by_coefficients
        else DrivingVideo(driving, crop, faces.choose(driving_face, drives=True), span, strict)
    )
    searched = time.perf_counter() - started
    reenactor = model.load()
    started = time.perf_counter()
    if isinstance(driver, DrivingVideo):
        with Prefetch(driver.crops(reenactor.config, lost), batch_size + SPARE) as ahead:
            motion = extract_motion(reenactor, ahead, batch_size, driver.reader.length, progress)
        timing, openness, spans = driver.reader.timing, driver.openness(len(motion)), driver.lost_spans
        missing, found = len(driver.lost), driver.notes
    else:
        head = reenactor.config.head
        timing = Timing.even(len(driver), COEFFICIENT_RATE)
        taken = span.of(timing)
        windows, timing = driving_windows(driver[:, : head.inputs], head)[taken], timing.part(taken)
        motion = extract_motion(reenactor, windows, batch_size, len(windows), progress)
        openness, spans, missing, found = None, (), 0, []
    eyes = lips = None
    if openness is not None:
        eyes, lips = torch.from_numpy(openness).float().split((2, 1), dim=1)
    write_motion(output, MotionSequence(motion, timing, reenactor.config.name, eyes, lips))
    at_rest = openness is None and output.suffix.lower() == TEMPLATE_SUFFIX
    notes = tuple(note for note in (*found, AT_REST if at_rest else None, *faces.notes) if note)
    seconds = searched + time.perf_counter() - started
    return Report(output, len(motion), seconds, missing, notes=notes, lost=lost, spans=spans)


def _read_rows(driving: PathLike, source_coefficients: PathLike | None) -> np.ndarray:
    """The driver's coefficients, made ready to move a portrait where its own are known: (T, 70 or 73)."""
    rows = read_coefficients(driving)
    if source_coefficients is None:
        return rows
    return driving_coefficients(rows, read_coefficients(source_coefficients)[0])


def motion_of_rows(reenactor: Reenactor, rows: np.ndarray, taken: slice, batch_size: int) -> Motion:
    """The motion of those rows of (T, 70 or 73) coefficients, each read with the rows around it."""
    head = reenactor.config.head
    windows = driving_windows(rows[:, : head.inputs], head)[taken]
    return extract_motion(reenactor, windows, batch_size, len(windows), None)


def extract_motion(
    reenactor: Reenactor,
    frames: Iterable[Any],
    batch_size: int,
    total: int | None,
    progress: FrameProgress | None,
) -> Motion:
    """H and Δ on all frames, a batch at a time: pictures, or windows of coefficients."""
    frames, parts, done = iter(frames), [], 0
    while batch := list(islice(frames, batch_size)):
        parts.append(reenactor.runner.extract(reenactor.runner.batch(batch)))
        done += len(batch)
        if progress:
            progress(done, total)
    return Motion.cat(parts).to(torch.device("cpu"), torch.float32)
