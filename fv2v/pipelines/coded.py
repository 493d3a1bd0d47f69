# SPDX-License-Identifier: Apache-2.0
"""A portrait and a video's motion as a small `.fv2v` file, and the film that it stands for."""

import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2v.checkpoints import Weights
from fv2v.codec import CodecError, MotionDecoder, MotionEncoder
from fv2v.codec.file import SUFFIX, Recording, read_recording, write_recording
from fv2v.codec.portrait import PSNR, check_portrait_format, decode_portrait, encode_portrait
from fv2v.codec.sound import check_kbps, sound_of
from fv2v.config import ModelConfig
from fv2v.face.crop import middle_square, resized
from fv2v.face.cropping import Crops
from fv2v.face.portrait import CroppedPortrait, crop_portrait
from fv2v.geometry import Motion
from fv2v.io.audio import check_sound
from fv2v.io.encoders import Encoding
from fv2v.io.interruption import Keep
from fv2v.io.kept_pictures import KeptPictures
from fv2v.io.limits import reading
from fv2v.io.paths import PathLike, check_output
from fv2v.io.prefetch import Prefetch
from fv2v.io.timing import Span
from fv2v.io.video import check_film
from fv2v.motion.npz import MOTION_SUFFIXES, read_motion
from fv2v.motion.sequence import MotionSequence, check_fits
from fv2v.pipelines.anchor import anchor_of_motion, read_anchor
from fv2v.pipelines.driving import DrivingVideo
from fv2v.pipelines.extract import extract_motion
from fv2v.pipelines.kinds import MOTION, check_kind
from fv2v.pipelines.model import ModelChoice
from fv2v.pipelines.report import Report
from fv2v.pipelines.write import SPARE, chosen_sound, paths_given, render_to_file
from fv2v.progress import FrameProgress
from fv2v.reenactor import Reenactor
from fv2v.reenactor.options import AnimationOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fv2v.reenactor.options import AnimationKeywords


@dataclass(frozen=True, slots=True, kw_only=True)
class CodingOptions:
    """How fine each part is sent."""

    quality: float | str = 75  # of the motion, as `MotionEncoder` takes it
    kbps: float | None = None  # of the motion, at most
    keypoints: int | None = None  # how many, from the first on, move by more than the head; None: all
    refresh: float = 5.0  # seconds from one frame that decodes alone to the next
    portrait_format: str = "smallest"  # as `encode_portrait` takes it
    portrait_psnr: float = PSNR  # dB
    sound_kbps: float | None = None  # as Opus; None: as it is

    def encoder(self, config: ModelConfig, rate: float) -> MotionEncoder:
        """For frames at that rate. ValueError for options out of range."""
        check_kbps(self.sound_kbps)
        if not self.refresh > 0:
            raise ValueError(f"expected more than 0 seconds between refreshes, got {self.refresh}")
        every = max(1, round(self.refresh * rate))
        return MotionEncoder(
            config, self.quality, refresh=every, kbps=self.kbps, fps=rate, keypoints=self.keypoints
        )


def encode(
    portrait: PathLike,
    driving: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    coding: CodingOptions | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    sound: PathLike | None = None,
    frames: int | None = None,
    crop: Crops = True,
    face: Any = 1,
    driving_face: Any = 1,
    batch_size: int = 1,
    device: str | None = None,
    dtype: str = "float32",
    progress: FrameProgress | None = None,
) -> Report:
    """Code a portrait once, and the motion and sound of a video: all that `decode` needs beside the weights.

    Args:
        portrait: a picture with a face; the crop that the networks see is kept, at their size.
        driving: a video of a face; or motion, .npz or .pkl, as `fv2v.extract` writes it.
        output: .fv2v.
        coding: how fine.
        sound: a file whose sound goes along, where `driving` is motion; a video's own goes along.
        preset, weights, reenactor, frames, crop, face, driving_face, batch_size, device, dtype, progress: as
            `fv2v.extract` and `fv2v.reenact` take them.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        ValueError: a file that cannot be used, or options out of range; one line that says why.
    """
    coding = coding or CodingOptions()
    output = check_output(output, (SUFFIX,), paths_given(portrait, driving, sound))
    from_file = Path(driving).suffix.lower() in MOTION_SUFFIXES
    if sound is not None and not from_file:
        raise ValueError(f"{driving} is a video, whose own sound goes along: expected no other, got {sound}")
    span = Span(frames=frames)
    sequence = read_motion(driving).part(span) if from_file else None
    model = ModelChoice(
        preset,
        weights,
        device,
        dtype,
        reenactor,
        driven_by="pictures" if sequence is None else None,
        requirements=[partial(_check_coding, coding, sequence)],
    )
    model.check()
    if sound is not None:
        check_sound(sound)
    started = time.perf_counter()
    cropped = crop_portrait(portrait, crop, face)
    missing = 0
    if sequence is None:
        video = DrivingVideo(driving, crop, driving_face, span)
        reenactor = model.load()
        with Prefetch(video.crops(reenactor.config), batch_size + SPARE) as ahead:
            motion = extract_motion(reenactor, ahead, batch_size, video.reader.length, progress)
        timing, missing, sound = video.reader.timing, len(video.lost), driving
    else:
        reenactor = model.load()
        motion, timing = sequence.motion, sequence.timing
    config = reenactor.config
    encoder = coding.encoder(config, float(timing.rate))
    packets = [encoder.encode(motion[i : i + 1]) for i in range(len(motion))]
    recording = Recording(
        config.name,
        config.keypoints,
        timing,
        encode_portrait(
            resized(cropped.image, config.image_size, config.resize),
            coding.portrait_psnr,
            coding.portrait_format,
        ),
        packets,
        b"" if sound is None else sound_of(sound, timing.end, coding.sound_kbps),
        tuple(range(0, len(packets), encoder.refresh)),
    )
    write_recording(output, recording)
    return Report(output, len(packets), time.perf_counter() - started, missing)


