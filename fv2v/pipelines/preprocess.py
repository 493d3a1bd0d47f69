# SPDX-License-Identifier: Apache-2.0
"""Raw videos into clips of faces, as the data sets are that face-vid2vid learns from.

Each clip shows a person through a square that stands, as a video call's camera does; its name is of the form
of TalkingHead-1KH's, so that training takes the clips of a video for one item (data/layouts.py).
"""

import json
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fv2v.face.crop import Box, cut
from fv2v.face.detectors.base import Face, FaceDetector
from fv2v.face.detectors.choice import find_faces
from fv2v.face.people import Stretch, stretches
from fv2v.face.visibility import YAW, is_turned_away
from fv2v.io.paths import PathLike, check_place, whole_folder
from fv2v.io.timing import Span, Timing
from fv2v.io.video import open_film, write_video
from fv2v.io.video_reader import VideoReader
from fv2v.pipelines.report import Report
from fv2v.progress import FrameProgress

LIST = "clips.jsonl"  # of all stretches of a video, beside its clips
KEYFRAMES = 12  # frames from one to the next: training reads frames here and there
OUTSIDE = 0.1  # of the square, beyond the picture's border: more is too much
SEEN = 0.9  # of a clip's frames at least show a face
TURNED = 0.5  # of them at most show one that is turned away


def preprocess(
    video: PathLike,
    output: PathLike,
    *,
    size: int = 256,
    least_frames: int = 50,
    progress: FrameProgress | None = None,
) -> Report:
    """Cut the faces of a video out: a clip for each person and shot, while the face stays about its place.

    Args:
        video: in any container and codec that PyAV reads.
        output: a new folder, or one that this function made, which is made anew. In it are the clips, H.264
            with the time stamps of the video and no sound; of each an .npz, with `boxes` (T, 4), left, top,
            right, bottom, and `points` (T, 5, 2), as `Face.points`, in pixels of the clip, NaN where no face
            was seen; and clips.jsonl: what was cut, and what was rejected, and why.
        size: pixels a side of a clip, 256 or 512 for the released models. No face is enlarged.
        least_frames: of a clip; shorter ones are rejected.
        progress: called after each frame that was searched.

    Raises:
        FileNotFoundError: no such file, or the folder that the output goes into does not exist.
        ValueError: not a video, a damaged one, or a folder that holds something else; numbers out of range.
    """
    if size < 64 or size % 2 or least_frames < 2:
        raise ValueError(
            f"expected an even size of 64 or more, and 2 frames or more, got size={size}, "
            f"least_frames={least_frames}"
        )
    started, output = time.perf_counter(), _checked(Path(output))
    film = open_film(video, Span())
    found = sorted(stretches(_counted(film, progress)), key=lambda each: (each.first, each.square.left))
    timing = film.timing
    lines: list[dict[str, Any]] = []
    with whole_folder(output) as folder:
        for stretch in found:
            name = _name(output.name, len(lines), stretch)
            reason = _unfit(stretch, size, least_frames) or _cut_out(
                film, timing, stretch, folder / name, size
            )
            lines.append(_line(None if reason else f"{name}.mp4", reason, stretch, timing))
        (folder / LIST).write_text("".join(json.dumps(line) + "\n" for line in lines))
        if output.exists():
            shutil.rmtree(output)
    frames = sum(line["frames"] for line in lines if line["clip"])
    rejected = sum(1 for line in lines if not line["clip"])
    note = f"{len(lines) - rejected} clips, {rejected} stretches rejected: {output / LIST}"
    notes = [note, *filter(None, [film.note_on_damage])]
    return Report(output, frames, time.perf_counter() - started, 0, notes=tuple(notes))


def _checked(output: Path) -> Path:
    if (
        output.exists()
        and not (output / LIST).is_file()
        and not (output.is_dir() and not any(output.iterdir()))
    ):
        raise ValueError(f"{output}: expected a new folder, or one with {LIST}; choose another name")
    check_place(output)
    return output


def _counted(film: VideoReader, progress: FrameProgress | None) -> Iterator[np.ndarray]:
    for done, frame in enumerate(film, 1):
        yield frame
        if progress is not None:
            progress(done, film.length)


