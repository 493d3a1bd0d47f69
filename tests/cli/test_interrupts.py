# SPDX-License-Identifier: Apache-2.0
"""`--keep-partial` and `--resume` on the command line: Ctrl-C, `kill`, and `kill -9`."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import clips
import numpy as np
import pytest
from tiny import TINY_VOX, lively

import fv2v.pipelines.write
from fv2v.cli import progress
from fv2v.io.hidden import NAME
from fv2v.io.image import write_image
from fv2v.io.video import read_video
from fv2v.reenactor import Reenactor

FRAMES = 9
GOES_ON = "pictures are kept; the same command goes on after them"
LINE = "fv2v: interrupted; no file was left half written\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    lively(Reenactor(TINY_VOX, weights="random")).save(folder / "tiny.safetensors")
    film = clips.moving_picture(clips.portrait(), FRAMES, size=64)
    clips.write_clip(folder / "driving.mp4", film, audio="aac")
    write_image(folder / "portrait.png", film[0])
    return folder


@pytest.fixture
def command(files, tmp_path) -> list[object]:
    inputs = files / "portrait.png", files / "driving.mp4"
    return ["reenact", *inputs, "-o", tmp_path / "out.mp4", "--no-crop", "-w", files / "tiny.safetensors"]


@pytest.fixture
def interrupted(monkeypatch) -> Iterator[Callable[[int, int], None]]:
    """`interrupted(signal, frame)`: it arrives at that frame of the next film; 0: no more does."""
    counted = fv2v.pipelines.write._counted
    arrives: list[int] = []

    def interrupting(*arguments: object) -> Iterator[np.ndarray]:
        for i, image in enumerate(counted(*arguments)):
            if arrives and i == arrives[1]:
                os.kill(os.getpid(), arrives[0])
            yield image

    monkeypatch.setattr(fv2v.pipelines.write, "_counted", interrupting)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run in the background
    yield lambda kind, frame: arrives.__setitem__(slice(None), [kind, frame] if kind else [])
    signal.signal(signal.SIGINT, before)


def frames_of(path: Path) -> np.ndarray:
    return np.array(list(read_video(path)))


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_the_film_so_far_is_kept_and_the_same_command_goes_on(fv2v, command, interrupted, tmp_path, kind):
    assert fv2v(*command)[0] == 0
    whole = frames_of(tmp_path / "out.mp4")
    (tmp_path / "out.mp4").unlink()
    interrupted(kind, 4)
    code, out, err = fv2v(*command, "--keep-partial", "--resume")
    assert code == 128 + kind
    assert f"{tmp_path / 'out.partial.mp4'}: 4 frames" in out
    assert GOES_ON in err
    assert err.endswith(LINE)
    assert len(frames_of(tmp_path / "out.partial.mp4")) == 4
    assert not (tmp_path / "out.mp4").exists()
    interrupted(0, 0)
    code, out, err = fv2v(*command, "--resume")
    assert (code, err.count("\n")) == (0, 1)
    assert "pictures are made; going on after them" in err
    assert np.array_equal(frames_of(tmp_path / "out.mp4"), whole)
    assert {path.name for path in tmp_path.iterdir()} == {"out.mp4", "out.partial.mp4"}


def test_other_options_and_other_inputs_begin_anew(fv2v, command, files, interrupted, tmp_path):
    turned = [*command, "--yaw", 30]
    assert fv2v(*turned)[0] == 0
    whole = frames_of(tmp_path / "out.mp4")
    (tmp_path / "out.mp4").unlink()
    interrupted(signal.SIGINT, 4)
    code, _, err = fv2v(*command, "--resume")
    assert (code, err.splitlines()[-1] + "\n") == (130, LINE)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4.resume"]
    interrupted(0, 0)
    code, _, err = fv2v(*turned, "--resume")
    assert code == 0
    assert "out.mp4.resume: of other inputs or options, or another version; made anew\n" in err
    assert np.array_equal(frames_of(tmp_path / "out.mp4"), whole)


def test_kill_9_leaves_no_film_and_the_same_command_goes_on(fv2v, command, tmp_path):
    assert fv2v(*command)[0] == 0
    whole = frames_of(tmp_path / "out.mp4")
    (tmp_path / "out.mp4").unlink()
    script = (
        "import os, signal, fv2v.pipelines.write\n"
        "from fv2v.cli import main\n"
        "counted = fv2v.pipelines.write._counted\n"
        "def killed(*arguments):\n"
        "    for i, image in enumerate(counted(*arguments)):\n"
        "        if i == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield image\n"
        "fv2v.pipelines.write._counted = killed\n"
        "main()\n"
    )
    words = [sys.executable, "-c", script, *map(str, command), "--resume"]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    left = {path.name for path in tmp_path.iterdir()}
    assert {name for name in left if not NAME.fullmatch(name)} == {"out.mp4.resume"}
    time.sleep(1.1)  # a hidden folder's owner has so long to lock it
    code, _, err = fv2v(*command, "--resume")
    assert code == 0
    assert "pictures are made; going on after them" in err
    assert np.array_equal(frames_of(tmp_path / "out.mp4"), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of its own")
@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_terminal_is_asked(fv2v, command, interrupted, tmp_path, monkeypatch, answer):
    import pty

    ours, theirs = pty.openpty()
    shown = bytearray()

    def read() -> None:
        try:
            while part := os.read(ours, 4096):
                shown.extend(part)
        except OSError:  # the other end is closed
            return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    interrupted(signal.SIGINT, 4)
    with os.fdopen(theirs, "w") as written, os.fdopen(os.dup(theirs)) as typed:
        monkeypatch.setattr(sys, "stdin", typed)
        monkeypatch.setattr(sys, "stderr", written)
        os.write(ours, f"{answer}\n".encode())
        code, _, _ = fv2v(*command)
        monkeypatch.undo()
    reader.join(10)
    os.close(ours)
    assert code == 130
    text = "".join(shown.decode().split())
    assert "".join(f"Keep the film so far as {tmp_path / 'out.partial.mp4'}?".split()) in text
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial.mp4"] * (answer == "y")


def test_without_a_terminal_a_line_a_minute_tells_how_far_it_is(fv2v, command, monkeypatch):
    monkeypatch.setattr(progress, "SELDOM", 0.0)
    code, _, err = fv2v(*command)
    assert code == 0
    lines = err.splitlines()
    assert len(lines) == FRAMES
    assert lines[3].startswith(f"4 of {FRAMES} frames")
    monkeypatch.setattr(progress, "SELDOM", 60.0)
    assert fv2v(*command, "--overwrite")[2] == ""
