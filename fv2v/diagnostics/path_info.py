# SPDX-License-Identifier: Apache-2.0
"""What a file or a folder is, in a line. No tensors are read, and of films and motion the first frames."""

from pathlib import Path

from fv2v.checkpoints import (
    fomm,
    in_folder,
    liveportrait,
    native,
    performrecast,
    sadtalker,
    zhanglonghao1992,
)
from fv2v.checkpoints.storage import outline
from fv2v.io.container import is_one_picture, open_file, open_video, video_streams
from fv2v.io.frame_folder import FrameFolder
from fv2v.io.image import read_image
from fv2v.io.paths import PathLike, check_input
from fv2v.motion.coefficients import COEFFICIENT_SUFFIXES, holds_coefficients, read_coefficients
from fv2v.motion.npz import MOTION_SUFFIXES, read_motion


def about(path: PathLike) -> str:
    """The line, without the name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file or folder that fv2v reads nothing in.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    suffix = check_input(path).suffix.lower()
    if weights := _weights(path):
        return weights
    if suffix in COEFFICIENT_SUFFIXES and holds_coefficients(path):
        rows, columns = read_coefficients(path).shape
        return f"3DMM coefficients, {rows} rows of {columns}"
    if suffix in MOTION_SUFFIXES:
        return f"motion: {read_motion(path)!r}"
    if is_one_picture(path):
        height, width, _ = read_image(path).shape
        return f"a picture of {width} x {height} pixels"
    return _film(path)


def _folder(path: Path) -> str:
    if files := in_folder(path):
        parts = (f"{file.relative_to(path)} ({_weights(file)})" for file in files)
        return f"weights: {'; '.join(parts)}"
    frames = FrameFolder(path)
    height, width = frames.size
    return f"{frames.length} frames of {width} x {height} pixels"


def _weights(path: Path) -> str | None:
    """Whose they are; None for a file that holds none."""
    if native.is_ours(path):
        return f"weights of the preset {native.preset_of(path)!r}, written by fv2v"
    for each in (zhanglonghao1992, fomm):
        if each.holds(path):
            return f"weights of {each.NAME}'s release: {', '.join(each.NETWORKS)}"
    parts = [(f"{each.NAME}'s", each.part(path)) for each in (liveportrait, performrecast, sadtalker)]
    known = [(name, part) for name, part in parts if part]
    found = f"weights of {' or '.join(name for name, _ in known)} release: {known[0][1]}" if known else None
    names = outline(path)
    if found is None and names:
        return f"tensors of no release that fv2v knows: {', '.join(list(names)[:3])}, ..."
    return found


def _sound(path: Path) -> str | None:
    """Of a file of sound alone."""
    try:
        with open_file(path) as file:
            if video_streams(file) or not file.streams.audio:
                return None
            codec = file.streams.audio[0].codec_context.codec.canonical_name
            return f"sound without pictures, {(file.duration or 0) / 1e6:.2f} s, {codec}"
    except ValueError:
        return None


def _film(path: Path) -> str:
    if sound := _sound(path):
        return sound
    with open_video(path) as film:
        stream = video_streams(film)[0]
        context = stream.codec_context
        seconds = (film.duration or 0) / 1e6
        rate = float(stream.average_rate or 0)
        tracks = [track.codec_context for track in film.streams.audio]
        sound = ", ".join(track.codec.canonical_name for track in tracks if track) or "none"
        return (
            f"a film of {context.width} x {context.height} pixels, {seconds:.2f} s, {rate:g} frames a "
            f"second, {context.codec.canonical_name}, sound: {sound}"
        )
