# SPDX-License-Identifier: Apache-2.0
"""A portrait, or the face in a film, driven by a video."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2v.checkpoints import Weights
from fv2v.config import ModelConfig
from fv2v.face.cropping import Crops
from fv2v.face.lost import check_lost
from fv2v.face.portrait import crop_portrait
from fv2v.io.encoders import Encoding
from fv2v.io.frame_folder import is_frames
from fv2v.io.image import IMAGE_SUFFIXES
from fv2v.io.interruption import Keep
from fv2v.io.kept_pictures import KeptPictures
from fv2v.io.paths import PathLike
from fv2v.io.prefetch import Prefetch, Timed
from fv2v.io.timing import Span
from fv2v.io.video import check_film
from fv2v.motion.edit import EditMaker
from fv2v.pipelines.anchor import anchor_of_video, motions_with_rest, read_anchor
from fv2v.pipelines.compare import SideBySide
from fv2v.pipelines.driving import DrivingVideo
from fv2v.pipelines.faces import FaceFinder, openness_of
from fv2v.pipelines.kinds import FILM, MOTION, PICTURE, check_given, kind_of, kind_of_source
from fv2v.pipelines.model import ModelChoice
from fv2v.pipelines.render import render
from fv2v.pipelines.report import Report, Stages
from fv2v.pipelines.source_film import SourceFilm, open_source, timed
from fv2v.pipelines.stills import imitate
from fv2v.pipelines.write import SPARE, chosen_sound, paths_given, render_to_file
from fv2v.progress import FrameProgress
from fv2v.reenactor import Reenactor
from fv2v.reenactor.options import AnimationOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fv2v.reenactor.options import AnimationKeywords


def reenact(
    portrait: PathLike,
    driving: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    still: PathLike | None = None,
    frames: int | None = None,
    start: float | None = None,
    end: float | None = None,
    strict: bool = False,
    crop: Crops = True,
    face: Any = 1,
    driving_face: Any = 1,
    source_coefficients: PathLike | None = None,
    sound: PathLike | None = None,
    fps: float | None = None,
    compare: bool = False,
    lost: str = "hold",
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
    """Move a portrait as a driver does: its frame count, time stamps and sound, the portrait's face.

    Of a picture that drives the output is a picture, as `imitate` makes it; by motion from a file it is moved
    as `render` does it. What follows is of a video.

    Of a film as the portrait every frame is encoded by itself and moved by the driver's nearest in time; the
    shorter of the two rules. The output has the film's frames and time stamps. LivePortrait's preset smooths
    its motion as its release does; `edit`'s region "expression" keeps the film's own turns of the head.

    Decoding and cropping, the networks, and encoding run at the same time, each in a thread. Memory does not
    grow with the video's length. Frames in which the driver's face is not seen do not drive (`lost`); the
    report counts and times them. The first face is sought in the first 150 frames.

    Args:
        portrait: a picture with a face, or a film of one, as `driving` may be.
        driving: a video of a face, in any container that PyAV reads, a folder of pictures or a pattern of
            their names, as frames/%04d.png; a picture; or motion, as `render` takes it.
        output: as `fv2v.write_video` takes it.
        preset, weights, device, dtype: as `Reenactor` takes them.
        reenactor: one that is loaded already, in place of those four.
        still: a picture of a face whose expression `edit` blends in.
        start, end: take what the video shows from `start` to before `end`, in seconds since its first frame;
            sound is cut to match. Frames, seconds and rows that other options name count from there. Of a
            film as the portrait the same part is taken.
        frames: stop after so many.
        source_coefficients: as `render` takes it.
        sound: a file whose sound goes along; "driving", the driver's own, which is the default; "source",
            that of a film as the portrait, which is the default where the driver has none; or "none".
        fps: frames a second of folders of pictures, 25 by default.
        compare: write the portrait, the driver and the result side by side.
        strict: refuse videos with a damaged frame. By default the damage is concealed, and one of the
            report's `notes` counts and times such frames.
        crop: cut the square around the face out of portrait and video, True or "both", or of one of them,
            "source" or "driving". False or "none" takes their middle squares; a `fv2v.CropChoice` also says
            how large the squares are, and where.
        face, driving_face: which one in the portrait and in the video: 1 is the largest, 2 the next; or its
            coordinates, or what finds it, as `fv2v.face.portrait.choose_face` takes it.
        lost: what moves the portrait in frames in which the driver's face is hidden, too dark or not there:
            "hold" keeps the last motion (before the first face, the one to come), "drive" takes the frame
            as it is, "source" lets the portrait rest.
        paste_back: put the moved face back into the whole portrait, or the film's frame, and write that.
        edit_from: makes `edit` of how far the eyes and lips of the portrait, and of the video in each frame,
            are open; of a face of which 203 landmarks are not known it gets None. They are where `face` gives
            them or LivePortrait's weights lie with its files that find them (fv2v/pipelines/README.md). Of a
            film as the portrait in each of its frames.
        codec, crf, encoder_preset: as `fv2v.write_video` takes them.
        keep_partial: an interrupt (Ctrl-C) ends the film at the frame before, in place of this call, and the
            report says so: `out.mp4` is then `out.partial.mp4`. Or what decides that, called with that name.
        resume: go on after the pictures that an earlier call left there, and keep this one's there until the
            film is whole; how they are kept, `fv2v.io.kept_pictures` says.
        progress: called after each frame.
        animation: how the portrait follows the video, the fields of `fv2v.reenactor.options.AnimationOptions`
            one by one: `relative`, `anchor`, `view`, `steady`, `edit`, `batch_size` and its others.
            `steady=True` smooths at the video's frame rate. Of a film as the portrait there is a view for
            each of its frames, and an edit for each of the driver's.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        TypeError: a keyword that is not listed here.
        ValueError: a file that cannot be used, or options that do not fit the preset; one line that says why.
    """
    options = AnimationOptions(**animation)
    check_lost(lost)
    kind = kind_of(driving)
    is_film = kind_of_source(portrait) == FILM
    if is_film and kind == PICTURE:
        raise ValueError(
            f"{driving} is a picture: expected a film or motion to move a film, {portrait}; or the other way "
            "round, the picture first"
        )
    if kind != FILM:
        check_given(driving, kind, fps=fps, strict=strict or None, lost=None if lost == "hold" else lost)
    made_as: Any = {"weights": weights, "reenactor": reenactor, "crop": crop, "face": face}
    made_as |= {"paste_back": paste_back, "device": device, "dtype": dtype}
    if kind == PICTURE:
        if Path(output).suffix.lower() not in IMAGE_SUFFIXES:
            expected = ", ".join(IMAGE_SUFFIXES)
            raise ValueError(
                f"{driving} is a picture, which makes a picture and no film: expected an output in "
                f"{expected}, got {output}"
            )
        check_given(driving, kind, start=start, end=end, frames=frames, still=still, sound=sound, codec=codec)
        check_given(driving, kind, crf=crf, encoder_preset=encoder_preset, compare=compare or None)
        check_given(driving, kind, source_coefficients=source_coefficients, eyes_and_lips=edit_from)
        check_given(driving, kind, resume=resume)
        return imitate(portrait, driving, output, preset, driving_face=driving_face, **made_as, **animation)
    if kind == MOTION:
        check_given(driving, kind, driving_face=None if driving_face == 1 else driving_face)
        return render(
            portrait,
            driving,
            output,
            preset,
            source_coefficients=source_coefficients,
            sound=sound,
            frames=frames,
            start=start,
            end=end,
            still=still,
            edit_from=edit_from,
            codec=codec,
            crf=crf,
            encoder_preset=encoder_preset,
            keep_partial=keep_partial,
            resume=resume,
            compare=compare,
            progress=progress,
            **made_as,
            **animation,
        )
    check_given(driving, kind, source_coefficients=source_coefficients)
    span = Span(start, end, frames)
    encoding = Encoding(codec, crf, encoder_preset)
    output = check_film(output, encoding, paths_given(portrait, driving, still, sound))
    model = ModelChoice(preset, weights, device, dtype, reenactor, requirements=[options.check])
    model.check()
    started = time.perf_counter()
    faces = FaceFinder(model, crop)
    crop = faces.crop
    source = open_source(portrait, crop, faces.choose(face), span, strict, fps)
    film = source if isinstance(source, SourceFilm) else None
    cropped_still = None if still is None else crop_portrait(still, crop, faces.choose(1))
    given = read_anchor(options.anchor, crop)
    if film:
        span = replace(span, frames=None)  # as many as the film has
        fps = None if is_frames(portrait) and not is_frames(driving) else fps
    video = DrivingVideo(driving, crop, faces.choose(driving_face, drives=True), span, strict, fps)
    like = film.reader if film else video.reader
    like.sound = chosen_sound(sound, driving, video.reader.sound, film.reader.sound if film else None)
    if edit_from is not None:
        options = replace(options, edit=edit_from(openness_of(source), video.openness_of_frames()))
    if film:
        options = replace(options, edit=film.edits(options.edit))
    searched = time.perf_counter() - started
    reenactor = model.load()
    if options.check(reenactor.config).relative:
        options = replace(options, anchor=anchor_of_video(given, reenactor, video, source.image))
    config, length = reenactor.config, video.reader.length
    rests = lost == "source"  # else a gap has a crop, too
    crops: Iterator[Any] = video.crops_with_gaps(config) if rests else video.crops(config, lost)
    beside = SideBySide(source, whole=paste_back) if compare else None
    if film:
        pairs = film.paired(timed(crops, video.reader), 1 / float(video.reader.rate))
        crops = ((frame, beside.remember(crop)) for frame, crop in pairs) if beside else pairs
    elif beside:
        crops = beside.remembering(crops)
    with Prefetch(crops, options.batch_size + SPARE) as ahead:
        drivers = Timed(ahead)
        resting = rests and not film
        report = render_to_file(
            reenactor,
            source,
            motions_with_rest(reenactor, drivers, options, source.image) if resting else drivers,
            output,
            options,
            like=like,
            total=film.length(length, video.reader.rate) if film else length,
            still=cropped_still,
            beside=beside,
            paste_back=paste_back,
            searched=searched,
            encoding=encoding,
            keep_partial=keep_partial,
            resume=resume,
            progress=progress,
        )
    films = [video, film] if film else [video]
    driver = Stages(
        decode=sum(each.decode_seconds for each in films),
        crop=sum(each.crop_seconds for each in films),
        network=-drivers.seconds,  # waiting for a crop is no work of theirs
        encode=0.0,
    )
    report = report.with_driver(driver, len(video.lost), *(note for each in films for note in each.notes))
    return replace(report, notes=(*report.notes, *faces.notes), lost=lost, spans=video.lost_spans)
