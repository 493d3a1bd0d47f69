# SPDX-License-Identifier: Apache-2.0
"""The command line: what it says, what it writes, and that a mistake is one line and exit code 2."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import clips
import numpy as np
import odd_files
import pytest
import torch
from refusals import assert_refused
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import TINY, TINY_VOX, lively

from fv2v import __version__
from fv2v.cli.printable import printable
from fv2v.io.image import read_image, write_image
from fv2v.io.video import read_video
from fv2v.presets import PRESETS
from fv2v.reenactor import Reenactor

BLANK = np.full((64, 64, 3), 127, np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder of inputs, good and bad."""
    folder = tmp_path_factory.mktemp("inputs")
    tiny = folder / "tiny.safetensors"
    reenactor = lively(Reenactor(TINY_VOX, weights="random"))  # so that moving the head shows
    reenactor.save(tiny)
    whole = clips.write_clip(folder / "driving.mp4", clips.moving_picture(clips.portrait(), 12), audio="aac")
    clips.write_clip(folder / "faceless.mp4", np.stack([BLANK] * 4))
    write_image(folder / "faceless.png", BLANK)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "cut.jpg").write_bytes(clips.PORTRAIT.read_bytes()[:20_000])
    (folder / "text.mp4").write_text("no video\n" * 40)
    (folder / "text.png").write_text("no picture\n" * 40)
    (folder / "cut.safetensors").write_bytes(tiny.read_bytes()[: tiny.stat().st_size // 2])
    (folder / "cut.pth.tar").write_bytes(b"PK\x03\x04" + tiny.read_bytes()[:1000])  # as torch.save begins
    kept = dict(list(reenactor.model.state_dict().items())[10:])
    with safe_open(tiny, framework="pt") as file:
        save_file(kept, folder / "short.safetensors", file.metadata())
    save_file({"layer.weight": torch.zeros(3)}, folder / "foreign.safetensors")
    torch.save({"state_dict": {"layer.weight": torch.zeros(3)}}, folder / "foreign.pth.tar")
    (folder / "file").write_text("where a folder should be")
    return folder


def reenact(files: Path, out: Path, **changed: str) -> list[object]:
    """A command line that works, but for what is changed."""
    given = {"portrait": str(clips.PORTRAIT), "driving": "driving.mp4", "weights": "tiny.safetensors"}
    given |= {"output": str(out)} | changed
    portrait, driving, weights, output = (given.pop(k) for k in ("portrait", "driving", "weights", "output"))
    known = "random" if weights == "random" else files / weights
    more = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)]
    return ["reenact", files / portrait, files / driving, "-o", files / output, "--weights", known, *more]


def test_reenact_says_what_it_wrote(fv2v, files, tmp_path):
    code, out, err = fv2v(*reenact(files, tmp_path / "out.mp4"))
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'out.mp4'}: 12 frames in ")
    assert "no face" not in out
    source, made = read_video(files / "driving.mp4"), read_video(tmp_path / "out.mp4")
    assert sum(1 for _ in source) == sum(1 for _ in made) == 12
    assert made.times == source.times


def test_options_reach_the_picture(fv2v, files, tmp_path):
    """Each one changes what is rendered, and --frames how much."""
    plain = [*reenact(files, tmp_path / "plain.mp4"), "--frames", 3]
    fv2v(*plain)
    before = np.stack(list(read_video(tmp_path / "plain.mp4")))
    assert len(before) == 3
    for options in (
        ["--yaw", 40],
        ["--pitch", 40],
        ["--roll", 40],
        ["--yaw", 40, "--view-mode", "replace", "--relative"],
        ["--relative"],
        ["--no-crop"],
    ):
        code, _, err = fv2v(
            *[tmp_path / "more.mp4" if p == tmp_path / "plain.mp4" else p for p in plain],
            *options,
            "--overwrite",
        )
        assert (code, err) == (0, "")
        after = np.stack(list(read_video(tmp_path / "more.mp4")))
        assert after.shape == before.shape
        assert not np.array_equal(after, before), options


