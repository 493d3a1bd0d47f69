# SPDX-License-Identifier: Apache-2.0
"""First Order Motion's files as people have them, told by what they hold, here of zeros that take no room."""

from pathlib import Path

import pytest
import torch
from release_weights import hollow_state_dicts, training_left
from safetensors.torch import save_file

from fv2v import checkpoints
from fv2v.checkpoints import fomm
from fv2v.diagnostics.path_info import about
from fv2v.presets import FOMM_256, FOMM_256_MGIF, FOMM_256_UNALIGNED

FORMATS = [pytest.param(True, id="today"), pytest.param(False, id="of torch 1.0")]


def written(path: Path, networks, today: bool = True) -> Path:
    torch.save(networks | training_left(), path, _use_new_zipfile_serialization=today)
    return path


@pytest.mark.parametrize("today", FORMATS)
def test_a_file_is_known_by_what_it_holds(tmp_path, today):
    path = written(tmp_path / "vox-cpk.pth.tar", hollow_state_dicts("fomm"), today)
    assert fomm.holds(path)
    assert checkpoints.load(path).config == FOMM_256
    assert checkpoints.load(tmp_path).config == FOMM_256
    assert checkpoints.load(path, FOMM_256_UNALIGNED).config == FOMM_256_UNALIGNED
    with pytest.raises(ValueError, match="does not fit 'vox-256'; it looks like 'fomm-256'"):
        checkpoints.load(path, checkpoints.zhanglonghao1992.VOX_256)


def test_a_trimmed_file_and_a_flat_one(tmp_path):
    networks = hollow_state_dicts("fomm")
    torch.save(networks, tmp_path / "vox-adv-cpk.pth.tar")
    flat = {f"{name}.{key}": t.contiguous() for name, each in networks.items() for key, t in each.items()}
    save_file(flat, tmp_path / "vox.safetensors")
    for name in ("vox-adv-cpk.pth.tar", "vox.safetensors"):
        assert checkpoints.load(tmp_path / name).config == FOMM_256
    with pytest.raises(ValueError, match="each of which would do"):
        checkpoints.load(tmp_path)


def test_keypoints_and_jacobians_are_told_by_their_heads(tmp_path):
    mgif = hollow_state_dicts("fomm_mgif")
    assert checkpoints.load(written(tmp_path / "mgif-cpk.pth.tar", mgif)).config == FOMM_256_MGIF
    five = hollow_state_dicts("fomm")
    for network, key, rows in (
        ("kp_detector", "kp", 5),
        ("kp_detector", "jacobian", 20),
        ("generator", "dense_motion_network.mask", 6),
    ):
        for part in ("weight", "bias"):
            five[network][f"{key}.{part}"] = five[network][f"{key}.{part}"][:rows]
    first = five["generator"]["dense_motion_network.hourglass.encoder.down_blocks.0.conv.weight"]
    with pytest.raises(ValueError, match=r"does not fit 'fomm-256-k5':\n  shape of dense_motion\.hourglass"):
        checkpoints.load(written(tmp_path / "five.pth.tar", five))
    assert first.shape[1] == 44
    still = hollow_state_dicts("fomm")
    still["kp_detector"] = {k: t for k, t in still["kp_detector"].items() if not k.startswith("jacobian.")}
    config = checkpoints.load(written(tmp_path / "still.pth.tar", still)).config
    assert (config.name, config.jacobian) == ("fomm-256-translation", False)


def test_half_a_file_is_refused(tmp_path):
    half = hollow_state_dicts("fomm")
    half["generator"].pop("final.weight")
    with pytest.raises(ValueError, match=r"not in the file: generator\.decoder\.final\.weight"):
        checkpoints.load(written(tmp_path / "half.pth.tar", half))
    alone = {"generator": half["generator"]}
    with pytest.raises(ValueError, match="not laid out as a release that fv2v reads"):
        checkpoints.load(written(tmp_path / "alone.pth.tar", alone))


def test_info_says_whose_it_is(tmp_path):
    path = written(tmp_path / "vox-cpk.pth.tar", hollow_state_dicts("fomm"))
    assert about(path) == "weights of first-order-model's release: generator, kp_detector"
