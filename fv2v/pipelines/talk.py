# SPDX-License-Identifier: Apache-2.0
"""A portrait driven by 3DMM coefficients, as SadTalker does it."""

import time
from collections.abc import Sequence
from typing import Any

from fv2v.checkpoints import Weights
from fv2v.config import ModelConfig
from fv2v.face.cropping import Crops
from fv2v.face.portrait import crop_portrait
from fv2v.io.encoders import Encoding
from fv2v.io.interruption import Keep
from fv2v.io.kept_pictures import KeptPictures
from fv2v.io.paths import PathLike
from fv2v.io.timing import WHOLE, Span, Timing
from fv2v.io.video import check_film
from fv2v.motion.coefficients import driving_coefficients, pose_views, read_coefficients
from fv2v.pipelines.extract import motion_of_rows
from fv2v.pipelines.kinds import MOTION, PICTURE, check_kind
from fv2v.pipelines.model import COEFFICIENT_RATE, ModelChoice
from fv2v.pipelines.report import Report
from fv2v.pipelines.write import chosen_sound, paths_given, render_to_file
from fv2v.progress import FrameProgress
from fv2v.reenactor import Reenactor
from fv2v.reenactor.options import AnimationOptions


def talk(
    portrait: PathLike,
    coefficients: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    source_coefficients: PathLike | None = None,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    still: bool = False,
    expression_scale: float = 1.0,
    pitch: float | Sequence[float] | None = None,
    yaw: float | Sequence[float] | None = None,
    roll: float | Sequence[float] | None = None,
    fps: float = COEFFICIENT_RATE,
    sound: PathLike | None = None,
    frames: int | None = None,
    start: float | None = None,
    end: float | None = None,
    crop: Crops = True,
    face: Any = 1,
    paste_back: bool = False,
    batch_size: int = 1,
    device: str | None = None,
    dtype: str = "float32",
    codec: str | None = None,
    crf: int | None = None,
    encoder_preset: str | None = None,
    keep_partial: Keep = False,
    resume: KeptPictures | None = None,
    progress: FrameProgress | None = None,
) -> Report:
    """Move a portrait by 3DMM coefficients, as SadTalker does: a frame for each row.

    Args:
        portrait: a picture with a face.
        coefficients: the driver's, a file as `fv2v.read_coefficients` reads it.
        output: as `fv2v.write_video` takes it.
        preset, weights, device, dtype: as `Reenactor` takes them; a preset that coefficients drive.
        source_coefficients: a file of the portrait's own; its first row counts.
        reenactor: one that is loaded already, in place of preset, weights, device and dtype.
        still, expression_scale: as `fv2v.motion.coefficients.driving_coefficients` takes them.
        pitch, yaw, roll: hold the head at so many degrees, or walk it through a list of them at constant
            speed, as SadTalker does, which stops short of the last one; what is left out stays the driver's.
        fps: frames a second; SadTalker makes 25 rows of them.
        sound: a file whose sound goes along, cut where the frames end, or "none"; coefficients have none.
        frames, start, end: as `reenact` takes them.
        crop, face, paste_back: as `reenact` takes them.
        batch_size: frames rendered at once.
        codec, crf, encoder_preset: as `fv2v.write_video` takes them.
        keep_partial, resume: as `reenact` takes them.
        progress: called after each frame.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        ValueError: a file that cannot be used, in one line that says why.
    """
    check_kind(coefficients, "3DMM coefficients", MOTION)
    check_kind(portrait, "a picture", PICTURE)
    if source_coefficients is None:
        raise ValueError(
            "--source-coefficients: expected a file of the portrait's own coefficients, which SadTalker's "
            "first stage writes as well"
        )
    inputs = paths_given(portrait, coefficients, source_coefficients, sound)
    encoding = Encoding(codec, crf, encoder_preset)
    output = check_film(output, encoding, inputs)
    if not 1 <= fps <= 1000:
        raise ValueError(f"expected fps from 1 to 1000, got {fps}")
    span = Span(start, end, frames)
    sound = chosen_sound(sound, coefficients, None)
    model = ModelChoice(preset, weights, device, dtype, reenactor, driven_by="coefficients")
    model.check()
    own = read_coefficients(source_coefficients)[0]
    rows: Any = driving_coefficients(
        read_coefficients(coefficients), own, expression_scale=expression_scale, still=still
    )
    views = pose_views(len(rows), pitch=pitch, yaw=yaw, roll=roll)
    timing = Timing.even(len(rows), fps)
    taken = span.of(timing)
    options = AnimationOptions(view=views and views[taken], batch_size=batch_size)
    started = time.perf_counter()
    cropped = crop_portrait(portrait, crop, face)
    searched = time.perf_counter() - started
    reenactor = model.load()
    if span != WHOLE:
        rows = motion_of_rows(reenactor, rows, taken, batch_size)
    return render_to_file(
        reenactor,
        cropped,
        rows,
        output,
        options,
        like=timing.part(taken),
        total=len(rows),
        coefficients=own,
        sound=sound,
        paste_back=paste_back,
        searched=searched,
        encoding=encoding,
        keep_partial=keep_partial,
        resume=resume,
        progress=progress,
    )
