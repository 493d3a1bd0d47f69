"""Whole files in, whole files out. Everything cheap is checked before weights are loaded."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from fv2v.checkpoints import Weights
from fv2v.config import ModelConfig
from fv2v.face.find import find_first_face
from fv2v.face.portrait import choose_face, crop_portrait
from fv2v.face.tracking import SteadyCrop, driving_crops
from fv2v.geometry import View
from fv2v.io.image import IMAGE_SUFFIXES, write_image
from fv2v.io.paths import PathLike, check_output
from fv2v.io.prefetch import Prefetch, Timed
from fv2v.io.timing import Timing
from fv2v.io.video import VIDEO_SUFFIXES, read_video
from fv2v.motion.coefficients import driving_coefficients, pose_views, read_coefficients
from fv2v.motion.edit import Edit, with_still
from fv2v.motion.smoothing import SteadyMotion
from fv2v.pipelines.model import check_model, load_model
from fv2v.pipelines.report import Report, Stages
from fv2v.pipelines.write import SPARE, Progress, show, write_frames
from fv2v.reenactor import Reenactor


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
    steady: bool = False,
    edit: Edit | Iterable[Edit] | None = None,
    still: PathLike | None = None,
    frames: int | None = None,
    crop: bool = True,
    face: Any = 1,
    driving_face: Any = 1,
    paste_back: bool = False,
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
        steady: take the tremor out of the driver's motion, as `steadiness.py` does it.
        still: a picture of a face whose expression `edit` blends in.
        frames: stop after so many; the sound is cut to match.
        crop: cut the square around the face out of portrait and video. False takes their middle squares.
        face, driving_face: which one in the portrait and in the video, as `framing.choose_face` takes it: 1
            is the largest, 2 the next; or its coordinates, or what finds it.
        paste_back: put the moved face back into the whole portrait, and write that.
        progress: called after each frame with the frames done, and the frames to come in all where known.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        ValueError: a file that cannot be used, in one line that says why.
    """
    output = check_output(output, VIDEO_SUFFIXES, inputs=(portrait, driving))
    if batch_size < 1:
        raise ValueError(f"expected batch_size >= 1, got {batch_size}")
    check_model(reenactor, preset, weights, device, dtype)
    started = time.perf_counter()
    choice = choose_face(driving_face, crop)
    framed = crop_portrait(portrait, crop, face)
    blended = None if still is None else crop_portrait(still, crop)
    reader = read_video(driving, frames=frames)
    start = find_first_face(reader, str(reader.path), choice.number, choice.detector) if crop else None
    sought = time.perf_counter() - started
    reenactor = reenactor or load_model(preset, weights, device, dtype)
    size = reenactor.config.image_size
    started = time.perf_counter()
    decoded = Timed(reader)
    crops = driving_crops(decoded, start, size, choice.detector)
    cropped = Timed(crops)
    with Prefetch(cropped, batch_size + SPARE) as ahead:
        source = reenactor.encode(framed.image)
        if blended is not None:
            edit = with_still(edit, reenactor.extract(blended.image))
        encoded = time.perf_counter() - started
        drivers = Timed(ahead)
        images = reenactor.animate(
            source,
            drivers,
            relative=relative,
            view=view,
            adapt_scale=adapt_scale,
            stitch=stitch,
            steady=SteadyMotion(fps=float(reader.rate)) if steady else None,
            edit=edit,
            batch_size=batch_size,
        )
        shown = framed.with_face if paste_back else None
        count, made, written = write_frames(
            output, images, shown, batch_size, reader.length, progress, like=reader
        )
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
    face: Any = 1,
    paste_back: bool = False,
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
        still, expression_scale: as `fv2v.motion.coefficients.driving_coefficients` takes them.
        pitch, yaw, roll: hold the head at so many degrees, or walk it through a list of them at constant
            speed; what is left out stays the driver's.
        fps: frames a second; SadTalker makes 25 rows of them.
        crop: cut the square around the face out of the portrait. False takes its middle square.
        face, paste_back: as `reenact` takes them.
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
    check_model(reenactor, preset, weights, device, dtype, by_coefficients=True)
    own = read_coefficients(source_coefficients)[0]
    moved = driving_coefficients(
        read_coefficients(coefficients), own, expression_scale=expression_scale, still=still
    )
    views = pose_views(len(moved), pitch=pitch, yaw=yaw, roll=roll)
    started = time.perf_counter()
    framed = crop_portrait(portrait, crop, face)
    sought = time.perf_counter() - started
    reenactor = reenactor or load_model(preset, weights, device, dtype, by_coefficients=True)
    return show(
        reenactor,
        framed,
        moved,
        output,
        Timing.even(len(moved), fps),
        own=own,
        paste_back=paste_back,
        sought=sought,
        batch_size=batch_size,
        progress=progress,
        view=views,
    )


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
    face: Any = 1,
    driving_face: Any = 1,
    paste_back: bool = False,
    device: str | None = None,
    dtype: str = "float32",
) -> Report:
    """Give a portrait the expression of one driving picture, as `Reenactor.imitate` does.

    Arguments and errors as `reenact`, with a picture of a face for `driving`; writes .png, .jpg or .webp.
    """
    output = check_output(output, IMAGE_SUFFIXES, inputs=(portrait, driving))
    check_model(reenactor, preset, weights, device, dtype)
    framed = crop_portrait(portrait, crop, face)
    driver = crop_portrait(driving, crop, driving_face)
    reenactor = reenactor or load_model(preset, weights, device, dtype)
    started = time.perf_counter()
    source = reenactor.encode(framed.image)
    image = reenactor.imitate(source, driver.image, relative=relative, view=view, stitch=stitch, edit=edit)
    write_image(output, framed.with_face(image) if paste_back else image)
    return Report(output, 1, time.perf_counter() - started, 0)


def frontalize(
    portrait: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    crop: bool = True,
    face: Any = 1,
    paste_back: bool = False,
    device: str | None = None,
    dtype: str = "float32",
) -> Report:
    """Turn a portrait's face to the front. Arguments and errors as `reenact`; writes .png, .jpg or .webp."""
    output = check_output(output, IMAGE_SUFFIXES, inputs=(portrait,))
    check_model(reenactor, preset, weights, device, dtype)
    framed = crop_portrait(portrait, crop, face)
    reenactor = reenactor or load_model(preset, weights, device, dtype)
    started = time.perf_counter()
    image = reenactor.frontalize(reenactor.encode(framed.image))
    write_image(output, framed.with_face(image) if paste_back else image)
    return Report(output, 1, time.perf_counter() - started, 0)
