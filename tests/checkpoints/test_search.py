# SPDX-License-Identifier: Apache-2.0
"""Weights as they lie on disk: found by the path of any folder above, and what a file is said in a line."""

import shutil
from pathlib import Path

import clips
import numpy as np
import pytest
import torch
from refusals import assert_refused
from tiny import TINY_LIVEPORTRAIT, TINY_VOX, coefficients, sized_as_trained

from fv2v import checkpoints
from fv2v.checkpoints import sadtalker
from fv2v.diagnostics.path_info import about
from fv2v.io.image import write_image
from fv2v.networks import FaceVid2Vid
from fv2v.presets import preset
from fv2v.reenactor import Reenactor


@pytest.fixture(scope="module")
def releases(tmp_path_factory) -> Path:
    """A release of each kind, whole, under its own names and with weights of its shapes."""
    folder = tmp_path_factory.mktemp("releases")
    for name in ("vox-256-spade", "sadtalker-256", "liveportrait"):
        model = FaceVid2Vid(preset(name)).half()
        checkpoints.save(model, folder / f"{name}.safetensors")
        target = folder / ("vox.pth.tar" if name.startswith("vox") else name)
        checkpoints.convert(folder / f"{name}.safetensors", target)
    return folder


def linked(files: list[Path], snapshot: Path) -> None:
    """As HuggingFace's cache has them: names in a snapshot are links to files called by their hash."""
    blobs = snapshot.parents[1] / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate(files):
        (blobs / f"{number:064x}").symlink_to(file)
        link = snapshot / "liveportrait" / file.parent.name / file.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("../../../../blobs") / f"{number:064x}")
        assert link.is_file()


@pytest.mark.slow
def test_each_layout_loads_by_any_folder_above(releases, tmp_path):
    """LivePortrait's checkout, ComfyUI's models, HuggingFace's cache; SadTalker's, of today and of before."""
    own = releases / "liveportrait"
    expected = checkpoints.load(own).state_dict()
    shutil.copytree(own, tmp_path / "LivePortrait" / "pretrained_weights" / "liveportrait")
    comfy = tmp_path / "ComfyUI" / "models" / "liveportrait"
    comfy.mkdir(parents=True)
    for file in checkpoints.find(own):
        stored = torch.load(file, weights_only=True)
        if file.stem.startswith("stitching"):
            stored = {
                f"{network}_{key}" if key.startswith("module.") else f"{network}.{key}": tensor
                for network, tensors in stored.items()
                for key, tensor in tensors.items()
            }
        checkpoints.storage.write_safetensors(stored, comfy / f"{file.stem}.safetensors")
    (comfy / "landmark.onnx").write_bytes(b"a graph")
    hub = tmp_path / "hub" / "models--KlingTeam--LivePortrait"
    linked(checkpoints.find(own), hub / "snapshots" / "0123abcd")
    for folder in ("LivePortrait", "LivePortrait/pretrained_weights", "ComfyUI", "ComfyUI/models", "hub"):
        found = checkpoints.load(tmp_path / folder).state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected), folder
    flat, mapping = checkpoints.find(releases / "sadtalker-256")
    talker = checkpoints.load(releases / "sadtalker-256").state_dict()
    first = tmp_path / "SadTalker" / "checkpoints"
    first.mkdir(parents=True)
    shutil.copy(mapping, first)
    stored = sadtalker.read_file(flat)
    networks = {
        theirs: {k.removeprefix(f"{ours}."): v for k, v in stored.items() if k.startswith(f"{ours}.")}
        for theirs, ours in (("kp_detector", "kp_extractor"), ("generator", "generator"))
    }
    more = {
        "he_estimator": {"conv1.weight": torch.zeros(2)},
        "optimizer_generator": {"state": {}},
        "epoch": 188,
    }
    torch.save(networks | more, first / "facevid2vid_00189-model.pth.tar")
    for folder in (first, first.parent):
        found = checkpoints.load(folder).state_dict()
        assert found.keys() == talker.keys()
        assert all(torch.equal(found[key], talker[key]) for key in talker), folder


