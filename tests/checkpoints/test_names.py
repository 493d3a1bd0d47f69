# SPDX-License-Identifier: Apache-2.0
"""Weights under other names, in the other format and in the folders that people have: contents decide.

Files hold a tensor or two of each network, which is enough to tell it; test_releases.py loads whole ones.
"""

import itertools
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import TINY, TINY_VOX
from torch import Tensor

from fv2v import checkpoints
from fv2v.checkpoints import liveportrait, sadtalker, zhanglonghao1992
from fv2v.checkpoints.storage import Checkpoint, read_file
from fv2v.presets import preset

RETARGETING = ("retarget_shoulder", "retarget_mouth", "retarget_eye")
PLACES = {
    "appearance_feature_extractor": ("first.conv.weight", "resblocks_3d.3dr0.conv1.weight"),
    "motion_extractor": ("detector.norm.weight", "detector.fc_kp.weight"),
    "warping_module": ("third.conv.weight", "dense_motion_network.mask.weight"),
    "spade_generator": ("fc.weight", "G_middle_0.conv_0.bias"),
}
COMFYUI = [f"{name}.safetensors" for name in (*PLACES, "stitching_retargeting_module")]


def numbered(*keys: str) -> dict[str, Tensor]:
    return {key: torch.full((2,), float(number)) for number, key in enumerate(keys)}


def liveportraits(flat: str | None = None) -> list[dict[str, object]]:
    """What its five files hold; `flat`: what is between a network and its keys in the fifth."""
    parts = {name: numbered("module.mlp.0.weight", "module.mlp.2.weight") for name in RETARGETING}
    fifth: dict[str, object] = dict(parts)
    if flat is not None:
        fifth = {
            f"{name}{flat}{key.removeprefix('module.')}": tensor
            for name, network in parts.items()
            for key, tensor in network.items()
        }
    return [*(numbered(*keys) for keys in PLACES.values()), fifth]


