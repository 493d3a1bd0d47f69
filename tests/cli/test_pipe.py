# SPDX-License-Identifier: Apache-2.0
"""`fv2v reenact SOURCE -`: the driver comes through a pipe."""

import os
import subprocess
import sys
from pathlib import Path
from pipes import Typed

import clips
import numpy as np
import pytest
from output_files import packets
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


def test_a_film_through_a_pipe_is_the_film(fv2v, files, monkeypatch):
    """Also one whose index follows its frames; with its sound. Nothing is left behind."""
    temporary = files / "temporary"
    temporary.mkdir()
    known = ["--no-crop", "-w", files / "vox.safetensors", "-o"]
    with (files / "film.mp4").open("rb") as film:
        piped = subprocess.run(
            [sys.executable, "-m", "fv2v", "reenact", clips.PORTRAIT, "-", *known, files / "piped.mp4"],
            stdin=film,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"TMPDIR": str(temporary)},
        )
    assert piped.returncode == 0, piped.stderr
    assert not list(temporary.iterdir())
    monkeypatch.setattr(sys, "stdin", Typed((files / "film.mkv").read_bytes()))
    for driving, out in (("film.mp4", "named.mp4"), ("film.mkv", "named.mkv"), ("-", "piped.mkv")):
        driving = driving if driving == "-" else files / driving
        assert fv2v("reenact", clips.PORTRAIT, driving, *known, files / out)[0] == 0
    for kind in ("mp4", "mkv"):
        films = [read_video(files / f"{name}.{kind}") for name in ("piped", "named")]
        assert np.array_equal(*(np.stack(list(film)) for film in films))
        assert films[0].times == films[1].times
        assert packets(files / f"piped.{kind}") == packets(files / f"named.{kind}")


@pytest.mark.parametrize(
    ("data", "terminal", "more", "message"),
    [
        (b"", False, (), "-: expected a film from a pipe, got nothing"),
        (b"film", True, (), "-: expected a film from a pipe, as `... | fv2v reenact SOURCE -`; got a termi"),
        (b"film", False, ("--resume",), "-: expected no --resume with a pipe, whose film cannot be known"),
        (b"no film", False, (), "stdin: not a video that FFmpeg can read"),
    ],
)
def test_what_no_pipe_gives(fv2v, tmp_path, monkeypatch, data, terminal, more, message):
    monkeypatch.setattr(sys, "stdin", Typed(data, terminal))
    out = tmp_path / "out.mp4"
    assert_refused(fv2v("reenact", clips.PORTRAIT, "-", "-o", out, "-w", "random", *more), message)
    assert not out.exists()
