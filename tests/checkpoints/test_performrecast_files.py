# SPDX-License-Identifier: Apache-2.0
"""PerformRecast's four files, whose names are LivePortrait's: contents decide. Of a tensor or two each."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fv2v import checkpoints
from fv2v.checkpoints import liveportrait, performrecast
from fv2v.diagnostics.path_info import about
from fv2v.presets import LIVEPORTRAIT, PERFORMRECAST, preset

MASK = "dense_motion_network.mask.weight"
KEYS = {
    "appearance_feature_extractor": ("dinov2_img_encoder.model.cls_token", "resblocks_3d.3dr0.norm1.weight"),
    "motion_extractor": ("norm.weight", "fc_kp.weight"),
    "warping_module": (MASK, "third.conv.weight"),
    "spade_generator": ("fc.weight", "G_middle_0.conv_0.bias"),
}


def stored(network: str, flows: int = PERFORMRECAST.flows) -> dict[str, Tensor]:
    return {key: torch.ones(flows if key == MASK else 2) for key in KEYS[network]}


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "weights"
    made.mkdir()
    for network in KEYS:
        torch.save(stored(network), made / f"{network}.pth")
    return made


def test_its_files_are_not_liveportraits(folder):
    files = checkpoints.find(folder)
    assert [path.name for path in files] == list(performrecast.FILES)
    assert [performrecast.part(path) for path in files] == list(KEYS)
    assert [liveportrait.part(path) for path in files] == [None, None, None, "spade_generator"]
    found = performrecast.read(files)
    assert found.config == PERFORMRECAST
    assert {"appearance.transformer.class_token", "head.canonical.weight"} <= found.weights.keys()
    assert ":" not in "".join(found.weights)  # of every tensor there is a place


def test_liveportraits_flow_of_21_keypoints_is_not_its(tmp_path):
    torch.save(stored("warping_module", LIVEPORTRAIT.flows), tmp_path / "warping_module.pth")
    assert performrecast.part(tmp_path / "warping_module.pth") is None
    assert liveportrait.part(tmp_path / "warping_module.pth") == "warping_module"
    assert performrecast.find(tmp_path) == []


def test_other_names_and_the_other_format_from_any_folder_above(folder, tmp_path):
    below = tmp_path / "above" / "models" / "recast"
    below.mkdir(parents=True)
    for number, network in enumerate(KEYS):
        save_file(stored(network), below / f"{number}.safetensors")
    files = checkpoints.find(tmp_path / "above")
    assert [path.name for path in files] == [f"{number}.safetensors" for number in range(4)]
    assert checkpoints.find(list(reversed(files))) == list(reversed(files))
    weights = performrecast.read(checkpoints.find(folder)).weights
    assert performrecast.read(list(reversed(files))).weights.keys() == weights.keys()


@pytest.mark.parametrize("network", [name for name in KEYS if name != "motion_extractor"])
def test_what_is_missing_is_told(folder, network):
    (folder / f"{network}.pth").unlink()
    with pytest.raises(ValueError, match=rf"weights are four files; missing: {network}\.pth\. Give the fol"):
        checkpoints.load(folder)
    torch.save({"nested": stored(network)}, folder / f"{network}.pth")
    with pytest.raises(ValueError, match=r"four files; missing"):
        checkpoints.load(folder)


def test_a_file_too_many_and_weights_that_do_not_fit(folder):
    with pytest.raises(ValueError, match=r"does not fit 'performrecast':(?s:.*)not in the file: "):
        checkpoints.load(folder)
    with pytest.raises(ValueError, match="does not fit 'liveportrait'; it looks like 'performrecast'"):
        checkpoints.load(folder, preset("liveportrait"))
    torch.save(stored("motion_extractor"), folder / "again.pth")
    with pytest.raises(ValueError, match="expected PerformRecast's four files, once each"):
        checkpoints.load(folder)


def test_what_a_file_is_in_a_line(folder):
    known = "weights of PerformRecast's release: appearance_feature_extractor"
    assert about(folder / "appearance_feature_extractor.pth") == known
    known = "weights of LivePortrait's or PerformRecast's release: spade_generator"
    assert about(folder / "spade_generator.pth") == known
    assert about(folder).count("PerformRecast's release") == 4