def write(path: Path, stored: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(stored, path)
    else:
        torch.save(stored, path)
    return path


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.weights.keys() == expected.weights.keys()
    assert all(torch.equal(tensor, expected.weights[key]) for key, tensor in found.weights.items())


@pytest.fixture
def plain(tmp_path) -> Checkpoint:
    """LivePortrait's files as its release has them."""
    folder = tmp_path / "plain"
    for (name, below), stored in zip(liveportrait.FILES.items(), liveportraits(), strict=True):
        write(folder / below / name, stored)
    return liveportrait.read(checkpoints.find(folder))


@pytest.mark.parametrize("flat", ["_module.", ".module.", "."])
def test_comfyuis_files_are_liveportraits(plain, tmp_path, flat):
    """Five .safetensors in one folder, beside a detector's, and without the folder's name given."""
    folder = tmp_path / "models" / "liveportrait"
    for name, stored in zip(COMFYUI, liveportraits(flat), strict=True):
        write(folder / name, stored)
    write(folder / "landmark_model.pth", numbered("landmarks.weight"))
    (folder / "landmark.onnx").write_bytes(b"a graph")
    files = checkpoints.find(folder)
    assert [path.name for path in files] == COMFYUI
    assert_same(liveportrait.read(files), plain)
    assert checkpoints.find(tmp_path / "models") == files
    assert_same(liveportrait.read(checkpoints.find([*reversed(files)])), plain)


@pytest.mark.parametrize(
    "names",
    [
        [f"liveportrait_{number}.pth" for number in range(5)],
        [*reversed(COMFYUI)],
        ["F.pt", "H.ckpt", "W.bin", "spade_generator.tar", "motion_extractor.pth"],
    ],
)
def test_contents_decide_whatever_the_names(plain, tmp_path, names):
    for name, stored in zip(names, liveportraits("_module."), strict=True):
        write(tmp_path / "given" / name, stored)
    files = checkpoints.find(tmp_path / "given")
    assert [path.name for path in files] == names
    assert_same(liveportrait.read(files), plain)


def test_the_other_format_under_the_releases_names(plain, tmp_path):
    for (name, below), stored in zip(liveportrait.FILES.items(), liveportraits("_module."), strict=True):
        path = write(tmp_path / "given" / below / f"{name}.safetensors", stored)
        path.rename(path.with_suffix(""))
    assert_same(liveportrait.read(checkpoints.find(tmp_path / "given")), plain)


def test_the_folder_that_liveportraits_instructions_make(tmp_path):
    """`pretrained_weights`, with the weights for animals and for faces in photographs beside it."""
    top = tmp_path / "pretrained_weights"
    for folder in ("liveportrait", "liveportrait_animals"):
        for (name, below), stored in zip(liveportrait.FILES.items(), liveportraits(), strict=True):
            write(top / folder / below / name, stored)
    write(top / "liveportrait_animals" / "xpose.pth", numbered("backbone.weight"))
    (top / "liveportrait" / "landmark.onnx").write_bytes(b"a graph")
    (top / "insightface" / "models" / "buffalo_l").mkdir(parents=True)
    files = checkpoints.find(top)
    assert files == checkpoints.find(top / "liveportrait")
    assert checkpoints.find(top / "liveportrait_animals") != files
    files[1].unlink()
    with pytest.raises(ValueError, match=r"missing: motion_extractor\.pth\. Give the folder .* or in livep"):
        checkpoints.find(top)


def test_one_file_of_five_says_so(tmp_path):
    path = write(tmp_path / "anything.safetensors", liveportraits()[1])
    with pytest.raises(ValueError, match=r"five files; missing: appearance_feature_extractor\.pth, warping"):
        checkpoints.find(path)


RENDERER = numbered("kp_extractor.kp.weight", "generator.first.conv.weight", "audio2exp.netG.weight")


def mapping(inputs: int) -> dict[str, Tensor]:
    return {"first.0.weight": torch.full((4, inputs, 7), 1.0 * inputs)}


@pytest.mark.parametrize(
    ("renderer", "other"),
    [
        ("SadTalker_V0.0.2_256.safetensors", "mapping_00229-model.pth.tar"),
        ("renderer_256.pth", "mapping.safetensors"),
        ("mapping_256.pth.tar", "SadTalker_256.safetensors"),
    ],
)
def test_sadtalkers_two_files(tmp_path, renderer, other):
    """The renderer of either format, and the mapping network, which is nested in a .pth.tar."""
    small = {f"mapping.{key}": tensor for key, tensor in mapping(70).items()}
    files = [
        write(tmp_path / renderer, RENDERER),
        write(tmp_path / other, small if other.endswith(".safetensors") else {"mapping": mapping(70)}),
    ]
    assert checkpoints.find(tmp_path) == files
    for given in itertools.permutations(files):
        found = sadtalker.read(checkpoints.find(given), None)
        assert found.config == preset("sadtalker-256")
        assert {name: [*network] for name, network in found.others.items()} == {
            "renderer": ["audio2exp.netG.weight"]
        }
        assert torch.equal(found.weights["head.trunk.first.weight"], mapping(70)["first.0.weight"])


def test_the_mapping_network_is_chosen_by_its_shape(tmp_path):
    """Not by a number in its name."""
    renderer = write(tmp_path / "SadTalker_V0.0.2_256.safetensors", RENDERER)
    face = write(tmp_path / "mapping_00109-model.pth.tar", {"mapping": mapping(70)})
    full = write(tmp_path / "a.pth", {"mapping": mapping(73)})
    assert checkpoints.find(tmp_path) == [renderer, face]
    face.unlink()
    assert checkpoints.find(tmp_path) == [renderer, full]


@pytest.mark.parametrize("name", ["vox.pth", "vox.ckpt", "vox.safetensors"])
def test_zhanglonghao1992s_file(tmp_path, name):
    networks = {network: numbered("kp.weight", "first.conv.weight") for network in zhanglonghao1992.NETWORKS}
    stored: dict = networks
    if name.endswith(".safetensors"):
        stored = {f"{network}.{key}": t for network, each in networks.items() for key, t in each.items()}
    path = write(tmp_path / name, stored)
    other = write(tmp_path / "00000189-checkpoint.pth.tar", networks)
    expected = zhanglonghao1992.read(other, read_file(other))
    assert checkpoints.find(path) == [path]
    assert_same(zhanglonghao1992.read(path, read_file(path)), expected)
    with pytest.raises(ValueError, match=f"{name} does not fit 'vox-256'"):
        checkpoints.load(path)


@pytest.mark.parametrize("name", ["tiny.pth", "motion_extractor.safetensors", "no_ending"])
def test_ours_is_known_by_what_it_says_of_itself(tmp_path, name):
    checkpoints.save(checkpoints.random(TINY_VOX), tmp_path / "ours.safetensors")
    shutil.move(tmp_path / "ours.safetensors", tmp_path / name)
    assert checkpoints.load(tmp_path / name).config == TINY_VOX


@pytest.mark.parametrize("first", [b"\x80", b"PK"], ids=["as a pickle", "as a zip"])
@pytest.mark.parametrize("name", ["weights.safetensors", "weights.bin"])
def test_a_header_may_be_of_any_length(tmp_path, first, name):
    """A .safetensors begins with its header's length, which may read like another format's first bytes."""
    checkpoints.save(checkpoints.random(TINY), tmp_path / "plain.safetensors")
    data = (tmp_path / "plain.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    step, wanted = 1 << 8 * len(first), int.from_bytes(first, "little")
    longer = length + (wanted - length) % step
    file = tmp_path / name
    file.write_bytes(longer.to_bytes(8, "little") + data[8 : 8 + length].ljust(longer) + data[8 + length :])
    assert file.read_bytes().startswith(first)
    assert checkpoints.load(file).config == TINY
