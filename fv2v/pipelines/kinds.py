# SPDX-License-Identifier: Apache-2.0
"""What a driver or a source is: told by the file, so that one command takes what people have."""

from pathlib import Path
from typing import Any

from fv2v.codec.file import SUFFIX as CODED
from fv2v.io.container import is_one_picture, open_file, video_streams
from fv2v.io.frame_folder import is_frames
from fv2v.io.image import IMAGE_SUFFIXES
from fv2v.io.paths import PathLike, check_input
from fv2v.io.video import read_video
from fv2v.motion.coefficients import COEFFICIENT_SUFFIXES
from fv2v.motion.npz import MOTION_SUFFIXES

FILM, PICTURE, MOTION, SOUND = "a film", "a picture", "motion", "sound"
TAKES = {  # what takes a kind of file
    FILM: "fv2v reenact takes",
    PICTURE: "fv2v reenact or fv2v imitate takes",
    MOTION: "fv2v reenact takes",
    SOUND: "--sound takes: fv2v makes no motion of it",
}
MOTION_FILES = {*MOTION_SUFFIXES, *COEFFICIENT_SUFFIXES, CODED}


def kind_of(driving: PathLike) -> str:
    """`FILM`, also a folder or a pattern of frames, `PICTURE`, or `MOTION`, coded or as coefficients too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty.
    """
    if is_frames(driving):
        return FILM
    path = check_input(Path(driving))
    if path.suffix.lower() in MOTION_FILES:
        return MOTION
    return PICTURE if is_one_picture(path) else FILM


def kind_of_source(path: PathLike) -> str:
    """The same of what is moved; a file that is named as a picture counts as one, whatever is wrong with it.

    Only .webp holds films, too; and a .gif of one frame is a picture.
    """
    suffix = Path(path).suffix.lower()
    if suffix in IMAGE_SUFFIXES and suffix != ".webp" and not is_frames(path):
        return PICTURE
    kind = kind_of(path)
    is_still_gif = kind == FILM and suffix == ".gif" and sum(1 for _ in read_video(path, frames=2)) == 1
    return PICTURE if is_still_gif else kind


def check_kind(path: PathLike, wanted: str, *kinds: str) -> None:
    """Check that a file may be of one of those kinds.

    What is nothing that fv2v knows passes, for its reader to say so.

    Args:
        path: the file.
        wanted: what errors call what is expected.
        kinds: those that it may be of.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another kind; it says which command takes that.
    """
    kind: str | None = kind_of_source(path)
    if kind == FILM and not is_frames(path):
        kind = _film_or_sound(Path(path))
    if kind is not None and kind not in kinds:
        raise ValueError(f"{path}: expected {wanted}, found {kind}, which {TAKES[kind]}")


def _film_or_sound(path: Path) -> str | None:
    try:
        with open_file(path) as container:
            pictures, sound = video_streams(container), container.streams.audio
            return FILM if pictures else SOUND if sound else None
    except ValueError:
        return None


def check_given(path: PathLike, kind: str, **given: Any) -> None:
    """ValueError for an option that a file of that kind leaves nothing to do; None: it was not given."""
    name = next((name for name, value in given.items() if value is not None), None)
    if name is not None:
        raise ValueError(f"{path} is {kind}: expected no {name.replace('_', ' ')} with it")