def test_a_lost_face_is_reported_in_one_line(fv2v, files, tmp_path):
    images = clips.moving_picture(clips.portrait(), 12)
    images[3:6] = 127
    clips.write_clip(tmp_path / "lost.mp4", images)
    _, out, _ = fv2v(*reenact(files, tmp_path / "out.mp4", driving=str(tmp_path / "lost.mp4")))
    assert "; no face in 3 of them (at 0.12-0.20 s): the last motion was held\n" in out
    assert out.count("\n") == 1


def test_damaged_frames_are_one_line_at_the_end_or_refused(fv2v, files, tmp_path):
    images = clips.moving_picture(clips.portrait(), 12)
    whole = clips.write_clip(tmp_path / "whole.mp4", images, options={"g": "4"})
    damaged = odd_files.damaged_at(whole, tmp_path / "damaged.mp4", 4)
    code, out, err = fv2v(*reenact(files, tmp_path / "out.mp4", driving=str(damaged)))
    assert (code, out.count("\n"), err.count("\n")) == (0, 1, 1)
    assert f"fv2v: note: {damaged}: 1 damaged frame, at 0.16 s" in err
    result = fv2v(*reenact(files, tmp_path / "strict.mp4", driving=str(damaged)), "--strict")
    assert_refused(result, "damaged.mp4: expected no damaged frame (strict), got one at")
    assert not (tmp_path / "strict.mp4").exists()


def test_frontalize(fv2v, files, tmp_path):
    output = tmp_path / "front.png"
    code, out, _ = fv2v("frontalize", clips.PORTRAIT, "-o", output, "-w", files / "tiny.safetensors")
    assert (code, out) == (0, f"{output}: written\n")
    assert read_image(output).shape == (TINY.image_size, TINY.image_size, 3)


