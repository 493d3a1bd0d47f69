# SPDX-License-Identifier: Apache-2.0
"""--start, --end and --frames: a part of a film or of motion, frame by frame that of the whole."""

from pathlib import Path

import clips
import numpy as np
import pytest
from output_files import packets
from refusals import assert_refused
from tiny import TINY_SADTALKER, TINY_VOX, coefficients, lively

from fv2v.cli.output_options import seconds
from fv2v.io.video import read_video
from fv2v.reenactor import Reenactor

FRAMES = 30
PART = ("--start", "0.4", "--end", "0:00:00.8")
TAKEN = slice(10, 20)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    clips.write_clip(folder / "driving.mp4", clips.moving_picture(clips.portrait(), FRAMES), audio="aac")
    lively(Reenactor(TINY_VOX, weights="random")).save(folder / "vox.safetensors")
    lively(Reenactor(TINY_SADTALKER, weights="random")).save(folder / "sadtalker.safetensors")
    np.save(folder / "rows.npy", coefficients(FRAMES))
    np.save(folder / "own.npy", coefficients(1, seed=1))
    return folder


@pytest.fixture
def run(fv2v, files, tmp_path, monkeypatch):
    monkeypatch.chdir(files)

    def run(command: str, *words: object) -> list[np.ndarray]:
        film = str(words[words.index("-o") + 1]).endswith(".mp4")
        code, _, err = fv2v(command, *words, *(("--crf", "0") if film else ()))
        assert (code, err) == (0, "")
        output = tmp_path / str(words[words.index("-o") + 1])
        return list(read_video(output)) if output.suffix == ".mp4" else []

    return run


def close(part: list[np.ndarray], whole: list[np.ndarray]) -> bool:
    """Frame by frame: the files are lossless."""
    assert len(part) == TAKEN.stop - TAKEN.start
    return all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(part, whole[TAKEN], strict=True))


def test_reenact(run, files, tmp_path):
    known = (clips.PORTRAIT, "driving.mp4", "--absolute", "--no-crop", "-w", "vox.safetensors")
    whole = run("reenact", *known, "-o", tmp_path / "whole.mp4")
    assert close(run("reenact", *known, "-o", tmp_path / "part.mp4", *PART), whole)
    assert packets(tmp_path / "part.mp4")[-1][0] == pytest.approx(0.4, abs=0.03)


def test_extract_and_render(run, tmp_path):
    weights = ("-w", "vox.safetensors", "--no-crop")
    moving = ("--absolute", "--sound", "driving.mp4", *weights)
    run("extract", "driving.mp4", "-o", tmp_path / "whole.npz", *weights)
    run("extract", "driving.mp4", "-o", tmp_path / "part.npz", *weights, *PART)
    whole = run("render", clips.PORTRAIT, tmp_path / "whole.npz", "-o", tmp_path / "whole.mp4", *moving)
    first = run("render", clips.PORTRAIT, tmp_path / "part.npz", "-o", tmp_path / "a.mp4", *moving)
    second = run("render", clips.PORTRAIT, tmp_path / "whole.npz", "-o", tmp_path / "b.mp4", *moving, *PART)
    assert close(first, whole)
    assert close(second, whole)
    assert packets(tmp_path / "a.mp4") == packets(tmp_path / "b.mp4")


@pytest.mark.parametrize("command", ["talk", "render"])
def test_rows_are_read_with_those_around_them(run, tmp_path, command):
    known = (clips.PORTRAIT, "rows.npy", "--source-coefficients", "own.npy", "-w", "sadtalker.safetensors")
    turned = ("--yaw", "-40,40") if command == "talk" else ("--absolute",)
    whole = run(command, *known, *turned, "-o", tmp_path / "whole.mp4")
    assert close(run(command, *known, *turned, "-o", tmp_path / "part.mp4", *PART), whole)


def test_decode(run, tmp_path):
    weights = ("-w", "vox.safetensors")
    run("encode", clips.PORTRAIT, "driving.mp4", "-o", tmp_path / "talk.fv2v", *weights)
    known = (tmp_path / "talk.fv2v", *weights, "--absolute")
    whole = run("decode", *known, "-o", tmp_path / "whole.mp4")
    assert close(run("decode", *known, "-o", tmp_path / "part.mp4", *PART), whole)


def test_a_file_that_is_there_is_kept(fv2v, files, tmp_path):
    kept = tmp_path / "out.mp4"
    kept.write_text("a film")
    known = ("reenact", clips.PORTRAIT, files / "driving.mp4", "-w", files / "vox.safetensors", "-n", 2)
    assert_refused(fv2v(*known, "-o", kept), "is there already; choose another name, or replace it with")
    assert kept.read_text() == "a film"
    assert fv2v(*known, "-o", kept, "--overwrite")[0] == 0
    assert len(list(read_video(kept))) == 2


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("12.5", 12.5), ("1:30", 90), ("90:00", 5400), ("1:02:03.5", 3723.5)]
)
def test_seconds(text, value):
    assert seconds("start", text) == value


@pytest.mark.parametrize("text", ["", "x", "1:2:3:4", "1:60", "-1", "1:-2", "nan", "1.5:00"])
def test_no_seconds(text):
    with pytest.raises(ValueError, match="--start: expected seconds, or h:m:s"):
        seconds("start", text)
