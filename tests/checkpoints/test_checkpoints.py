# SPDX-License-Identifier: Apache-2.0
"""Weights in and out of files: all of them or none, and one clear line for a file that does not fit."""

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from release_weights import hollow_state_dicts
from safetensors.torch import save_file
from tiny import TINY, TINY_VOX, TINY_VOX_JACOBIAN

from fv2v import checkpoints
from fv2v.checkpoints import liveportrait, native
from fv2v.config import ModelConfig
from fv2v.io.paths import whole_folder
from fv2v.networks import FaceVid2Vid
from fv2v.presets import PRESETS, VOX_256, completed, preset


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The release's file, with what training leaves in it."""
    file = tmp_path_factory.mktemp("release") / "00000189-checkpoint.pth.tar"
    extras = {"discriminator": {"x": torch.zeros(1)}, "optimizer_generator": {"state": {}}, "epoch": 189}
    torch.save({**hollow_state_dicts("zlh"), **extras}, file)
    return file


@pytest.mark.parametrize("name", ["vox-256-jacobian", "face-vid2vid-256"])
def test_another_presets_weights_are_refused_with_every_key(release, name):
    with pytest.raises(ValueError, match=rf"does not fit '{name}'; it looks like 'vox-256'") as told:
        checkpoints.load(release, preset(name))
    assert "not in the file: canonical.jacobian.weight" in str(told.value)
    if name == "face-vid2vid-256":
        assert "shape of canonical.heatmap.weight: file (15, 32, 3, 3, 3), model (20, 32, 7, 7, 7)" in str(
            told.value
        )


def test_every_missing_unexpected_and_misshapen_key_is_listed(tmp_path):
    networks = hollow_state_dicts("zlh")
    del networks["generator"]["final.bias"], networks["he_estimator"]["fc_t.weight"]
    networks["generator"]["fifth.weight"] = torch.zeros(1)
    networks["kp_detector"]["kp.bias"] = torch.zeros(14)
    networks["kp_detector"]["kp.weight"] = networks["kp_detector"]["kp.weight"].int()
    file = tmp_path / "broken.pth.tar"
    torch.save(networks, file)
    with pytest.raises(ValueError, match="does not fit 'vox-256'") as told:
        checkpoints.load(file, VOX_256)
    assert str(told.value).splitlines()[1:] == [
        "  not in the file: generator.decoder.final.bias",
        "  not in the file: head.translation.weight",
        "  not in the model: generator:fifth.weight",
        "  shape of canonical.heatmap.bias: file (14,), model (15,)",
        "  dtype of canonical.heatmap.weight: file torch.int32, model torch.float32",
    ]


class Runs:
    def __reduce__(self):
        return (open, ("ran.txt", "w"))