def decode(
    coded: PathLike,
    output: PathLike,
    preset: str | ModelConfig | None = None,
    *,
    weights: Weights | None = None,
    reenactor: Reenactor | None = None,
    frames: int | None = None,
    start: float | None = None,
    end: float | None = None,
    codec: str | None = None,
    crf: int | None = None,
    encoder_preset: str | None = None,
    keep_partial: Keep = False,
    resume: KeptPictures | None = None,
    sound: PathLike | None = None,
    device: str | None = None,
    dtype: str = "float32",
    progress: FrameProgress | None = None,
    **animation: "Unpack[AnimationKeywords]",
) -> Report:
    """Render what `encode` coded: a frame for each of its frames, with time stamps and sound.

    A file that is cut short is rendered up to there, and the report says so.

    Args:
        coded: .fv2v.
        output, codec, crf, encoder_preset: as `fv2v.write_video` takes them.
        frames, start, end, sound: as `fv2v.reenact` takes them.
        preset, weights, reenactor, device, dtype: as `fv2v.reenact` takes them; of the preset that was coded.
        keep_partial, resume, progress, animation: as `fv2v.reenact` takes them.

    Raises:
        FileNotFoundError: a file or the output's folder is absent.
        ValueError: a file that cannot be used, or of another preset; one line that says why.
    """
    options = AnimationOptions(**animation)
    encoding = Encoding(codec, crf, encoder_preset)
    output = check_film(output, encoding, paths_given(coded, sound))
    check_kind(coded, "a .fv2v file", MOTION)
    recording = read_recording(coded)
    taken = Span(start, end, frames).of(recording.timing)
    given = read_anchor(options.anchor, crop=True)
    model = ModelChoice(
        preset,
        weights,
        device,
        dtype,
        reenactor,
        driven_by=None,
        requirements=[partial(check_preset, recording), options.check],
    )
    model.check()
    with reading(Path(coded), "damaged: no portrait that can be decoded"):
        picture = decode_portrait(recording.portrait)
    reenactor = model.load()
    with reading(Path(coded), "damaged: no motion that can be decoded"):
        whole = decode_motion(recording, reenactor.config)
    motion, timing = whole[taken], recording.timing.part(taken)
    box = middle_square(picture)
    if given is not None:
        sequence = MotionSequence(motion, timing, reenactor.config.name)
        options = replace(options, anchor=anchor_of_motion(given, reenactor, sequence, picture))
    with tempfile.TemporaryDirectory() as folder:
        own = sound_file(recording, Path(folder))
        sound = chosen_sound(sound, coded, own)
        report = render_to_file(
            reenactor,
            CroppedPortrait(picture, picture, box),
            motion,
            output,
            options,
            like=timing,
            total=len(motion),
            sound=sound,
            sound_of=coded if sound == own else None,
            encoding=encoding,
            keep_partial=keep_partial,
            resume=resume,
            progress=progress,
        )
    if recording.truncated:
        note = f"{coded}: cut short after {len(whole)} frames"
        report = replace(report, notes=(*report.notes, note))
    return report


def decode_motion(recording: Recording, config: ModelConfig) -> Motion:
    """The motion of all frames; CodecError for packets that are damaged, or do not follow each other."""
    decoder, frames = MotionDecoder(config), []
    for number, packet in enumerate(recording.packets):
        frames.append(decoder.decode(packet))
        if decoder.status != "new":
            raise CodecError(f"damaged: frame {number} does not follow from the frames before")
    return Motion.cat(frames)


def _check_coding(coding: CodingOptions, sequence: MotionSequence | None, config: ModelConfig) -> None:
    """Whether a preset is moved by such motion, and the options are in range."""
    if sequence is not None:
        check_fits(sequence, config)
    coding.encoder(config, 25.0)
    check_portrait_format(coding.portrait_format)


def check_preset(recording: Recording, config: ModelConfig) -> None:
    """Whether a preset's weights can show a recording; its first packet says whose motion it is."""
    if config.driven_by == "coefficients":
        raise ValueError(
            f"{config.name!r} reads a portrait's 3DMM coefficients as well, which no {SUFFIX} holds"
        )
    try:
        MotionDecoder(config).decode(recording.packets[0])
    except CodecError as error:
        raise CodecError(
            f"{error}; this is motion of {recording.preset!r}, {recording.keypoints} keypoints: expected its "
            "weights"
        ) from None


def sound_file(recording: Recording, folder: Path) -> Path | None:
    """The file in `folder` where the sound was put; None: there is none, or too little of it arrived."""
    path = folder / "sound.mka"
    path.write_bytes(recording.sound)
    try:
        check_sound(path)
    except ValueError:
        return None
    return path
