# SPDX-License-Identifier: Apache-2.0
"""Weights that cannot be used, of every release: one line, exit code 2, nothing written and nothing run.

Files are laid out as the releases' and hold hardly a tensor: what is wrong with them is told before that.
"""

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import clips
import hostile_folders
import pytest
import torch
from refusals import assert_refused
from safetensors.torch import save_file
from tiny import TINY_VOX

from fv2v import checkpoints
from fv2v.checkpoints import liveportrait, sadtalker
from fv2v.networks import FaceVid2Vid
from fv2v.presets import SADTALKER_256, preset

ONE = {"one.weight": torch.ones(1)}
RENDERER, MAPPING, FULL_MAPPING = "SadTalker_V0.0.2_256.safetensors", *sadtalker.MAPPINGS.values()
STITCHING = "retargeting_models/stitching_retargeting_module.pth"
ZLH = "00000189-checkpoint.pth.tar"


def write_zlh(folder: Path, **generator: torch.Tensor) -> None:
    networks = {"generator": ONE | generator, "kp_detector": ONE, "he_estimator": ONE}
    torch.save(networks, folder / ZLH)


def write_spade(folder: Path) -> None:
    write_zlh(folder, **{"decoder.fc.weight": torch.ones(1)})


def write_sadtalker(folder: Path) -> None:
    save_file({f"{part}.weight": torch.ones(1) for part in ("kp_extractor", "generator")}, folder / RENDERER)
    torch.save({"mapping": ONE}, folder / MAPPING)


def write_liveportrait(folder: Path) -> None:
    for name, below in liveportrait.FILES.items():
        (folder / below).mkdir(exist_ok=True)
        torch.save(ONE, folder / below / name)
    parts = ("retarget_shoulder", "retarget_mouth", "retarget_eye")
    torch.save(dict.fromkeys(parts, ONE), folder / STITCHING)


def write_ours(folder: Path) -> None:
    checkpoints.save(checkpoints.random(TINY_VOX), folder / "tiny.safetensors")


# by release: what writes it, what is given of it, and the files it is in
RELEASES = {
    "zlh": (write_zlh, [ZLH], [ZLH]),
    "spade": (write_spade, [ZLH], [ZLH]),
    "sadtalker": (write_sadtalker, [RENDERER, MAPPING], [RENDERER, MAPPING]),
    "liveportrait": (write_liveportrait, ["."], ["base_models/motion_extractor.pth", STITCHING]),
    "ours": (write_ours, ["tiny.safetensors"], ["tiny.safetensors"]),
}
EVERY_FILE = pytest.mark.parametrize(
    ("release", "damaged"), [(release, file) for release, (_, _, files) in RELEASES.items() for file in files]
)


class Runs:
    """What a pickle of it does when it is read in the ordinary way."""

    def __reduce__(self):
        return (open, ("ran.txt", "w"))


def zipped_code(file: Path) -> None:
    torch.save({"generator": Runs()}, file)


def bare_code(file: Path) -> None:
    file.write_bytes(pickle.dumps({"mapping": Runs()}, protocol=2))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def text(file: Path) -> None:
    file.write_text("not a checkpoint\n" * 40)


def other_tensors(file: Path) -> None:
    save_file({"x": torch.ones(1)}, file) if file.suffix == ".safetensors" else torch.save(
        [torch.ones(1)], file
    )


def emptied(file: Path) -> None:
    file.write_bytes(b"")


@EVERY_FILE
@pytest.mark.parametrize("damage", [zipped_code, bare_code, cut, text, other_tensors, emptied])
def test_a_damaged_or_foreign_file_is_named(fv2v, release, damaged, damage, tmp_path, monkeypatch):
    write, given, _ = RELEASES[release]
    write(tmp_path)
    damage(tmp_path / damaged)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert_refused(fv2v("convert", *given, "out.safetensors"), Path(damaged).name)
    assert sorted(tmp_path.rglob("*")) == before, "nothing in a file may run, nothing may be written"


