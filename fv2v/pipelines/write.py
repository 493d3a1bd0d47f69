# SPDX-License-Identifier: Apache-2.0
"""From the networks to the file: frames are written while the next ones are rendered."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fv2v.face.portrait import CroppedPortrait
from fv2v.geometry import Motion
from fv2v.io.audio import check_sound, note_on_sound, sound_track
from fv2v.io.encoders import Encoding, note_on_opacity
from fv2v.io.h264 import note_on_size
from fv2v.io.interruption import Interruption, Keep
from fv2v.io.kept_pictures import KeptPictures
from fv2v.io.paths import PathLike
from fv2v.io.prefetch import Prefetch, Timed
from fv2v.io.timing import Timing
from fv2v.io.video import write_video
from fv2v.io.video_reader import VideoReader
from fv2v.motion.edit import with_still
from fv2v.pipelines.compare import SideBySide
from fv2v.pipelines.report import Report, Stages
from fv2v.pipelines.source_film import SourceFilm
from fv2v.progress import FrameProgress
from fv2v.reenactor import Reenactor
from fv2v.reenactor.options import AnimationOptions

SPARE = 4  # frames that may wait between two stages, beside a batch: a late one then holds up no other stage


def render_to_file(
    reenactor: Reenactor,
    portrait: CroppedPortrait | SourceFilm,
    frames: Iterable[Any] | Motion,
    output: Path,
    options: AnimationOptions,
    *,
    like: VideoReader | Timing,
    total: int | None,
    encoding: Encoding,
    coefficients: np.ndarray | None = None,
    still: CroppedPortrait | None = None,
    sound: PathLike | None = None,
    sound_of: PathLike | None = None,
    beside: SideBySide | None = None,
    paste_back: bool = False,
    searched: float = 0.0,
    keep_partial: Keep = False,
    resume: KeptPictures | None = None,
    progress: FrameProgress | None = None,
) -> Report:
    """Animate a portrait and write the video.

    Args:
        portrait: the picture and its crop, or a film.
        frames: what drives it: crops of driving frames, motion, or (T, 70 or 73) coefficients, of which the
            columns count that the preset reads. Of a film pairs, as `SourceFilm.paired` makes them.
        like: the time stamps of the frames; a video's sound goes along, too.
        total: how many frames there will be, where known.
        coefficients: (70 or 73,), the portrait's own, where the preset reads them.
        still: a face whose expression `options.edit` blends in.
        sound: a file whose sound goes along, where `like` is no video.
        sound_of: what it was taken from, which notes name.
        beside: puts source and driver beside each picture.
        paste_back: write the whole portrait, with the face put back into it.
        searched: seconds that finding faces took before.
        encoding: how the film is encoded.
        keep_partial: whether an interrupt leaves the film so far, or what asks for that.
        resume: pictures of an earlier call that was cut short, which are not rendered anew. Those of this one
            are kept there until the film is whole.
        progress: called after each frame.
    """
    started = time.perf_counter()
    transparent = portrait.opacity is not None and not beside
    columns = reenactor.config.head.inputs
    if isinstance(frames, np.ndarray):
        frames = frames[:, :columns]
    if still is not None:
        options = replace(options, edit=with_still(options.edit, reenactor.extract(still.image)))
    options = options.at_rate(float(like.rate))
    made = resume.taken() if resume else ()
    if isinstance(portrait, SourceFilm) and not isinstance(frames, Motion):
        images = Timed(reenactor.animate_film(portrait.encoded(reenactor, frames), options, made=made))
    else:
        own = None if coefficients is None else coefficients[:columns]
        source = reenactor.encode(portrait.image, own)
        images = Timed(reenactor.animate(source, frames, options, made=made))
    encoded = time.perf_counter() - started
    rendered: Iterable[np.ndarray] = resume.keeping(images) if resume else images
    with Prefetch(rendered, options.batch_size + SPARE) as ahead, Interruption(keep_partial) as stop:
        ready = Timed(ahead)
        finished: Iterable[np.ndarray] = (
            portrait.showing(ready) if isinstance(portrait, SourceFilm) else ready
        )
        finished = map(portrait.with_face, finished) if paste_back else finished
        finished = map(beside, finished) if beside else finished
        if transparent and encoding.holds_opacity(output):
            finished = map(partial(portrait.as_opaque, whole=paste_back), finished)
        shapes: set[tuple[int, ...]] = set()  # one
        writing = time.perf_counter()
        count = write_video(
            output,
            _counted(_measured(finished, shapes), total, progress),
            like=like,
            sound=sound,
            codec=encoding.codec,
            crf=encoding.crf,
            encoder_preset=encoding.preset,
            stop=stop,
        )
        written = time.perf_counter() - writing - ready.seconds
    if resume and not stop.arrived:
        resume.remove()
    stages = Stages(decode=0.0, crop=searched, network=encoded + images.seconds, encode=written)
    large = note_on_size(shapes.pop()) if encoding.is_h264(output) else None
    opaque = note_on_opacity(output, encoding) if transparent else None
    unseen = (f"the portrait: {remark}" for remark in portrait.remarks)
    notes = (large, opaque, _note_on_sound(like, sound, output, sound_of), *unseen)
    return Report(
        stop.kept or output,
        count,
        searched + time.perf_counter() - started,
        missing=0,
        stages=stages,
        notes=tuple(note for note in notes if note),
        interrupted=stop.arrived,
    )


def _note_on_sound(
    like: VideoReader | Timing, sound: PathLike | None, output: Path, called: PathLike | None
) -> str | None:
    path = like.sound if isinstance(like, VideoReader) else sound
    return None if path is None else note_on_sound(Path(path), output.suffix.lower(), called)


def chosen_sound(
    sound: PathLike | None, driving: PathLike, own: Path | None, source: Path | None = None
) -> Path | None:
    """The file whose sound goes along with a film; None: none does.

    Args:
        sound: a file; "driving", the driver's own; "source", the source's own; "none"; None: the driver's
            own, if it has any, else the source's.
        driving: the driver, which errors name.
        own: the file of its sound; None: it is of a kind that has none.
        source: the file of the source's sound; None: it is no film, or of a kind that has none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: one without sound, or the sound of what has none.
    """
    if sound is None:
        return own if source is None or (own is not None and sound_track(own) is not None) else source
    if sound == "none":
        return None
    if sound == "source":
        if source is None:
            raise ValueError("sound: the source is no film with sound; expected a file, driving or none")
        check_sound(source)
        return source
    if sound != "driving":
        check_sound(sound)
        return Path(sound)
    if own is None:
        raise ValueError(f"sound: {driving} has none; expected a file with sound, or none")
    return own


def paths_given(*paths: PathLike | None) -> list[PathLike]:
    """A command's inputs, without those left out: what its output must not overwrite."""
    return [path for path in paths if path is not None]


def _counted(
    images: Iterable[np.ndarray], total: int | None, progress: FrameProgress | None
) -> Iterator[np.ndarray]:
    for done, image in enumerate(images, 1):
        yield image
        if progress:
            progress(done, total)


def _measured(images: Iterable[np.ndarray], shapes: set[tuple[int, ...]]) -> Iterator[np.ndarray]:
    for image in images:
        shapes.add(image.shape)
        yield image
