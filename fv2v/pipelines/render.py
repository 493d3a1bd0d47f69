# SPDX-License-Identifier: Apache-2.0
"""A portrait, or the face in a film, driven by motion from a file."""

import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2v.checkpoints import Weights
from fv2v.config import ModelConfig
from fv2v.face.cropping import Crops
from fv2v.face.portrait import crop_portrait
from fv2v.io.encoders import Encoding
from fv2v.io.interruption import Keep
from fv2v.io.kept_pictures import KeptPictures
from fv2v.io.paths import PathLike
from fv2v.io.timing import Span
from fv2v.io.video import check_film
from fv2v.motion.coefficients import read_coefficients
from fv2v.motion.edit import Edit, EditMaker
from fv2v.pipelines.anchor import anchor_of_motion, read_anchor
from fv2v.pipelines.compare import SideBySide
from fv2v.pipelines.faces import FaceFinder, openness_of
from fv2v.pipelines.kinds import FILM, kind_of_source
from fv2v.pipelines.model import ModelChoice
from fv2v.pipelines.motion_file import MotionFile
from fv2v.pipelines.report import Report
from fv2v.pipelines.source_film import SourceFilm, open_source
from fv2v.pipelines.write import chosen_sound, paths_given, render_to_file
from fv2v.progress import FrameProgress
from fv2v.reenactor import Reenactor
from fv2v.reenactor.options import AnimationOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fv2v.reenactor.options import AnimationKeywords


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
    compare: bool = False,
    frames: int | None = None,
    start: float | None = None,
    end: float | None = None,
    still: PathLike | None = None,
    crop: Crops = True,
    face: Any = 1,
    paste_back: bool = False,
    device: str | None = None,
    dtype: str = "float32",
    edit_from: EditMaker | None = None,
    codec: str | None = None,
    crf: int | None = None,
    encoder_preset: str | None = None,
    keep_partial: Keep = False,
    resume: KeptPictures | None = None,
    progress: FrameProgress | None = None,
    **animation: "Unpack[AnimationKeywords]",
) -> Report:
    """Move a portrait by motion from a file: a frame for each of its frames, with its time stamps.

    Args:
        portrait: a picture with a face; or a film of one, which motion of the preset moves as `reenact` says.
        motion: .npz as `extract` writes it; .pkl, a template of LivePortrait, for its preset; coefficients
            as `fv2v.read_coefficients` reads them, 25 rows a second, for a preset that they drive; or .fv2v,
            of which the motion and the sound are taken.
        output: as `fv2v.write_video` takes it.
        source_coefficients: a file of the portrait's own, where the preset is driven by them; its first row
            counts.
        sound: a file whose sound goes along, cut where the motion ends, or "none"; of motion .fv2v alone has
            its own.
        compare: write portrait and result side by side.
        frames, start, end: as `reenact` takes them; but edits, one a frame, are those of the whole motion.
        preset, weights, reenactor, device, dtype: as `reenact` takes them; the preset that the motion is of.
        edit_from: as `reenact` takes it; of the driver it gets None.
        still, face, paste_back, codec, crf, encoder_preset, keep_partial, resume, progress, animation: as
            `reenact` takes them.
        crop: as `reenact` takes it, of portrait and still.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        TypeError: a keyword that is not listed here.
        ValueError: a file that cannot be used, in one line that says why; motion of another preset.
    """
    options = AnimationOptions(**animation)
    is_film = kind_of_source(portrait) == FILM
    inputs = paths_given(portrait, motion, source_coefficients, sound, still)
    encoding = Encoding(codec, crf, encoder_preset)
    output = check_film(output, encoding, inputs)
    span = Span(start, end, frames)
    part = replace(span, frames=None) if is_film else span  # as many as the film has
    moved_by = MotionFile.read(motion)
    taken = part.of(moved_by.timing)
    own = None if source_coefficients is None else read_coefficients(source_coefficients)[0]
    model = ModelChoice(
        preset,
        weights,
        device,
        dtype,
        reenactor,
        driven_by=moved_by.driven_by,
        requirements=[
            moved_by.check,
            partial(_check_inputs, own is not None, still is not None, is_film),
            options.check,
        ],
    )
    model.check()
    given = read_anchor(options.anchor, crop)
    started = time.perf_counter()
    faces = FaceFinder(model, crop)
    crop = faces.crop
    source = open_source(portrait, crop, faces.choose(face), span)
    film = source if isinstance(source, SourceFilm) else None
    own_sound = moved_by.path if moved_by.has_sound else None
    if sound is None and own_sound:
        sound = own_sound  # which is no film that could be looked into
    else:
        sound = chosen_sound(sound, motion, own_sound, film.reader.sound if film else None)
    cropped_still = None if still is None else crop_portrait(still, crop, faces.choose(1))
    if edit_from is not None:
        options = replace(options, edit=edit_from(openness_of(source), None))
    searched = time.perf_counter() - started
    reenactor = model.load()
    options = _edited(options, taken)
    if film:
        options = replace(options, edit=film.edits(options.edit))
    sequence = moved_by.sequence(reenactor, part)
    if sequence is not None and given is not None:
        anchor = anchor_of_motion(given, reenactor, sequence, source.image)
        options = replace(options, anchor=anchor)
    driver = sequence.motion if sequence else moved_by.rows(reenactor, own, part, options.batch_size)
    timing = moved_by.timing.part(taken)
    with tempfile.TemporaryDirectory() as folder:
        heard = moved_by.sound_in(Path(folder)) if sound == moved_by.path else sound
        if film:
            film.reader.sound = heard
        report = render_to_file(
            reenactor,
            source,
            film.paired_with_motion(sequence.motion, timing) if film and sequence else driver,
            output,
            options,
            like=film.reader if film else timing,
            total=film.length(len(driver), timing.rate) if film else len(driver),
            coefficients=own,
            still=cropped_still,
            sound=None if film else heard,
            sound_of=moved_by.path if sound == moved_by.path else None,
            beside=SideBySide(source, whole=paste_back) if compare else None,
            paste_back=paste_back,
            searched=searched,
            encoding=encoding,
            keep_partial=keep_partial,
            resume=resume,
            progress=progress,
        )
    notes = film.notes if film else ()
    return replace(report, notes=(*report.notes, *notes, *faces.notes))


def _edited(options: AnimationOptions, taken: slice) -> AnimationOptions:
    """The edits of those frames alone, where each has its own."""
    if options.edit is None or isinstance(options.edit, Edit):
        return options
    return replace(options, edit=list(options.edit)[taken])


def _check_inputs(has_coefficients: bool, has_still: bool, is_film: bool, config: ModelConfig) -> None:
    """What of the portrait the preset reads beside its picture."""
    if config.driven_by == "pictures":
        if has_coefficients:
            raise ValueError(
                f"{config.name!r} reads pictures alone: expected no coefficients of the portrait"
            )
        return
    if is_film:
        raise ValueError(
            f"{config.name!r} reads a portrait's 3DMM coefficients beside its picture: expected a picture of "
            "it, got a film"
        )
    if not has_coefficients:
        raise ValueError(
            f"{config.name!r} reads a portrait's 3DMM coefficients beside its picture: expected a file of "
            "them, --source-coefficients"
        )
    if has_still:
        raise ValueError(f"{config.name!r} reads no motion in pictures: expected no still one to blend in")
