# SPDX-License-Identifier: Apache-2.0
"""Every public release at full size, from files as people have them: in, to our format, and back out.

Half a gigabyte or more each, so the files of one are gone before the next is written, and these tests are
slow; by default test_parity.py loads one release.
"""

import shutil
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from release_weights import CONFIGS, as_stored, in_our_shapes, state_dicts, write_release
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fv2v import checkpoints
from fv2v.checkpoints import fomm, liveportrait, performrecast, sadtalker, zhanglonghao1992
from fv2v.checkpoints.renames import to_ours
from fv2v.checkpoints.storage import is_state_dict
from fv2v.presets import preset


@pytest.fixture(scope="module", params=CONFIGS)
def release(request, tmp_path_factory) -> Iterator[tuple[str, list[Path]]]:
    folder = tmp_path_factory.mktemp(request.param)
    yield request.param, write_release(request.param, folder)
    shutil.rmtree(folder)


@pytest.mark.slow
def test_loads_whole(release):
    name, files = release
    config, layout = CONFIGS[name]
    model = checkpoints.load(files)
    assert model.config == config
    stored = as_stored(name, state_dicts(name))
    assert_same_bits(model.state_dict(), in_our_shapes(layout, to_ours(stored, layout.renames(config))))


@pytest.mark.slow
def test_converts_to_our_format_and_back(release, tmp_path):
    """Also what training left in the files, but for the optimizer and the epoch."""
    name, files = release
    config, layout = CONFIGS[name]
    ours, back = tmp_path / "ours.safetensors", tmp_path / f"back{layout.SUFFIX}"
    assert checkpoints.convert(files, ours) == config
    with safe_open(ours, framework="pt") as file:
        assert file.metadata()["release"] == layout.NAME
    assert checkpoints.convert(ours, back) == config
    assert sorted(tmp_path.iterdir()) == sorted([ours, back])
    originals = tensors_in(files[0].parent if len(files) == 2 else files[0])
    if name != "performrecast":  # whose files have no place for what training leaves
        assert any("discriminator" in key for key in originals)
    assert_same_bits(tensors_in(back), originals)
    # a tensor read from a .safetensors must not bring the whole file along
    assert size_of(back) < 1.05 * sum(map(size_of, files))
    wrong = tmp_path / ("wrong" if layout.SUFFIX else "wrong.pth.tar")
    with pytest.raises(ValueError, match=f"expected a .*, as {layout.NAME} has it"):
        checkpoints.convert(ours, wrong)
    assert not wrong.exists()


@pytest.mark.slow
def test_what_a_reenactor_saves_goes_back_out(release, tmp_path):
    """By its shapes: `save` knows of no release. SadTalker's presets are for either mapping network."""
    name, files = release
    config, layout = CONFIGS[name]
    saved, back = tmp_path / "saved.safetensors", tmp_path / f"back{layout.SUFFIX}"
    model = checkpoints.load(files)
    checkpoints.save(model, saved)
    checkpoints.convert(saved, back, config.name)
    again = checkpoints.load(back, preset(config.name))
    assert again.config == config
    assert_same_bits(again.state_dict(), model.state_dict())


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())


def tensors_in(path: Path, at: str = "") -> dict[str, Tensor]:
    """Every tensor of every network in a file or a folder, by file, network and key."""
    if path.is_dir():
        return {k: t for child in path.iterdir() for k, t in tensors_in(child, f"{at}/{child.name}").items()}
    stored: Mapping[str, Any]
    stored = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    if is_state_dict(stored):
        return {f"{at}/{key}": tensor for key, tensor in stored.items()}
    networks = {name: value for name, value in stored.items() if is_state_dict(value)}
    return {f"{at}/{name}/{key}": tensor for name, value in networks.items() for key, tensor in value.items()}


def assert_same_bits(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for key, tensor in expected.items():
        assert actual[key].dtype == tensor.dtype, key
        assert actual[key].shape == tensor.shape, key
        a, b = (t.reshape(-1).view(torch.uint8) for t in (actual[key], tensor))
        assert torch.equal(a, b), key


@pytest.mark.parametrize(
    "layout",
    [zhanglonghao1992, sadtalker, liveportrait, performrecast, fomm],
    ids=lambda layout: layout.NAME,
)
def test_no_place_lies_below_another(layout):
    """Which makes a table one to one: a key has one place at most, on either side."""
    for config in layout.configs():
        tables = layout.renames(config)
        ours = [place for table in tables.values() for _, place in table]
        for places in ([theirs for theirs, _ in table] for table in (*tables.values(),)):
            assert_apart(places)
        assert_apart(ours)


def assert_apart(places: list[str]) -> None:
    assert len(set(places)) == len(places)
    for a, b in combinations(places, 2):
        # a number stands for any: `up{i}` is where `up0` is
        for one, other in ((a, b), (b, a)):
            assert not f"{one}.".startswith(f"{other}."), f"{one} lies below {other}"


@pytest.mark.parametrize(
    ("release", "network", "crossed"),
    [
        ("zlh", "he_estimator", True),
        ("sad", "mapping", False),
        ("lp", "motion_extractor", False),
        ("performrecast", "motion_extractor", False),
    ],
)
def test_only_one_release_calls_yaw_roll(release, network, crossed):
    config, layout = CONFIGS[release]
    table = {theirs.removeprefix("detector."): ours for theirs, ours in layout.renames(config)[network]}
    yaw, roll = ("fc_roll", "fc_yaw") if crossed else ("fc_yaw", "fc_roll")
    assert (table[yaw], table[roll]) == ("head.yaw.bins", "head.roll.bins")


@pytest.mark.slow
def test_the_512_renderer_differs_in_its_name_only(tmp_path):
    write_release("sad", tmp_path)
    small = tmp_path / "SadTalker_V0.0.2_256.safetensors"
    assert checkpoints.load(tmp_path, preset("sadtalker-512")).config == preset("sadtalker-512")
    small.rename(tmp_path / "SadTalker_V0.0.2_512.safetensors")
    model = checkpoints.load(tmp_path)
    assert model.config == preset("sadtalker-512")
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_comfyuis_conversion_of_liveportrait_loads_whole(tmp_path):
    """Five .safetensors in one folder; the fifth is flat, `retarget_eye_module.mlp.0.weight`."""
    stored = as_stored("lp", state_dicts("lp"))
    fifth = {
        f"{name}_{key}": tensor
        for name in [name for name in stored if name.startswith("retarget_")]
        for key, tensor in stored.pop(name).items()
    }
    for name, tensors in (stored | {"stitching_retargeting_module": fifth}).items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
    config, layout = CONFIGS["lp"]
    expected = to_ours(as_stored("lp", state_dicts("lp")), layout.renames(config))
    assert_same_bits(checkpoints.load(tmp_path).state_dict(), expected)
    shutil.rmtree(tmp_path)
