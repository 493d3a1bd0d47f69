# SPDX-License-Identifier: Apache-2.0
"""Clips for tests: a picture moved about, with sound, uneven time stamps or rotation metadata if wanted.

`python tests/support/clips.py driving.mp4` writes one from the portrait that ships with the tests.
"""

import argparse
import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from fv2v.face.crop import box_around, cut
from fv2v.face.find import find_face

PORTRAIT = Path(__file__).parents[1] / "data" / "mona_lisa.jpg"
TIME_BASE = Fraction(1, 90_000)


def crop_face(image: np.ndarray, size: int) -> np.ndarray:
    """(size, size, 3): the square around the largest face of (H, W, 3)."""
    return cut(image, box_around(find_face(image), image.shape[:2]), size)


def moving_picture(picture: np.ndarray, frames: int, *, size: int = 256, reach: float = 0.04) -> np.ndarray:
    """(frames, size, size, 3): the upper square of `picture` swaying, nodding and tilting a little."""
    H, W = picture.shape[:2]
    scale = size / min(H, W)
    clip = np.empty((frames, size, size, 3), np.uint8)
    for i in range(frames):
        turn = 2 * np.pi * i / max(frames, 2)
        matrix = cv2.getRotationMatrix2D((W / 2, W / 2), 4 * np.sin(turn), scale)
        matrix[:, 2] += size / 2 - W / 2 + size * reach * np.array([np.sin(turn), 0.5 * np.sin(2 * turn)])
        clip[i] = cv2.warpAffine(
            picture, matrix, (size, size), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
        )
    return clip


def uneven_pts(frames: int, fps: int = 25, seed: int = 0) -> list[int]:
    """Ticks of TIME_BASE that wander about an even rate, as phones record them."""
    steps = np.random.default_rng(seed).integers(
        TIME_BASE.denominator // fps // 2, TIME_BASE.denominator // fps * 2, frames
    )
    return np.cumsum(steps).tolist()


def write_clip(
    path: Path | str,
    images: np.ndarray,
    *,
    fps: int = 25,
    pts: list[int] | None = None,
    audio: str | None = None,
    audio_seconds: float | None = None,
    audio_start: float = 0,
    tracks: int = 1,
    rotation: int = 0,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    pixel_shape: str = "1",
) -> Path:
    """Write (T, H, W, 3) as a clip.

    pts: ticks of TIME_BASE. audio: a codec, for a 440 Hz tone in so many tracks. pixel_shape: width over
    height, as "4/3". rotation: degrees clockwise that a player
    should turn the stored pictures by; they are stored turned the other way, so the player shows `images`.
    options: of the codec, as {"g": "12"} for a keyframe every 12 frames.
    """
    ticks = pts or [i * TIME_BASE.denominator // fps for i in range(len(images))]
    mp4 = {"movie_timescale": str(TIME_BASE.denominator)}  # or a late start is rounded to a millisecond
    with av.open(str(path), "w", options=mp4 if Path(path).suffix in (".mp4", ".mov") else {}) as output:
        stored = np.rot90(images, rotation // 90, axes=(1, 2))  # rot90 turns anticlockwise
        video = output.add_stream(codec, rate=fps, options=options or {})
        video.height, video.width = stored.shape[1:3]
        video.pix_fmt, video.codec_context.time_base = pix_fmt, TIME_BASE
        if rotation:
            video.set_display_rotation(-rotation)  # PyAV counts anticlockwise
        if pixel_shape != "1":
            video.codec_context.sample_aspect_ratio = Fraction(pixel_shape)
        sounds = [output.add_stream(audio, rate=48_000, layout="mono") for _ in range(tracks) if audio]
        for image, tick in zip(stored, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = tick, TIME_BASE
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        for sound in sounds:
            seconds = (
                audio_seconds or (ticks[-1] + TIME_BASE.denominator // fps) * float(TIME_BASE) - audio_start
            )
            _write_tone(output, sound, seconds, audio_start)
    return Path(path)


def _write_tone(
    output: av.container.OutputContainer, stream: av.AudioStream, seconds: float, begin: float = 0
) -> None:
    samples = np.sin(2 * np.pi * 440 * np.arange(round(48_000 * seconds)) / 48_000)
    for start in range(0, len(samples), 1024):
        part = (samples[None, start : start + 1024] * 8000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, start + round(48_000 * begin)
        frame.time_base = Fraction(1, 48_000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def portrait() -> np.ndarray:
    """The portrait that ships with the tests, (H, W, 3) uint8 RGB."""
    return cv2.cvtColor(cv2.imread(str(PORTRAIT)), cv2.COLOR_BGR2RGB)


def real(name: str) -> Path:
    """A file of the folder FV2V_MEDIA. Unset: the test is skipped; set, and the file absent: it fails."""
    if "FV2V_MEDIA" not in os.environ:
        pytest.skip("FV2V_MEDIA is not set: no real pictures and clips")
    path = Path(os.environ["FV2V_MEDIA"]) / name
    assert path.is_file(), f"FV2V_MEDIA is set and {path} is missing"
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--frames", type=int, default=50)
    arguments = parser.parse_args()
    write_clip(arguments.output, moving_picture(portrait(), arguments.frames), audio="aac")


if __name__ == "__main__":
    main()