def _name(video: str, number: int, stretch: Stretch) -> str:
    """Without a suffix. The place is the square's, as far as it lies in the picture."""
    square, (H, W) = stretch.square, stretch.size
    left, top = max(0, square.left), max(0, square.top)
    right, bottom = min(W, square.left + square.side), min(H, square.top + square.side)
    place = f"L{left}_T{top}_R{right}_B{bottom}"
    return f"{video}_{number:04}_S{stretch.first}_E{stretch.last}_{place}"


def _unfit(stretch: Stretch, size: int, least_frames: int) -> str:
    """Why it becomes no clip, as far as its square tells; "" where nothing is known against it."""
    square = stretch.square
    if stretch.frames < least_frames:
        return f"{stretch.frames} frames, expected {least_frames} or more"
    if square.side < size:
        return f"the square has {square.side} pixels, expected {size} or more"
    if (beyond := _outside(square, stretch.size)) > OUTSIDE:
        return f"{100 * beyond:.0f} % of the square lies outside the picture"
    return ""


def _outside(square: Box, size: tuple[int, int]) -> float:
    inside = 1.0
    for start, extent in zip((square.top, square.left), size, strict=True):
        inside *= max(0, min(start + square.side, extent) - max(start, 0)) / square.side
    return 1 - inside


def _cut_out(film: VideoReader, timing: Timing, stretch: Stretch, path: Path, size: int) -> str:
    """Write the clip and what is marked in it, under `path` and suffixes; why they were left out, or ""."""
    start = (timing.pts[stretch.first] - timing.pts[0]) * timing.time_base
    part = open_film(film.path, Span(start or None, None, stretch.frames))
    marks = _Marks(find_faces, size)
    clip = path.with_name(f"{path.name}.mp4")
    shown = timing.part(slice(stretch.first, stretch.last + 1))
    pictures = (cut(frame, stretch.square, size) for frame in part)
    count = write_video(clip, marks.passed(pictures), like=shown, keyframes=KEYFRAMES)
    reason = marks.fault() if count == stretch.frames else f"{count} of {stretch.frames} frames read again"
    if reason:
        clip.unlink()
    else:
        marks.save(path.with_name(f"{path.name}.npz"))
    return reason


class _Marks:
    """Box and points of the face in each frame of a clip."""

    def __init__(self, detector: FaceDetector, size: int) -> None:
        self._detector, self._middle = detector, size / 2
        self._faces: list[Face | None] = []

    def passed(self, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The pictures, (n, n, 3) uint8, which are looked at on their way."""
        for picture in pictures:
            faces = self._detector(picture, len(self._faces))
            self._faces.append(min(faces, key=self._off_middle, default=None))
            yield picture

    def fault(self) -> str:
        """Why the clip is of no use; "" where it is."""
        seen = [face for face in self._faces if face is not None]
        shares = len(seen) / len(self._faces), sum(map(is_turned_away, seen)) / max(1, len(seen))
        if shares[0] < SEEN:
            return f"a face is seen in {100 * shares[0]:.0f} % of the frames"
        if shares[1] > TURNED:
            return (
                f"the face is turned by more than {YAW:.0f} degrees in {100 * shares[1]:.0f} % of the frames"
            )
        return ""

    def save(self, path: Path) -> None:
        """As `preprocess` has it."""
        boxes = np.full((len(self._faces), 4), np.nan, np.float32)
        points = np.full((len(self._faces), 5, 2), np.nan, np.float32)
        for i, face in enumerate(self._faces):
            if face is not None:
                half = face.side / 2
                boxes[i] = face.x - half, face.y - half, face.x + half, face.y + half
                if face.points is not None:
                    points[i] = face.points
        np.savez(path, boxes=boxes, points=points)

    def _off_middle(self, face: Face) -> float:
        return max(abs(face.x - self._middle), abs(face.y - self._middle))


def _line(clip: str | None, reason: str, stretch: Stretch, timing: Timing) -> dict[str, Any]:
    square = stretch.square
    return {
        "clip": clip,
        "rejected": reason or None,
        "first": stretch.first,
        "last": stretch.last,
        "frames": stretch.frames,
        "start": round(float((timing.pts[stretch.first] - timing.pts[0]) * timing.time_base), 6),
        "square": [square.left, square.top, square.side],
        "ended": stretch.ended,
    }
