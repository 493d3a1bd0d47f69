# SPDX-License-Identifier: Apache-2.0
"""The manual's exports of `vox-256`, at full size: both ONNX files and the program, run as it says."""

import gc
import re
import shlex
from pathlib import Path

import clips
import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from exporting import BOUND, MOVED, awake
from places import ROOT, code_blocks

from fv2v.cli import app
from fv2v.export import driving_input
from fv2v.presets import VOX_256

pytestmark = pytest.mark.slow
MANUAL = ROOT / "fv2v" / "export" / "README.md"
COMMANDS = re.findall(r"^fv2v export .*$", MANUAL.read_text(), re.M)
(BLOCK,) = code_blocks(MANUAL, "python")
WEIGHTS = "00000189-checkpoint.pth.tar"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the manual's Python leaves behind, after its commands, on weights that move."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("vox"))
        picture = clips.portrait()
        cv2.imwrite("portrait.png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        (square,) = clips.moving_picture(picture, 1)
        drivers = np.stack((square, square[:, ::-1]))
        clips.write_clip(Path("driving.mp4"), drivers)
        awake(VOX_256, drivers).save("vox.safetensors")
        for command in COMMANDS:
            _, *arguments = shlex.split(command.replace(WEIGHTS, "vox.safetensors"), comments=True)
            app(arguments, standalone_mode=False)
            gc.collect()  # a model at a time
        names: dict = {}
        exec(compile(BLOCK.replace(WEIGHTS, "vox.safetensors"), "README.md", "exec"), names)
        yield names


@pytest.fixture(scope="module")
def shown(names):
    """The Reenactor's own pictures."""
    reenactor, frames = names["reenactor"], names["frames"]
    source, motion = reenactor.encode("portrait.png"), reenactor.extract(frames)
    return reenactor.render(source, motion, motion[:1]).numpy()


def test_the_pictures_vary_and_move(shown):
    assert shown.std() > 0.03
    assert np.abs(shown[0] - shown[1]).max() > MOVED


def test_grid_sample(names, shown):
    assert np.abs(np.concatenate(names["images"]) - shown).max() <= BOUND


def fed(names):
    return {"driving": driving_input([names["frames"][1]], 256, VOX_256.resize), **names["known"]}


def test_gather(names, shown):
    session = onnxruntime.InferenceSession("vox-plain.onnx", providers=["CPUExecutionProvider"])
    (image,) = session.run(None, fed(names))
    assert np.abs(image[0] - shown[1]).max() <= BOUND


def test_program(names, shown):
    image = torch.export.load("vox.pt2").module()(*(torch.from_numpy(each) for each in fed(names).values()))
    assert np.abs(image[0].numpy() - shown[1]).max() <= BOUND


def test_the_files_leave_out_what_encodes(names):
    """F and L run once a portrait: half of the weights."""
    whole = Path("vox.safetensors").stat().st_size
    for file in ("vox.onnx", "vox-plain.onnx", "vox.pt2"):
        assert Path(file).stat().st_size < 0.75 * whole, file
