# SPDX-License-Identifier: Apache-2.0
"""The commands in the manuals run as they stand, with tiny models in place of the releases' files."""

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import clips
import cv2
import numpy as np
import pytest
from motion_samples import saved, template
from places import MANUALS, TESTS, code_blocks
from scipy.io import savemat
from tiny import TINY_FOMM, TINY_LIVEPORTRAIT, TINY_PERFORMRECAST, TINY_SADTALKER, TINY_VOX, lively

from fv2v import Reenactor, write_image
from fv2v.cli import app

# what takes too long as it stands, or whole releases; other tests run these commands
ELSEWHERE = (
    *("bandwidth", "batch", "bench", "call", "convert", "demo", "evaluate", "live", "serve"),
    *("preprocess", "synthesize", "train"),
)
MODELS = {  # in place of the releases
    "vox.safetensors": replace(TINY_VOX, name="tiny", keypoints=15),
    "liveportrait.safetensors": TINY_LIVEPORTRAIT,
    "performrecast.safetensors": TINY_PERFORMRECAST,
    "sadtalker.safetensors": TINY_SADTALKER,
    "fomm.safetensors": TINY_FOMM,
}
RELEASES = {
    "00000189-checkpoint.pth.tar": "vox.safetensors",
    "pretrained_weights/liveportrait": "liveportrait.safetensors",
    "weights/performrecast": "performrecast.safetensors",
    "checkpoints": "sadtalker.safetensors",
    "vox-cpk.pth.tar": "fomm.safetensors",
}


def examples() -> list[list[str]]:
    blocks = [block for page in MANUALS for block in code_blocks(page, "sh")]
    lines = [tuple(shlex.split(line, comments=True)) for block in blocks for line in block.splitlines()]
    return [list(words[1:]) for words in dict.fromkeys(lines) if words[:1] == ("fv2v",)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Every file that the examples name."""
    folder = tmp_path_factory.mktemp("readme")
    picture = clips.portrait()
    for name in ("portrait.png", "smile.png", "photo.jpg"):
        write_image(folder / name, picture)
    smaller = cv2.resize(picture, None, fx=0.8, fy=0.8)
    rest = len(picture) - len(smaller)
    write_image(folder / "group.jpg", np.hstack([picture, np.pad(smaller, ((0, rest), (0, 0), (0, 0)))]))
    clips.write_clip(folder / "driving.mp4", clips.moving_picture(picture, 3), audio="aac")
    (folder / "frames").mkdir()
    for number, frame in enumerate(clips.moving_picture(picture, 3)):
        write_image(folder / "frames" / f"{number:04d}.png", frame)
    box = np.array([20.0, 20, 200, 200])
    np.save(folder / "face.npy", box)
    np.savetxt(folder / "boxes.csv", np.stack([box] * 3), delimiter=",")
    rows = np.random.default_rng(0).normal(size=(3, 70)).astype(np.float32)
    savemat(folder / "portrait.mat", {"coeff_3dmm": rows[:1]})
    savemat(folder / "driving.mat", {"coeff_3dmm": rows})
    np.save(folder / "portrait.npy", rows[:1])
    np.save(folder / "driving.npy", rows)
    for name in ("speech.mp4", "film.mp4"):
        shutil.copy(folder / "driving.mp4", folder / name)
    saved(folder / "talking.pkl", template())
    for name, config in MODELS.items():
        lively(Reenactor(config, weights="random")).save(folder / name)
    return folder


@pytest.mark.parametrize("words", [words for words in examples() if words[0] not in ELSEWHERE], ids=" ".join)
def test_runs(words, fv2v, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    if "motion.npz" in words and words[0] != "extract":
        fv2v("extract", "driving.mp4", "-o", "motion.npz", "-w", "vox.safetensors")
    if "talk.fv2v" in words and words[0] in ("decode", "info"):
        fv2v("encode", "portrait.png", "driving.mp4", "-o", "talk.fv2v", "-w", "vox.safetensors")
    before = set(tmp_path.iterdir())
    code, out, err = fv2v(*(RELEASES.get(word, word) for word in words))
    assert code == 0
    said = {"part.webm": "its sound (aac) is encoded anew as libopus"}
    expected = next((text for name, text in said.items() if name in words), "no --output: writes portrait--d")
    assert not err or expected in err
    if words[0] in ("info", "doctor"):
        assert (
            len(out.splitlines()) > 5
            or out == "vox.safetensors: weights of the preset 'tiny', written by fv2v\n"
        )
    else:
        assert set(tmp_path.iterdir()) - before, "it wrote a file"


def test_every_command_has_an_example():
    shown = {words[0] for words in examples()}
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert commands == shown
    texts = [path.read_text() for path in TESTS.glob("*/test_*.py")]
    for name in ELSEWHERE:
        assert any(f'"{name}"' in text for text in texts), name