def test_the_code_would_run(tmp_path, monkeypatch):
    """Else the test above would see nothing."""
    monkeypatch.chdir(tmp_path)
    zipped_code(tmp_path / "code.pth")
    torch.load(tmp_path / "code.pth", weights_only=False)["generator"].close()
    assert (tmp_path / "ran.txt").exists()


@pytest.mark.parametrize("release", RELEASES)
def test_weights_that_do_not_fit_are_no_model(fv2v, release, tmp_path, monkeypatch):
    """Of a preset that was not asked for, and of hardly a tensor."""
    write, given, _ = RELEASES[release]
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    wrong = "vox-256" if release == "liveportrait" else "liveportrait"
    looks = {
        "zlh": "does not fit 'liveportrait'; it looks like 'vox-256': not in the file",
        "spade": "does not fit 'liveportrait'; it looks like 'vox-256-spade': not in the file",
        "sadtalker": f"{RENDERER} with {MAPPING} does not fit 'liveportrait'; it looks like 'sadtalker-256'",
        "liveportrait": "LivePortrait's release does not fit 'vox-256'; it looks like 'liveportrait'",
        "ours": "tiny.safetensors holds a 'tiny-vox' model",
    }
    assert_refused(fv2v("convert", *given, "out.safetensors", "-p", wrong), looks[release])
    picture = ["frontalize", clips.PORTRAIT, "-o", "out.png", "--preset", wrong]
    weights = [part for path in given for part in ("--weights", path)]
    assert_refused(fv2v(*picture, *weights), looks[release])
    if release != "ours":
        assert_refused(fv2v("convert", *given, "out.safetensors"), " more)")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("release", "removed", "given", "message"),
    [
        ("liveportrait", [STITCHING], ["."], "missing: stitching_retargeting_module.pth. Give the folder"),
        (
            "liveportrait",
            ["base_models/warping_module.pth", "base_models/spade_generator.pth"],
            ["."],
            "missing: warping_module.pth, spade_generator.pth. Give the folder",
        ),
        ("liveportrait", [], ["base_models"], "missing: stitching_retargeting_module.pth. Give the folder"),
        (
            "liveportrait",
            [],
            ["base_models/motion_extractor.pth"],
            "missing: appearance_feature_extractor.pth",
        ),
        ("liveportrait", [], [".", "."], "expected a file, got a folder"),
        ("sadtalker", [], [RENDERER], f"without the mapping network that drives it; give {MAPPING}"),
        ("sadtalker", [MAPPING], ["."], f"without its mapping network; give {MAPPING}"),
        ("sadtalker", [], [MAPPING], "the file holds mapping; with SadTalker's mapping network give its"),
        ("sadtalker", [RENDERER], ["."], f"mapping network without {RENDERER}"),
        ("sadtalker", [MAPPING], [RENDERER, MAPPING], f"{MAPPING}: no such file"),
        ("sadtalker", [], [MAPPING, MAPPING], "expected one file of weights, PerformRecast's four, "),
        ("zlh", [], [ZLH, ZLH, ZLH], "or LivePortrait's five; got "),
        ("zlh", [ZLH], ["."], "expected a file of weights, or a folder with SadTalker's two"),
    ],
)
def test_half_a_release_is_told_by_what_is_missing(
    fv2v, release, removed, given, message, tmp_path, monkeypatch
):
    RELEASES[release][0](tmp_path)
    for file in removed:
        (tmp_path / file).unlink()
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert_refused(fv2v("convert", *given, "out.safetensors"), message)
    weights = [part for path in given for part in ("--weights", path)]
    assert_refused(fv2v("frontalize", clips.PORTRAIT, "-o", "out.png", *weights), message)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("case", ["dicts", "dicts-below", "itself"])
def test_dicts_that_hold_one_another_are_walked_through_once(tmp_path, case):
    """Of 60 that hold the one before it twice, or one that holds itself."""
    hostile_folders.unpacked(hostile_folders.WEIGHTS[case](), tmp_path)
    with pytest.raises(ValueError, match="expected a file of weights, or a folder"):
        checkpoints.load(tmp_path)
    for file in tmp_path.glob("*.pth"):
        with pytest.raises(ValueError, match="is not laid out as a release"):
            checkpoints.load(file)


