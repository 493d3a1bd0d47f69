# SPDX-License-Identifier: Apache-2.0
"""Bytes against likeness: motion by `fv2v.codec` beside the codecs of whole pictures, on the same clips.

Each clip's first frame is the portrait, coded once; motion drives it absolutely. What is measured is pictures
against the clip's own. A model repaints: its pictures may look right where pixels differ, and PSNR counts
each pixel that moved by a hair. So SSIM, MS-SSIM and any judge given stand beside it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fv2v.codec import MotionDecoder, MotionEncoder
from fv2v.codec.portrait import decode_portrait, encode_portrait
from fv2v.config import ModelConfig
from fv2v.data.synthetic import SyntheticHeads
from fv2v.face.fixed import middle_crops
from fv2v.geometry import Motion, Source
from fv2v.io.paths import PathLike, check_input
from fv2v.io.video import read_video
from fv2v.metrics.held_out import HELD_OUT
from fv2v.metrics.pictures import knows_ssim, ms_ssim, psnr, ssim
from fv2v.metrics.video_codecs import VideoCodec, available, code_video
from fv2v.progress import FrameProgress
from fv2v.reenactor import Reenactor

QUALITIES = (25, 50, 62.5, 75, 100)
DEFAULT = 75
SRTP, DATA_CHANNEL = 50, 93  # bytes of headers that each packet carries on the wire (IP and UDP included)
VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
OURS = "fv2v"

Judge = Callable[[Tensor, Tensor], Tensor]  # (B, 3, n, n) twice -> (B,)


@dataclass(slots=True)
class Point:
    """One codec at one level, over all clips."""

    codec: str
    level: float  # quality, or crf
    frame_bytes: float  # a frame, after the first
    first_bytes: float  # of the first frame: a key frame, or the portrait with its motion
    total_bytes: float  # a frame, the first included
    srtp_bytes: float  # a frame after the first, on the wire
    data_channel_bytes: float
    psnr: float  # mean over frames after the first
    ssim: float | None
    ms_ssim: float | None
    judges: dict[str, float] = field(default_factory=dict)
    exact_psnr: float | None = None  # of pictures by decoded motion against those by motion as it was
    sizes: list[int] = field(default_factory=list)  # bytes of each frame of the first clip
    shown: np.ndarray | None = None  # the last frame of the first clip


@dataclass(slots=True)
class Study:
    points: list[Point]
    clips: int
    frames: int
    size: int
    fps: float
    settings: dict[str, str]  # of each codec
    true: np.ndarray  # the last frame of the first clip


def drawn_clips(size: int, clips: int, frames: int, fps: float, seed: int = 0) -> Iterator[list[np.ndarray]]:
    """Held-out heads, who turn and speak."""
    heads = SyntheticHeads(size, clips, HELD_OUT + seed)
    return (list(heads.clip(number, frames, fps)) for number in range(clips))


def read_clips(path: PathLike, size: int, clips: int, frames: int, resize: str) -> Iterator[list[np.ndarray]]:
    """The middle squares of a video, or of those in a folder: face crops, as models take them."""
    folder = Path(path)
    if folder.is_dir():
        files = sorted(each for each in folder.rglob("*") if each.suffix.lower() in VIDEOS)
    else:
        files = [check_input(folder)]
    if not files:
        raise ValueError(f"{path}: expected videos, {', '.join(VIDEOS)}; found none")
    return (list(middle_crops(read_video(each, frames=frames), size, resize)) for each in files[:clips])


def read_judge(path: PathLike, device: torch.device) -> Judge:
    """A program of torch.export (.pt2) from two batches of pictures in [0, 1] to a number each."""
    path = check_input(path)
    try:
        network = torch.export.load(path).module()
    except Exception as error:  # torch documents none: anything that its reader raises
        raise ValueError(f"{path}: expected a program of torch.export (.pt2): {error}") from None
    return lambda images, true: network(images.to(device), true.to(device)).flatten().cpu()


def measure_bandwidth(
    reenactor: Reenactor,
    clips: Iterable[Sequence[np.ndarray]],
    *,
    fps: float = 25.0,
    qualities: Sequence[float] = QUALITIES,
    codecs: dict[str, VideoCodec] | None = None,
    judges: dict[str, Judge] | None = None,
    progress: FrameProgress | None = None,
) -> Study:
    """Code every clip at every level of every codec, and compare with the clip.

    Args:
        reenactor: whose pictures stand for motion; its input and output are of one size.
        clips: frames (n, n, 3) uint8, n = `image_size`, two at least of each.
        codecs: those to compare with; None: all that this build of FFmpeg has.
        judges: by name, what else to measure.
        progress: called after each clip.

    Raises:
        ValueError: a preset whose pictures are larger than it sees, or that coefficients drive; a clip of one
            frame; no clips.
    """
    config = reenactor.config
    if config.output_size != config.image_size or config.driven_by != "pictures":
        raise ValueError(
            f"{config.name!r}: expected a preset that paints the {config.image_size} pixels it sees and is "
            "driven by pictures"
        )
    codecs = available() if codecs is None else codecs
    scores: dict[tuple[str, float], list[Point]] = {}
    true, count, frames_seen = None, 0, 0
    for clip in clips:
        if len(clip) < 2:
            raise ValueError("expected clips of two frames at least, got one")
        frames_seen = max(frames_seen, len(clip))
        true = clip[-1] if true is None else true
        rated = [*_by_motion(reenactor, clip, qualities, judges or {})]
        for name, codec in codecs.items():
            for level in codec.levels:
                coded = code_video(codec, level, clip, fps)
                rated.append(_point(name, level, coded.sizes, coded.frames, clip, judges or {}))
        for point in rated:
            scores.setdefault((point.codec, point.level), []).append(point)
        count += 1
        if progress:
            progress(count, None)
    if true is None:
        raise ValueError("expected one clip at least, got none")
    settings = {name: f"{codec.encoder} {codec.setting}" for name, codec in codecs.items()}
    return Study(
        [_mean(points) for points in scores.values()],
        count,
        frames_seen,
        config.image_size,
        fps,
        {OURS: "MotionEncoder, one refresh, one frame a packet", **settings},
        true,
    )


def ratio_at(study: Study, other: str, quality: float = DEFAULT, judge: str = "psnr") -> tuple[float, bool]:
    """How many times our bytes a frame, the first included, another codec takes for pictures as like.

    Between its levels the logarithm of its bytes is interpolated. The flag says whether it was: beyond its
    levels the nearest one counts, and the ratio is a bound.
    """
    ours = next(point for point in study.points if (point.codec, point.level) == (OURS, quality))
    theirs = sorted(
        (getattr(point, judge), point.total_bytes) for point in study.points if point.codec == other
    )
    likeness = [like for like, _ in theirs]
    wanted = getattr(ours, judge)
    logs = np.interp(wanted, likeness, np.log([size for _, size in theirs]))
    return float(np.exp(logs) / ours.total_bytes), likeness[0] <= wanted <= likeness[-1]


def _by_motion(
    reenactor: Reenactor, clip: Sequence[np.ndarray], qualities: Sequence[float], judges: dict[str, Judge]
) -> Iterator[Point]:
    portrait = encode_portrait(np.ascontiguousarray(clip[0]))
    source = reenactor.encode(decode_portrait(portrait))
    motions = [reenactor.extract(frame) for frame in clip]
    exact = _rendered(reenactor, source, motions)
    for quality in qualities:
        sizes, decoded = _coded(reenactor.config, motions, quality)
        sizes[0] += len(portrait)
        shown = _rendered(reenactor, source, decoded)
        point = _point(OURS, quality, sizes, shown, clip, judges)
        point.exact_psnr = float(psnr(_pictures(shown[1:]), _pictures(exact[1:])).mean())
        yield point


def _coded(config: ModelConfig, motions: Sequence[Motion], quality: float) -> tuple[list[int], list[Motion]]:
    encoder, decoder = MotionEncoder(config, quality), MotionDecoder(config)
    packets = [encoder.encode(motion) for motion in motions]
    return [len(packet) for packet in packets], [decoder.decode(packet) for packet in packets]


def _rendered(reenactor: Reenactor, source: Source, motions: Sequence[Motion]) -> list[np.ndarray]:
    return list(reenactor.animate(source, Motion.cat(motions), relative=False))


def _point(
    codec: str,
    level: float,
    sizes: list[int],
    shown: Sequence[np.ndarray],
    clip: Sequence[np.ndarray],
    judges: dict[str, Judge],
) -> Point:
    after = float(np.mean(sizes[1:]))
    images, true = _pictures(shown[1:]), _pictures(clip[1:])
    known = knows_ssim()
    return Point(
        codec,
        level,
        after,
        float(sizes[0]),
        float(np.mean(sizes)),
        after + SRTP,
        after + DATA_CHANNEL,
        float(psnr(images, true).mean()),
        float(ssim(images, true).mean()) if known else None,
        float(ms_ssim(images, true).mean()) if known else None,
        {name: float(judge(images, true).mean()) for name, judge in judges.items()},
        sizes=list(sizes),
        shown=shown[-1],
    )


def _mean(points: Sequence[Point]) -> Point:
    """Of one codec and level over clips; sizes and pictures are the first clip's."""
    first = points[0]

    def mean(name: str) -> float:
        return float(np.mean([getattr(point, name) for point in points]))

    return replace(
        first,
        frame_bytes=mean("frame_bytes"),
        first_bytes=mean("first_bytes"),
        total_bytes=mean("total_bytes"),
        srtp_bytes=mean("srtp_bytes"),
        data_channel_bytes=mean("data_channel_bytes"),
        psnr=mean("psnr"),
        ssim=None if first.ssim is None else mean("ssim"),
        ms_ssim=None if first.ms_ssim is None else mean("ms_ssim"),
        exact_psnr=None if first.exact_psnr is None else mean("exact_psnr"),
        judges={name: float(np.mean([point.judges[name] for point in points])) for name in first.judges},
    )


def _pictures(frames: Sequence[np.ndarray]) -> Tensor:
    levels = torch.from_numpy(np.stack(frames))
    return levels.permute(0, 3, 1, 2).float() / 255
