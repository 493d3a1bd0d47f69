# SPDX-License-Identifier: Apache-2.0
"""Targets of several readers each, which an input's first byte chooses."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hostile_folders import unpacked

from fv2v.cli.rows import call_of, read_values
from fv2v.codec.file import read_recording
from fv2v.codec.portrait import decode_portrait
from fv2v.data.pairs import Draw
from fv2v.data.videos import VideoFolder
from fv2v.diagnostics.coded import recording_tables
from fv2v.diagnostics.path_info import about
from fv2v.io.frame_folder import FrameFolder, is_frames
from fv2v.jobs.plan import Job, plan
from fv2v.jobs.results import LINES, open_results
from fv2v.jobs.table import read_rows
from fv2v.pipelines.coded import sound_file
from fv2v.training.state import latest

INPUTS = ("p.png", "d.mp4", "m.npz", "c.npy")  # that rows of jobs may name
PLANNED = 16  # rows of a table, at most


def read_jobs(path: Path) -> None:
    """A table of jobs and what its rows ask for, or results of jobs."""
    data = path.read_bytes()
    suffix = (".jsonl", ".csv", ".toml", "")[data[0] % 4 if data else 0]
    folder = _emptied(path.with_suffix(""))
    os.chdir(folder)
    for name in INPUTS:
        Path(name).write_bytes(b"content")
    rows = []
    if suffix:
        table = Path(f"jobs{suffix}")
        table.write_bytes(data[1:])
        rows = read_rows(table)[:PLANNED]
    else:
        (folder / "out").mkdir()
        (folder / "out" / LINES).write_bytes(data[1:])
    with open_results("out") as results:
        for each in plan(rows, results, read_values):
            if isinstance(each, Job):
                with suppress(ValueError):
                    call_of(each.words)


def read_folder(path: Path) -> None:
    """Frames, weights, videos for training, its checkpoints, or a recording, with its table.

    After the first byte comes a folder, as hostile_folders.py has it.
    """
    data = path.read_bytes()
    read = FOLDERS[data[0] % len(FOLDERS) if data else 0]
    folder = _emptied(path.with_suffix(""))
    unpacked(data[1:], folder)
    read(folder)


def _read_frames(folder: Path) -> None:
    for _ in FrameFolder(folder):
        pass


def _read_pattern(folder: Path) -> None:
    for pattern in [each for each in folder.iterdir() if is_frames(folder / f"x{each.name}")]:
        for _ in FrameFolder(pattern.with_name(f"x{pattern.name}")):
            pass


def _read_recording(folder: Path) -> None:
    for path in folder.iterdir():
        recording_tables(path)
        recording = read_recording(path)
        sound_file(recording, folder)
        decode_portrait(recording.portrait)


FOLDERS: tuple[Callable[[Path], object], ...] = (
    about,
    _read_frames,
    _read_pattern,
    lambda folder: VideoFolder(folder, 8)[Draw(0, 0)],
    latest,
    _read_recording,
)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