def test_liveportraits_files_are_five_once_each(tmp_path):
    write_liveportrait(tmp_path)
    files = checkpoints.find(tmp_path)
    assert [path.name for path in files] == list(liveportrait.FILES)
    assert checkpoints.find([str(path) for path in files]) == files
    for given in ([*files, files[0]], [*files, tmp_path / "more.pth"]):
        (tmp_path / "more.pth").write_text("more")
        with pytest.raises(ValueError, match="LivePortrait's five files, once each"):
            checkpoints.find(given)
    shutil.copy(files[0], tmp_path)
    with pytest.raises(ValueError, match="once each"):
        checkpoints.find(tmp_path)


def test_sadtalkers_files_are_chosen_by_the_preset(tmp_path):
    write_sadtalker(tmp_path)
    small, large = tmp_path / RENDERER, tmp_path / RENDERER.replace("256", "512")
    cropped, full = tmp_path / MAPPING, tmp_path / FULL_MAPPING
    assert checkpoints.find(tmp_path) == [small, cropped]
    shutil.copy(small, large)
    shutil.copy(cropped, full)
    assert checkpoints.find(tmp_path, preset("sadtalker-256")) == [small, cropped]
    assert checkpoints.find(tmp_path, preset("sadtalker-512")) == [large, cropped]
    reads_73 = replace(SADTALKER_256, head=replace(SADTALKER_256.head, inputs=73))
    assert checkpoints.find(tmp_path, reads_73) == [small, full]
    with pytest.raises(
        ValueError, match=r"256\.safetensors, .*512\.safetensors: say which by the preset's name"
    ):
        checkpoints.find(tmp_path)
    cropped.rename(tmp_path / "mapping.pth.tar")
    with pytest.raises(ValueError, match="give the renderer's file and the mapping's instead"):
        checkpoints.find(tmp_path, preset("sadtalker-256"))


def test_a_renderer_of_unknown_size_needs_the_preset(tmp_path):
    write_sadtalker(tmp_path)
    files = [tmp_path / "renderer.safetensors", tmp_path / MAPPING]
    (tmp_path / RENDERER).rename(files[0])
    with pytest.raises(ValueError, match="say so by the preset's name, sadtalker-256 or sadtalker-512"):
        checkpoints.load(files)
    with pytest.raises(
        ValueError, match="does not fit 'sadtalker-512':"
    ):  # hardly a tensor, but no other model
        checkpoints.load(files, preset("sadtalker-512"))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("out.pth.tar", "whose shapes no public release has"),
        ("out", "whose shapes no public release has"),
        ("out.pth", "ends in .safetensors or .pth.tar, or a folder's"),
        (".safetensors", "ends in .safetensors, .tar, got ''"),
        ("full", "expected the name of a new folder, or an empty one"),
        ("absent/out", "does not exist; make it first"),
        ("tiny.safetensors/out", "is a file, expected a folder"),
        ("/proc/out", "cannot write to the folder /proc"),  # not even root can
    ],
)
def test_a_target_that_does_not_serve(fv2v, target, message, tmp_path, monkeypatch):
    write_ours(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert_refused(fv2v("convert", "tiny.safetensors", target), message)
    assert sorted(tmp_path.rglob("*")) == before


def test_weights_outlive_their_file(tmp_path):
    """Cut short or written over, the file they came from neither kills the process nor changes them."""
    path = tmp_path / "model.safetensors"
    checkpoints.save(FaceVid2Vid(TINY_VOX), path)
    model = checkpoints.load(path)
    before = [tensor.clone() for tensor in model.state_dict().values()]
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    assert all(map(torch.equal, before, model.state_dict().values()))
    os.truncate(path, 0)
    assert all(map(torch.equal, before, model.state_dict().values()))
