# SPDX-License-Identifier: Apache-2.0
"""A portrait driven by a video."""

import time
from typing import TYPE_CHECKING, Any

from fv2v.checkpoints import Weights
from fv2v.config import ModelConfig
from fv2v.face.portrait import crop_portrait
from fv2v.io.encoders import DEFAULT, check_codec
from fv2v.io.paths import PathLike, check_output
from fv2v.io.prefetch import Prefetch, Timed
from fv2v.io.video import VIDEO_SUFFIXES
from fv2v.pipelines.driving import DrivingVideo
from fv2v.pipelines.model import ModelChoice
from fv2v.pipelines.report import Report, Stages
from fv2v.pipelines.write import SPARE, paths_given, render_to_file
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
    strict: bool = False,
    crop: bool = True,
    face: Any = 1,
    driving_face: Any = 1,
    paste_back: bool = False,
    device: str | None = None,
    dtype: str = "float32",
    codec: str = DEFAULT,
    progress: FrameProgress | None = None,
    **animation: "Unpack[AnimationKeywords]",
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
        reenactor: one that is loaded already, in place of those four.
        still: a picture of a face whose expression `edit` blends in.
        frames: stop after so many; the sound is cut to match.
        strict: refuse a video with a damaged frame. By default the damage is concealed, and one of the
            report's `notes` counts and times such frames.
        crop: cut the square around the face out of portrait and video. False takes their middle squares.
        face, driving_face: which one in the portrait and in the video: 1 is the largest, 2 the next; or its
            coordinates, or what finds it, as `fv2v.face.portrait.choose_face` takes it.
        paste_back: put the moved face back into the whole portrait, and write that.
        codec: of the video, a key of `fv2v.io.encoders.ENCODERS`.
        progress: called after each frame.
        animation: how the portrait follows the video, the fields of `fv2v.reenactor.options.AnimationOptions`
            one by one: `relative`, `view`, `steady`, `edit`, `batch_size` and its others. `steady=True`
            smooths at the video's frame rate.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        TypeError: a keyword that is not listed here.
        ValueError: a file that cannot be used, or options that do not fit the preset; one line that says why.
    """
    options = AnimationOptions(**animation)
    output = check_output(output, VIDEO_SUFFIXES, paths_given(portrait, driving, still))
    check_codec(codec, output)
    model = ModelChoice(preset, weights, device, dtype, reenactor, requirements=[options.check])
    model.check()
    started = time.perf_counter()
    cropped = crop_portrait(portrait, crop, face)
    cropped_still = None if still is None else crop_portrait(still, crop)
    video = DrivingVideo(driving, crop, driving_face, frames, strict)
    searched = time.perf_counter() - started
    reenactor = model.load()
    with Prefetch(video.crops(reenactor.config), options.batch_size + SPARE) as ahead:
        drivers = Timed(ahead)
        report = render_to_file(
            reenactor,
            cropped,
            drivers,
            output,
            options,
            like=video.reader,
            total=video.reader.length,
            still=cropped_still,
            paste_back=paste_back,
            searched=searched,
            codec=codec,
            progress=progress,
        )
    driver = Stages(
        decode=video.decode_seconds,
        crop=video.crop_seconds,
        network=-drivers.seconds,  # waiting for a crop is no work of theirs
        encode=0.0,
    )
    return report.with_driver(driver, video.missing, video.reader.note_on_damage)
