# SPDX-License-Identifier: Apache-2.0
"""`fv2v demo`, and the weights that ship where none are given."""

import clips
import numpy as np
import pytest
from perfect import TINY_HEADS
from tiny import TINY_SADTALKER, lively

from fv2v import Reenactor, read_image, read_video
from fv2v.pipelines.demo import YAWS, demo


def test_the_command_shows_a_head_that_moves(fv2v, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = fv2v("demo", "--frames", 7)
    assert (code, err) == (0, "")
    folder = tmp_path / "fv2v-demo"
    assert sorted(path.name for path in folder.iterdir()) == [
        "demo.mp4",
        "driving.mp4",
        "portrait.png",
        "sheet.png",
    ]
    frames = np.stack(list(read_video(folder / "demo.mp4")))
    assert frames.shape == (7, 256, 3 * 256, 3)
    portrait, driving, output = np.split(frames.astype(int), 3, axis=2)
    assert np.abs(portrait - portrait[0]).max() <= 24, "the portrait stands still but for H.264"
    assert np.abs(output[-1] - output[0]).mean() > 1
    # the person is the portrait's, not the driver's
    assert np.abs(output - portrait).mean() < 0.6 * np.abs(output - driving).mean()
    assert read_image(folder / "sheet.png").shape == (3 * (16 + 128) + 8, 8 * 128, 3)
    assert "fv2v reenact fv2v-demo/portrait.png fv2v-demo/driving.mp4 --no-crop" in out
    code, _, err = fv2v(
        "reenact", "fv2v-demo/portrait.png", "fv2v-demo/driving.mp4", "--no-crop", "-n", 2, "-o", "out.mp4"
    )
    assert code == 0
    assert err.startswith("fv2v: no weights given: this is the starter, which learned on drawn heads alone")
    assert len(list(read_video(tmp_path / "out.mp4"))) == 2


def test_any_model_that_pictures_drive(tmp_path):
    calls = []
    files = demo(
        tmp_path,
        reenactor=lively(Reenactor(TINY_HEADS, weights="random")),
        frames=8,
        seed=3,
        progress=lambda done, whole: calls.append((done, whole)),
    )
    assert all(path.exists() for path in files)
    assert calls == [(done, 16) for done in range(1, 17)]
    assert next(iter(read_video(files.video))).shape == (256, 768, 3)
    assert read_image(files.portrait).shape == (32, 32, 3)
    assert len(YAWS) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--frames", 6), "expected frames >= 7 and seed >= 0, got 6 and 0"),
        (("--seed", -1), "got 75 and -1"),
        (("-o", "taken.txt"), "taken.txt: expected a folder's name, got a file's"),
        (("-o", "absent/demo"), "absent/demo: cannot make the folder (No such file or directory)"),
        (("-p", "vox-256"), "no weights given, and only the starter's ship"),
    ],
)
def test_bad_arguments(fv2v, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.txt").write_text("taken")
    code, out, err = fv2v("demo", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.txt"]


def test_coefficients_cannot_drive_it(tmp_path):
    with pytest.raises(ValueError, match="'tiny-sadtalker' is driven by 3DMM coefficients, no pictures"):
        demo(tmp_path, reenactor=Reenactor(TINY_SADTALKER, weights="random"))


def test_a_reenactor_without_weights_is_the_starter():
    with pytest.warns(UserWarning, match="which learned on drawn heads alone; weights=PATH"):
        reenactor = Reenactor()
    assert reenactor.config.name == "starter"
    for preset in ("vox-256", "liveportrait"):
        with pytest.raises(ValueError, match="no weights given, and only the starter's ship"):
            Reenactor(preset)
    source = reenactor.encode(clips.PORTRAIT)
    assert len(source) == 1
