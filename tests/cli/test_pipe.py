# SPDX-License-Identifier: Apache-2.0
"""`fv2v reenact SOURCE -`: the driver comes through a pipe."""

import io
import os
import subprocess
import sys
from pathlib import Path

import clips
import numpy as np
import pytest
from refusals import assert_refused
from tiny import TINY_VOX

from fv2v.io.video import read_video
from fv2v.reenactor import Reenactor


@pytest.fixture
def files(tmp_path) -> Path:
    Reenactor(TINY_VOX, weights="random").save(tmp_path / "vox.safetensors")
    images = clips.moving_picture(clips.portrait(), 3, size=64)
    for name in ("film.mp4", "film.mkv"):
        clips.write_clip(tmp_path / name, images, fps=10, audio="aac")
    return tmp_path


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_a_film_through_a_pipe_is_the_film(files, name):
    """Also one whose index follows its frames; with its sound. Nothing is left behind."""
    temporary = files / "temporary"
    temporary.mkdir()
    words = [sys.executable, "-m", "fv2v", "reenact", clips.PORTRAIT]
    known = ["--no-crop", "-w", files / "vox.safetensors", "-o"]
    with (files / name).open("rb") as film:
        piped = subprocess.run(
            [*words, "-", *known, files / "piped.mp4"],
            stdin=film,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"TMPDIR": str(temporary)},
        )
    assert piped.returncode == 0, piped.stderr
    assert not list(temporary.iterdir())
    subprocess.run([*words, files / name, *known, files / "named.mp4"], check=True, capture_output=True)
    films = [read_video(files / each) for each in ("piped.mp4", "named.mp4")]
    assert np.array_equal(*(np.stack(list(film)) for film in films))
    assert films[0].times == films[1].times
    assert (files / "piped.mp4").read_bytes() == (files / "named.mp4").read_bytes()


class Typed(io.TextIOWrapper):
    """stdin as a test has it."""

    def __init__(self, data: bytes, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data))
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("data", "terminal", "more", "message"),
    [
        (b"", False, (), "-: expected a film from a pipe, got nothing"),
        (b"film", True, (), "-: expected a film from a pipe, as `... | fv2v reenact SOURCE -`; got a termi"),
        (b"film", False, ("--resume",), "-: expected no --resume with a pipe, whose film cannot be known"),
        (b"no film", False, (), "stdin: not a video that FFmpeg can read, or a damaged one"),
    ],
)
def test_what_no_pipe_gives(fv2v, tmp_path, monkeypatch, data, terminal, more, message):
    monkeypatch.setattr(sys, "stdin", Typed(data, terminal))
    out = tmp_path / "out.mp4"
    assert_refused(fv2v("reenact", clips.PORTRAIT, "-", "-o", out, "-w", "random", *more), message)
    assert not out.exists()
