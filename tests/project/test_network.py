# SPDX-License-Identifier: Apache-2.0
"""Nothing is asked of a network: commands run where every connection fails, and none is tried."""

import os
import subprocess
import sys
from pathlib import Path

import clips
import pytest
import torch
from places import SUPPORT
from tiny import TINY_VOX, lively

from fv2v.io.image import write_image
from fv2v.reenactor import Reenactor

WATCHED = """
import sys
NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request")
def refuse(event, arguments):
    if event in NETWORK or event == "socket.sendto":
        print("network:", event, arguments, file=sys.stderr)
        raise OSError("no network")
sys.addaudithook(refuse)
from fv2v.cli import main
for line in sys.stdin.read().splitlines():
    sys.argv = ["fv2v", *line.split("\\t")]
    try:
        main()
    except SystemExit as stopped:
        print(line, stopped.code, file=sys.stderr) if stopped.code else None
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    lively(Reenactor(TINY_VOX, weights="random")).save(folder / "tiny.safetensors")
    frames = clips.moving_picture(clips.portrait(), 3, size=64)
    clips.write_clip(folder / "b.mp4", frames, audio="aac")
    write_image(folder / "a.png", frames[0])
    return folder


def test_no_command_uses_the_network(inputs, tmp_path):
    """Finding faces included. Python sees every socket but those of FFmpeg, which opens files alone."""
    model = ["-w", inputs / "tiny.safetensors"]
    commands = [
        [
            "reenact",
            clips.PORTRAIT,
            inputs / "b.mp4",
            "-o",
            tmp_path / "o.mp4",
        ],  # the starter, and faces sought
        ["extract", inputs / "b.mp4", "-o", tmp_path / "o.npz", "--no-crop", *model],
        ["render", inputs / "a.png", tmp_path / "o.npz", "-o", tmp_path / "r.mp4", "--no-crop", *model],
        ["convert", inputs / "tiny.safetensors", tmp_path / "c.safetensors"],
        ["export", "--torch", tmp_path / "o.pt2", *model],
        ["synthesize", "-o", tmp_path / "heads", "--identities", "2", "--frames", "2", "--size", "32"],
        ["demo", "-o", tmp_path / "demo", "--frames", "7", *model],
        ["info"],
        ["doctor"],
    ]
    path = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", WATCHED],
        input="\n".join("\t".join(map(str, command)) for command in commands),
        env=os.environ | {"PYTHONPATH": path, "TORCH_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0
    assert "network:" not in done.stderr, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        *("o.mp4", "o.npz", "r.mp4", "c.safetensors", "o.pt2", "heads", "demo")
    }, done.stderr


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.mp4", "tcp://127.0.0.1:9", "rtmp://127.0.0.1:9/a"])
def test_a_name_that_is_an_address_is_no_file(fv2v, url, tmp_path):
    code, _, err = fv2v("reenact", clips.PORTRAIT, url, "-o", tmp_path / "o.mp4", "--no-crop")
    assert code == 2
    assert "no such file" in err
    assert not torch.cuda.is_initialized() or torch.cuda.is_available()
