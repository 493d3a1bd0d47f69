# SPDX-License-Identifier: Apache-2.0
"""Every command that writes, killed, interrupted and starved at every write, rename and fsync.

Each time the folder holds, under every name, the old file or the whole new one.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import clips
import numpy as np
import pytest
import runs
from places import SUPPORT
from tiny import TINY_VOX, lively

from fv2v.checkpoints import load
from fv2v.io.hidden import MOMENT
from fv2v.io.image import read_image, write_image
from fv2v.io.video import read_video
from fv2v.motion.npz import read_motion
from fv2v.reenactor import Reenactor
from fv2v.training import state as run_state

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or not shutil.which("cc"), reason="needs a C compiler, LD_PRELOAD"
    ),
]

NOTHING, SIGNAL, FULL, VANISH = range(4)  # as in faults.c
FAULTS = {
    "SIGKILL": (SIGNAL, signal.SIGKILL),
    "SIGTERM": (SIGNAL, signal.SIGTERM),
    "SIGINT": (SIGNAL, signal.SIGINT),
    "ENOSPC": (FULL, 0),
    "vanishing folder": (VANISH, 0),
}
MOST = 4  # calls of a command at which a fault other than SIGKILL is tried: the first, the last, and between


class Command(NamedTuple):
    arguments: tuple[str, ...]  # {in} and {out} are folders
    files: tuple[str, ...]  # in {out}, what it writes
    slow: bool = False  # a second or more a run: not every call is tried


DRAWN = [f"--{each}" for each in ("identities=9", "frames=2", "size=32", "clips=1", "clip-frames=2")]
COMMANDS = {
    "reenact": Command(
        (
            "reenact",
            "{in}/a.png",
            "{in}/b.mp4",
            "-o",
            "{out}/o.mp4",
            "--overwrite",
            "--no-crop",
            "-w",
            "{in}/tiny.safetensors",
        ),
        ("o.mp4",),
    ),
    "extract": Command(
        (
            "extract",
            "{in}/b.mp4",
            "-o",
            "{out}/o.npz",
            "--overwrite",
            "--no-crop",
            "-w",
            "{in}/tiny.safetensors",
        ),
        ("o.npz",),
    ),
    "convert": Command(("convert", "{in}/tiny.safetensors", "{out}/o.safetensors"), ("o.safetensors",)),
    "export --onnx": Command(
        ("export", "--onnx", "{out}/o.onnx", "-w", "{in}/tiny.safetensors"), ("o.onnx",), slow=True
    ),
    "export --torch": Command(
        ("export", "--torch", "{out}/o.pt2", "-w", "{in}/tiny.safetensors"), ("o.pt2",), slow=True
    ),
    "train": Command(
        ("save_of_training", "{out}", "2"), ("run/step-00000002.pt", "run/model.safetensors"), slow=True
    ),
    "synthesize": Command(
        ("synthesize", "-o", "{out}/heads", *DRAWN),
        ("heads/heads.json", *(f"heads/heads-0000{i}.safetensors" for i in range(2)), "heads/clip-00000.mp4"),
        slow=True,
    ),
    "demo": Command(
        ("demo", "-o", "{out}/demo", "--frames", "7", "-w", "{in}/tiny.safetensors"),
        ("demo/demo.mp4", "demo/sheet.png", "demo/portrait.png", "demo/driving.mp4"),
        slow=True,
    ),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    lively(Reenactor(TINY_VOX, weights="random")).save(folder / "tiny.safetensors")
    frames = clips.moving_picture(clips.portrait(), 3, size=64)
    clips.write_clip(folder / "b.mp4", frames, audio="aac")
    write_image(folder / "a.png", frames[0])
    return folder


@pytest.fixture(scope="module")
def serve(tmp_path_factory) -> Iterator[Callable[..., dict[str, Any]]]:
    """serve(arguments, folder, what, signal, at) -> code, calls, err."""
    shim = tmp_path_factory.mktemp("shim") / "faults.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", shim, SUPPORT / "faults.c", "-ldl"], check=True)
    path = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
    server = subprocess.Popen(
        [sys.executable, SUPPORT / "fault_server.py"],
        env=os.environ | {"LD_PRELOAD": str(shim), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None

    def run(
        arguments: list[str], folder: Path, what: int = NOTHING, number: int = 0, at: int = 0
    ) -> dict[str, Any]:
        job = {"command": arguments, "folder": str(folder), "what": what, "signal": int(number), "at": at}
        print(json.dumps(job), file=server.stdin, flush=True)
        return json.loads(server.stdout.readline())

    yield run
    server.stdin.close()
    assert server.wait(timeout=60) == 0


def whole(path: Path) -> bool:
    """Whether the reader of such files takes it."""
    readers: dict[str, Callable[[Path], object]] = {
        ".mp4": lambda path: list(read_video(path, strict=True)),
        ".npz": read_motion,
        ".safetensors": lambda path: path.name.startswith("heads-") or load(path),
        ".json": lambda path: json.loads(path.read_text()),
        ".png": read_image,
        ".pt": run_state.read,
    }
    if path.suffix == ".pt2":
        return zipfile.ZipFile(path).testzip() is None
    if path.suffix == ".onnx":
        import onnx

        onnx.checker.check_model(str(path))
        return True
    readers[path.suffix](path)
    return True


def hidden(folder: Path) -> list[Path]:
    return list(folder.rglob(".fv2v-*"))


class Scene:
    """A folder that holds what an earlier run of a command wrote, as good as new before each fault."""

    def __init__(
        self, command: Command, inputs: Path, place: Path, serve: Callable[..., dict[str, Any]]
    ) -> None:
        self.command, self.serve = command, serve
        self.before, self.folder = place / "before", place / "out"
        self.before.mkdir()
        if command.arguments[0] == "save_of_training":
            runs.clips(self.before / "clips", count=2, frames=2)
        self.arguments = [
            each.replace("{in}", str(inputs)).replace("{out}", str(self.folder)) for each in command.arguments
        ]
        if command.arguments[0] == "save_of_training":
            self.set_up()
            assert self.serve([*self.arguments[:-1], "1"], self.folder)["code"] == 0
            shutil.rmtree(self.before)
            self.folder.rename(self.before)
        elif command.arguments[0] != "synthesize":  # which keeps what is there
            for file in command.files:
                (self.before / file).parent.mkdir(exist_ok=True)
                (self.before / file).write_bytes(b"old")
        self.set_up()
        clean = serve(self.arguments, self.folder)
        assert clean["code"] == 0, clean
        self.calls = clean["calls"]
        assert all(whole(self.folder / file) for file in command.files)
        assert not hidden(self.folder)

    def set_up(self) -> None:
        for each in (self.folder, self.folder.with_name("out.gone")):
            shutil.rmtree(each, ignore_errors=True)
        shutil.copytree(self.before, self.folder)

    def points(self, fault: str) -> list[int]:
        if fault == "SIGKILL":
            most = 12 if self.command.slow else self.calls
        else:
            most = 2 if self.command.slow else MOST
        return sorted({round(at) for at in np.linspace(1, self.calls, min(most, self.calls))})

    def check(self, folder: Path) -> None:
        """Old or new, never between."""
        for file in self.command.files:
            path, old = folder / file, self.before / file
            if path.exists() and not (old.exists() and path.read_bytes() == old.read_bytes()):
                assert whole(path), path
            assert path.exists() or not old.exists(), path
        if self.command.arguments[0] == "save_of_training":
            assert run_state.latest(folder / "run").state is not None


@pytest.mark.parametrize("name", COMMANDS)
def test_the_old_file_or_the_new_one(name, inputs, serve, tmp_path):
    scene = Scene(COMMANDS[name], inputs, tmp_path, serve)
    print(f"{name}: {scene.calls} calls")
    for fault, (what, number) in FAULTS.items():
        for at in scene.points(fault):
            scene.set_up()
            done = serve(scene.arguments, scene.folder, what, number, at)
            where, told = (fault, at, done), done["err"].strip()
            gone = scene.folder.with_name("out.gone")
            scene.check(gone if gone.exists() and not scene.folder.exists() else scene.folder)
            if fault == "SIGKILL":
                assert done["code"] == -signal.SIGKILL, where
                continue
            if what == SIGNAL and name == "train":  # which ends after the step
                assert (done["code"], told) == (0, ""), where
            elif what == SIGNAL:
                assert done["code"] == 128 + number, where
                assert told == "fv2v: interrupted; no file was left half written", where
            elif not (what == VANISH and at == scene.calls):  # by which the files are in place
                assert done["code"] == 2, where
                assert told.startswith("fv2v: "), where
                assert "\n" not in told, where
            assert not (scene.folder.exists() and hidden(scene.folder)), where
    scene.set_up()
    serve(scene.arguments, scene.folder, *FAULTS["SIGKILL"], max(1, scene.calls // 2))
    time.sleep(MOMENT)
    done = serve(scene.arguments, scene.folder)
    assert done["code"] == 0, done
    scene.check(scene.folder)
    assert all((scene.folder / file).exists() for file in scene.command.files)
    assert not hidden(scene.folder)