@pytest.fixture
def small(tmp_path) -> Path:
    """A folder of tiny weights of ours, three folders down."""
    below = tmp_path / "top" / "models" / "vox" / "v1"
    below.mkdir(parents=True)
    checkpoints.save(sized_as_trained(TINY_VOX), below / "anything.safetensors")
    return tmp_path / "top"


def test_what_was_found_is_said(small, fv2v, tmp_path):
    frames = clips.write_clip(tmp_path / "film.mp4", clips.moving_picture(clips.portrait(), 2))
    known = (clips.PORTRAIT, frames, "--no-crop", "-o", tmp_path / "out.mp4")
    code, _, err = fv2v("reenact", *known, "-w", small)
    assert (code, err) == (0, f"fv2v: weights found in {small}: models/vox/v1/anything.safetensors\n")
    code, _, err = fv2v("reenact", *known, "--overwrite", "-w", small / "models" / "vox" / "v1")
    assert (code, err) == (0, "")


def test_several_sets_are_no_choice(small):
    other = small / "models" / "other"
    other.mkdir()
    checkpoints.save(sized_as_trained(TINY_LIVEPORTRAIT), other / "b.safetensors")
    with pytest.raises(
        ValueError, match=r"top holds 2 sets of weights: give the folder of one, as .*other, "
    ):
        checkpoints.find(small)
    checkpoints.save(sized_as_trained(TINY_VOX), other / "a.safetensors")
    with pytest.raises(ValueError, match=r"holds a\.safetensors, b\.safetensors, each of which would do"):
        checkpoints.find(other)
    shutil.rmtree(small / "models")
    with pytest.raises(ValueError, match="expected a file of weights, or a folder with SadTalker"):
        checkpoints.find(small)


def test_a_snapshot_is_the_one_that_main_names(small, tmp_path):
    repository = tmp_path / "hub" / "models--a--b"
    for name in ("111", "222"):
        shutil.copytree(small / "models" / "vox" / "v1", repository / "snapshots" / name)
    with pytest.raises(ValueError, match="2 sets of weights"):
        checkpoints.find(tmp_path / "hub")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("222")
    assert checkpoints.find(tmp_path / "hub") == [repository / "snapshots" / "222" / "anything.safetensors"]


def test_links_and_odd_names_lead_nowhere(small, tmp_path):
    """Each folder is looked into once, whatever links there are, and what `main` names may be no text."""
    found = checkpoints.find(small)
    for i in range(9):
        (small / "models" / f"link{i}").symlink_to(small)
    assert checkpoints.find(small) == found
    repository = tmp_path / "hub" / "models--a--b"
    shutil.copytree(small / "models" / "vox" / "v1", repository / "snapshots" / "111")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_bytes(b"\xff" * 9999)
    assert len(checkpoints.find(tmp_path / "hub")) == 1


def test_info_tells_what_a_path_is(small, fv2v, tmp_path):
    frames = clips.moving_picture(clips.portrait(), 5, size=64)
    film = clips.write_clip(tmp_path / "film.mp4", frames, audio="aac")
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(frames):
        write_image(tmp_path / "frames" / f"{number}.png", frame)
    np.save(tmp_path / "rows.npy", coefficients(7))
    (tmp_path / "text.txt").write_text("no film\n" * 40)
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "foreign.pth")
    Reenactor(TINY_VOX, weights="random").save(tmp_path / "vox.safetensors")
    found = {
        film: "a film of 64 x 64 pixels, 0.20 s, 25 frames a second, h264, sound: aac",
        tmp_path / "frames": "5 frames of 64 x 64 pixels",
        tmp_path / "frames" / "0.png": "a picture of 64 x 64 pixels",
        tmp_path / "rows.npy": "3DMM coefficients, 7 rows of 70",
        tmp_path / "vox.safetensors": "weights of the preset 'tiny-vox', written by fv2v",
        tmp_path / "foreign.pth": "tensors of no release that fv2v knows: layer.weight, ...",
        small: "weights: models/vox/v1/anything.safetensors "
        "(weights of the preset 'tiny-vox', written by fv2v)",
    }
    for path, line in found.items():
        assert fv2v("info", path) == (0, f"{path}: {line}\n", "")
        assert about(path) == line
    assert_refused(fv2v("info", tmp_path / "text.txt"), "text.txt: not a video that FFmpeg can read")
