# SPDX-License-Identifier: Apache-2.0
"""What the options that edit motion reach, and what they refuse."""

from pathlib import Path

import clips
import numpy as np
import pytest
from motion_samples import saved, template
from tiny import TINY_LIVEPORTRAIT, lively

from fv2v import Edit, Openness, Reenactor, read_image, read_video, write_image
from fv2v.cli.edit_options import EditOptions, VideoEditOptions
from fv2v.motion.ratios import read_openness


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    lively(Reenactor(TINY_LIVEPORTRAIT, weights="random")).save(folder / "tiny.safetensors")
    images = clips.moving_picture(clips.portrait(), 3)
    clips.write_clip(folder / "driving.mp4", images)
    write_image(folder / "still.png", images[2])
    np.save(folder / "open.npy", [[0.3, 0.3, 0.1], [0.1, 0.1, 0.5], [0.4, 0.4, 0.3]])
    return folder


@pytest.fixture
def reenacted(fv2v, files, tmp_path):
    """reenacted("--region", "lips") -> its frames (3, H, W, 3)."""

    def run(*options: object) -> np.ndarray:
        output = tmp_path / "out.mp4"
        inputs = (clips.PORTRAIT, files / "driving.mp4", "--no-crop", "-w", files / "tiny.safetensors")
        code, _, err = fv2v("reenact", *inputs, "-o", output, "--overwrite", *options)
        assert (code, err) == (0, "")
        return np.stack(list(read_video(output)))

    return run


def test_options_reach_the_picture(reenacted, files):
    plain = reenacted()
    for options in (
        ["--region", "lips"],
        ["--strength", 9],
        ["--strength", "lips=9", "--strength", "1,2=0"],
        ["--still", files / "still.png"],
        ["--multiplier", 2],
        ["--eyes", 0.1, "--portrait-open", "0.3,0.3,0.1"],
        ["--lips", "driver", "--portrait-open", files / "open.npy", "--driving-open", files / "open.npy"],
        ["--normalize-lips", "--portrait-open", "0.3,0.3,0.9"],
    ):
        assert not np.array_equal(reenacted(*options), plain), options
    assert np.array_equal(reenacted("--driving-option", "pose-friendly"), plain)


def test_options_become_an_edit(files):
    options = VideoEditOptions("eyes", ["0.5"], 1.2, eyes="0.2", portrait_open="0.3,0.4,0.1")
    portrait = Openness(0.3, 0.4, 0.1)
    expected = Edit(region="eyes", strength=0.5, multiplier=1.2, eyes=0.2, portrait=portrait)
    assert options.edits() == expected
    expected = Edit(strength={"lips": 0.5, (0, 3): 2.0})
    assert EditOptions(strength=["lips=0.5", "0, 3=2"]).edit() == expected
    options = VideoEditOptions(eyes="driver", portrait_open="0,0,0", driving_open=files / "open.npy")
    edits = options.edits()
    assert [(each.eyes, each.lips) for each in edits] == [(0.3, None), (0.1, None), (0.4, None)]
    assert EditOptions().edit() is None
    assert VideoEditOptions().edits() is None


def test_a_template_tells_how_open_its_eyes_and_lips_are(fv2v, files, tmp_path):
    path = saved(tmp_path / "talking.pkl", stored := template(T=3))
    read = read_openness(path)
    assert [each.left_eye for each in read] == [float(each[0, 0]) for each in stored["c_eyes_lst"]]
    assert [each.right_eye for each in read] == [float(each[0, 1]) for each in stored["c_eyes_lst"]]
    assert [each.lips for each in read] == [float(each[0, 0]) for each in stored["c_lip_lst"]]
    command = (
        clips.PORTRAIT,
        path,
        "--no-crop",
        "-w",
        files / "tiny.safetensors",
        "-o",
        tmp_path / "out.mp4",
        "--overwrite",
    )
    options = ("--lips", "driver", "--portrait-open", "0.3,0.3,0.1")
    made = []
    for more in ([], options, (*options, "--driving-open", path)):
        code, _, err = fv2v("render", *command, *more)
        assert (code, err) == (0, "")
        made.append(np.stack(list(read_video(tmp_path / "out.mp4"))))
    assert np.array_equal(made[1], made[2])
    assert not np.array_equal(made[0], made[1])
    silent = saved(path, {name: each for name, each in stored.items() if not name.endswith("_lst")})
    code, _, err = fv2v("render", *command, *options)
    assert code == 2
    assert f"{silent}: the motion has no ratios of eyes and lips" in err


def test_a_picture_is_imitated_in_part(fv2v, files, tmp_path):
    inputs = (clips.PORTRAIT, files / "still.png", "--no-crop", "-w", files / "tiny.safetensors")
    made = []
    for options in ([], ["--region", "lips"], ["--strength", 0]):
        code, _, err = fv2v("imitate", *inputs, "-o", tmp_path / "out.png", "--overwrite", *options)
        assert (code, err) == (0, "")
        made.append(read_image(tmp_path / "out.png"))
    assert not any(np.array_equal(made[i], made[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--region", "nose"], "expected a region, one of all, expression, pose, lips, eyes; got 'nose'"),
        (["--strength", "much"], "--strength: expected a number, got 'much'"),
        (["--strength", "0.5", "--strength", "lips=1"], "expected one number for all, or groups"),
        (["--strength", "ears=1"], "one of lips, eyes, brows; got 'ears'"),
        (["--strength", "1,21=1"], "expected keypoints from 0 to 20, got (1, 21)"),
        (["--blend", "0.5"], "expected --still PICTURE, too"),
        (["--eyes", "0.3"], "expected --portrait-open, or --face with a file of 203 landmarks"),
        (["--eyes", "driver", "--portrait-open", "0.3,0.3,0"], "expected --driving-open or --driving-face"),
        (["--driving-open", "open.npy"], "expected both, got a file alone"),
        (["--eyes", "0.3", "--portrait-open", "absent.npy"], "absent.npy: no such file"),
        (
            ["--driving-option", "friendly"],
            "--driving-option: expected expression-friendly or pose-friendly",
        ),
    ],
)
def test_a_mistake_is_one_line(fv2v, files, monkeypatch, options, message):
    monkeypatch.chdir(files)
    arguments = [clips.PORTRAIT, "driving.mp4", "--no-crop", "-w", "tiny.safetensors", "-o", "out.mp4"]
    code, out, err = fv2v("reenact", *arguments, *options)
    assert (code, out) == (2, "")
    assert err.startswith("fv2v: ")
    assert err.count("\n") == 1
    assert message in err
    assert not Path("out.mp4").exists()