FOREIGN = {
    "empty": lambda file, release: file.touch(),
    "truncated": lambda file, release: file.write_bytes(release.read_bytes()[: release.stat().st_size // 2]),
    "text": lambda file, release: file.write_text("not a checkpoint"),
    "code": lambda file, release: file.write_bytes(pickle.dumps({"generator": Runs()}, protocol=2)),
    "other networks": lambda file, release: torch.save({"netG": {"w": torch.zeros(1)}}, file),
    "a tensor": lambda file, release: torch.save(torch.zeros(3), file),
    "no tensors": lambda file, release: torch.save(
        {"generator": {"w": 1}, "kp_detector": {}, "he_estimator": {}}, file
    ),
}


@pytest.mark.parametrize("suffix", [".pth.tar", ".safetensors"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_is_no_checkpoint_is_refused(kind, suffix, release, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"weights{suffix}"
    FOREIGN[kind](file, release)
    with pytest.raises(ValueError, match=r"weights\.") as told:
        checkpoints.load(file)
    assert len(str(told.value).splitlines()) == 1
    assert "`weights_only`" not in str(told.value), "torch tells to switch the safety off"
    assert not (tmp_path / "ran.txt").exists(), "nothing in a file may run"


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth\.tar"):
        checkpoints.load("nowhere.pth.tar")


@pytest.mark.parametrize("config", [TINY, TINY_VOX_JACOBIAN], ids=lambda config: config.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_our_files_carry_their_config(config, dtype, tmp_path):
    model = checkpoints.random(config).to(dtype)
    checkpoints.save(model, tmp_path / "tiny.safetensors")
    again = checkpoints.load(tmp_path / "tiny.safetensors")
    assert again.config == config
    for key, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor)


def test_our_files_refuse_another_config(tmp_path):
    file = tmp_path / "tiny.safetensors"
    checkpoints.save(checkpoints.random(TINY_VOX), file)
    with pytest.raises(ValueError, match=r"holds a 'tiny-vox' model .* 'tiny'"):
        checkpoints.load(file, TINY)
    with pytest.raises(ValueError, match="holds a 'tiny-vox' model"):  # as wide, and still another geometry
        checkpoints.load(file, replace(TINY_VOX, align_corners=True))


def as_once_written(config: ModelConfig) -> dict[str, Any]:
    """What files from before `resize` and `truncates` carry; zhanglonghao1992's presets were relative."""
    values = config.as_dict()
    relative = values["geometry"]["relative"] or values["name"].startswith("vox")
    values["geometry"] |= {"relative": relative}
    later = {
        "appearance": ("lift",),
        "canonical": ("shared_jacobian", "depth", "hourglass"),
        "dense_motion": ("reads", "joined"),
        "generator": ("project",),
    }
    default = ModelConfig(name="any").as_dict()
    for part, names in later.items():
        if values[part] and all(values[part][name] == default[part][name] for name in names):
            values[part] = {key: value for key, value in values[part].items() if key not in names}
    return {key: value for key, value in values.items() if key not in ("resize", "truncates")}


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_earlier_files_are_still_their_presets(config, tmp_path):
    """And what has another name, or asks for what it asks, is left as it was."""
    assert ModelConfig.from_dict(completed(as_once_written(config))) == config
    assert completed(config.as_dict()) == config.as_dict()
    own = replace(config, name="mine")
    plain = replace(own, resize="triangle", truncates=False)
    assert ModelConfig.from_dict(completed(as_once_written(own))) == plain


def test_every_variant_of_a_release_is_known_in_earlier_files():
    for release in checkpoints.RELEASES.values():
        for config in release.configs():
            assert ModelConfig.from_dict(completed(as_once_written(config))) == config


def test_an_earlier_file_loads(tmp_path):
    file = tmp_path / "earlier.safetensors"
    for config, values in ((TINY, as_once_written(TINY)), (VOX_256, as_once_written(VOX_256))):
        save_file({"x": torch.zeros(2)}, file, {"format": "fv2v", "config": json.dumps(values)})
        assert native.read(file, config).config == config
        assert native.read(file, None).config == config
    broken = as_once_written(TINY) | {"geometry": {}}
    save_file({"x": torch.zeros(2)}, file, {"format": "fv2v", "config": json.dumps(broken)})
    with pytest.raises(ValueError, match="config that this version does not know"):
        checkpoints.load(file)


def test_a_foreign_safetensors_is_refused(tmp_path):
    file = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(2)}, file)
    with pytest.raises(ValueError, match="was not written by fv2v"):
        checkpoints.load(file)
    wrong = TINY.as_dict() | {"keypoints": "many"}
    for config in ({"name": "later"}, [], wrong):
        save_file({"x": torch.zeros(2)}, file, {"format": "fv2v", "config": json.dumps(config)})
        with pytest.raises(ValueError, match="config that this version does not know"):
            checkpoints.load(file)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    model = FaceVid2Vid(TINY)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        checkpoints.save(model, tmp_path / "absent" / "tiny.safetensors")
    with pytest.raises(ValueError, match=r"\.safetensors"):
        checkpoints.save(model, tmp_path / "tiny.pt")
    assert not list(tmp_path.iterdir())


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "release"

    def interrupted():
        with whole_folder(target) as folder:
            (folder / "file").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())
    target.mkdir()  # an empty one serves
    with whole_folder(target) as folder:
        (folder / "file").write_text("whole")
    assert [file.read_text() for file in target.iterdir()] == ["whole"]
    assert list(tmp_path.iterdir()) == [target]


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, second = (checkpoints.random(TINY).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_liveportraits_retargeting_is_known_with_and_without_its_prefix(prefix, tmp_path):
    for name in liveportrait.FILES:
        torch.save({}, tmp_path / name)
    parts = {"retarget_shoulder": "stitching", "retarget_mouth": "lips", "retarget_eye": "eyes"}
    stored = {part: {f"{prefix}mlp.2.bias": torch.ones(1)} for part in parts}
    torch.save(stored, tmp_path / "stitching_retargeting_module.pth")
    found = liveportrait.read(liveportrait.find(tmp_path))
    assert found.weights.keys() == {f"retargeting.{ours}.2.bias" for ours in parts.values()}