def test_convert(fv2v, files, tmp_path):
    code, out, _ = fv2v("convert", files / "tiny.safetensors", tmp_path / "again.safetensors")
    assert (code, out) == (0, f"{tmp_path / 'again.safetensors'}: tiny-vox\n")
    assert Reenactor(weights=tmp_path / "again.safetensors").config == TINY_VOX


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"portrait": "absent.png"}, "absent.png: no such file"),
        ({"portrait": "empty.png"}, "empty.png: the file is empty (0 bytes)"),
        ({"portrait": "cut.jpg"}, "cut.jpg: truncated"),
        ({"portrait": "text.png"}, "text.png: not a picture that OpenCV can read"),
        ({"portrait": "faceless.png"}, "faceless.png: no face found in 64 x 64 pixels"),
        ({"driving": "absent.mp4"}, "absent.mp4: no such file"),
        ({"driving": "empty.mp4"}, "empty.mp4: the file is empty (0 bytes)"),
        ({"driving": "cut.mp4"}, "cut.mp4: truncated: the file should have"),
        ({"driving": "text.mp4"}, "text.mp4: not a video that FFmpeg can read"),
        (
            {"driving": str(clips.PORTRAIT)},
            "a picture and no film: expected an output in .png, .jpg",
        ),
        ({"fps": "30"}, "driving.mp4: expected fps for a folder of frames alone"),
        ({"sound": "source"}, "sound: the source is no film with sound"),
        ({"sound": str(clips.PORTRAIT)}, "mona_lisa.jpg: expected a file with sound, found none in it"),
        ({"driving": "faceless.mp4"}, "faceless.mp4: no face found in the first 4 frames"),
        ({"driving": "."}, "cut.jpg: truncated"),  # a folder of frames
        ({"frames": "0"}, "expected at least 1 frame"),
        ({"frames": "-3"}, "expected at least 1 frame"),
        ({"frames": "many"}, "valid integer"),
        ({"batch_size": "0"}, "expected batch_size >= 1, got 0"),
        ({"view_mode": "sideways"}, "expected mode 'compose' or 'replace', got 'sideways'"),
        ({"yaw": "nan"}, "expected finite numbers"),
        ({"yaw": "200"}, "expected yaw from -90 to 90 degrees, got 200"),
        ({"pitch": "-90.5"}, "expected pitch from -90 to 90 degrees, got -90.5"),
        ({"roll": "1e6"}, "expected roll from -90 to 90 degrees, got 1e+06"),
        ({"preset": "vox-512"}, "starter; got 'vox-512'"),
        ({"preset": "vox-256"}, "tiny.safetensors holds a 'tiny-vox' model"),
        ({"weights": "absent.pth.tar"}, "absent.pth.tar: no such file"),
        ({"weights": "cut.safetensors"}, "cut.safetensors is no .safetensors file, or a damaged one"),
        ({"weights": "cut.pth.tar"}, "cut.pth.tar is no checkpoint that can be read safely"),
        ({"weights": "short.safetensors"}, "does not fit 'tiny-vox': not in the file: "),
        ({"weights": "short.safetensors"}, " (and 9 more)"),  # the whole list is for Python
        ({"weights": "foreign.safetensors"}, "foreign.safetensors was not written by fv2v"),
        ({"weights": "foreign.pth.tar"}, "foreign.pth.tar is not laid out as a release"),
        ({"device": "abacus"}, "cannot run on the device 'abacus'"),
        ({"device": "cuda:99"}, "cannot run on the device 'cuda:99'"),
        ({"dtype": "int8"}, "expected a dtype, one of float32"),
        ({"output": "absent/out.mp4"}, "does not exist; make it first"),
        ({"output": "file/out.mp4"}, "is a file, expected a folder"),
        ({"output": "/proc/out.mp4"}, "cannot write to the folder /proc"),  # not even root can
        ({"output": "driving.mp4"}, "driving.mp4: is there already; choose another name, or replace it with"),
        ({"start": "1:75"}, "--start: expected seconds, or h:m:s as 1:02:03.5; got '1:75'"),
        ({"end": "soon"}, "--end: expected seconds, or h:m:s"),
        ({"start": "0.4", "end": "0.2"}, "expected an end after the start, got from 0.4 s to 0.2 s"),
        ({"start": "9"}, "driving.mp4: expected frames from 9 s to the end, the video has none there"),
        ({"output": "out.avi"}, "ends in .mp4, .m4v, .mov, .mkv, .webm, .gif, .webp, got '.avi'"),
        ({"output": "out.png"}, "out.png: expected a pattern of frames, as "),
        ({"output": "."}, "expected the name of a new folder, or an empty one"),
        ({"crf": "99"}, "crf: expected 0 to 51 for libx264, got 99"),
        ({"encoder_preset": "warp"}, "encoder preset: expected one of ultrafast, "),
        ({"colour": "red"}, "--colour"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(fv2v, files, changed, message):
    before = sorted(files.rglob("*"))
    assert_refused(fv2v(*reenact(files, files / "out.mp4", **changed)), message)
    assert sorted(files.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frontalize", "faceless.png", "-o", "out.png", "-w", "tiny.safetensors"], "no face found"),
        (["frontalize", "absent.png", "-o", "out.png", "-w", "tiny.safetensors"], "no such file"),
        (["frontalize", "faceless.png", "-o", "out.mp4", "-w", "tiny.safetensors"], "ends in .png, .jpg"),
        (["convert", "absent.pth.tar", "out.safetensors"], "no such file"),
        (["convert", "foreign.pth.tar", "out.safetensors"], "is not laid out as a release"),
        (["convert", "tiny.safetensors", "out.safetensors", "-p", "vox-256"], "holds a 'tiny-vox' model"),
        (["convert", "tiny.safetensors", "tiny.safetensors"], "this is the input tiny.safetensors; choose"),
        (["frontalize", "faceless.png", "-o", "faceless.png"], "faceless.png: is there already; choose"),
        (
            ["frontalize", "faceless.png", "-o", "faceless.png", "--overwrite", "-w", "absent"],
            "this is the input faceless",
        ),
        (["convert", "tiny.safetensors", "out.bin"], "ends in .safetensors or .pth.tar, or a folder's"),
        (["convert", "tiny.safetensors", "absent/out.safetensors"], "does not exist; make it first"),
        (["bench", "--against", "absent.json"], "no such file"),
        (["bench", "--against", "text.mp4"], "expected results saved by pytest --benchmark-json"),
        (["reenact"], "Missing argument"),
        (["reenact", "one.png"], "Missing argument"),
        (["dance"], "No such command 'dance'"),
    ],
)
def test_other_commands_refuse_alike(fv2v, files, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    before = sorted(files.rglob("*"))
    assert_refused(fv2v(*arguments), message)
    assert sorted(files.rglob("*")) == before


@pytest.mark.parametrize("command", ["reenact", "frontalize"])
def test_without_weights_it_says_where_they_come_from(fv2v, files, command):
    driving, output = ([files / "driving.mp4"], "out.mp4") if command == "reenact" else ([], "out.png")
    result = fv2v(command, clips.PORTRAIT, *driving, "-o", files / output, "-p", "vox-256")
    for part in (
        "no weights given",
        "00000189-checkpoint.pth.tar",
        "zhanglonghao1992/One-Shot_Free-View_Neural_Talking_Head_Synthesis",
        "fv2v convert",
        "(--weights random) serves for timing and plumbing only: its pictures are grey",
    ):
        assert_refused(result, part)
    assert not (files / output).exists()


@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM"])
def test_an_interrupt_is_no_traceback(files, tmp_path, kind):
    """Ctrl-C or `kill` while frames are rendered: one line, exit code 128 + signal, nothing half-written."""
    script = (
        "import os, signal, sys, fv2v.pipelines.write\n"
        "from fv2v.cli import main\n"
        "counted = fv2v.pipelines.write._counted\n"
        "def interrupted(images, *rest):\n"
        "    for i, image in enumerate(counted(images, *rest)):\n"
        f"        if i == 5: os.kill(os.getpid(), signal.{kind})\n"
        "        yield image\n"
        "fv2v.pipelines.write._counted = interrupted\n"
        # a job that a script has put in the background is started with Ctrl-C ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "main()\n"
    )
    command = [sys.executable, "-c", script, *map(str, reenact(files, tmp_path / "out.mp4"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    code = 128 + getattr(signal, kind)
    assert (done.returncode, done.stderr) == (code, "fv2v: interrupted; no file was left half written\n")
    assert not list(tmp_path.iterdir())


def test_the_version(fv2v):
    assert fv2v("--version") == (0, f"fv2v {__version__}\n", "")


def test_the_shell_completes_commands_and_options():
    script = "import fv2v.cli; fv2v.cli.main()"
    for words, found in (("fv2v ren", "render"), ("fv2v reenact --driving-", "--driving-face")):
        environment = os.environ | {
            "_FV2V_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
        )
        assert found in done.stdout.split()


def test_help_does_not_wait_for_torch():
    """Nor for what takes as long; `import fv2v` brings none of it either, until something is used."""
    script = (
        "import sys\n"
        "import fv2v.cli\n"
        "try: fv2v.cli.main()\n"
        "except SystemExit: print({'torch', 'cv2', 'av'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


def test_info_lists_the_presets(fv2v):
    code, out, _ = fv2v("info")
    assert code == 0
    for part in (*PRESETS, "corner", "Rx·Ry·Rz", "keypoint", "128.1 M", "1155 GFLOP", "1245 GFLOP"):
        assert part in out


def test_a_cat_is_no_portrait(fv2v, files, tmp_path):
    cat = str(clips.real("no_human_face.jpg"))
    assert_refused(
        fv2v(*reenact(files, tmp_path / "out.mp4", portrait=cat)), "no_human_face.jpg: no face found"
    )
    assert not list(tmp_path.iterdir())


def test_words_of_files_are_not_obeyed_by_the_terminal(fv2v, files, tmp_path):
    refused = fv2v(*reenact(files, tmp_path / "out.mp4", portrait="a\x1b]0;title\x07\rb.png"))
    assert_refused(refused, r"a\x1b]0;title\x07\rb.png: no such file")


def test_a_message_is_not_endless():
    assert printable("a" * 5000) == "a" * 2000 + "..."
