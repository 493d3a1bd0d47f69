# SPDX-License-Identifier: Apache-2.0
"""LivePortrait's weights with its files that find and mark faces beside them: what commands do alone."""

import shutil
from dataclasses import replace
from pathlib import Path

import clips
import numpy as np
import pytest
import standin_faces
from tiny import TINY_LIVEPORTRAIT, lively

from fv2v import Reenactor, read_image, read_motion, read_video, write_image
from fv2v.checkpoints import liveportrait, native
from fv2v.checkpoints.storage import Checkpoint
from fv2v.face.detectors.liveportrait import FILES, LICENCE, LivePortraitFaces
from fv2v.face.landmarks import eye_ratios, lip_ratio
from fv2v.face.portrait import FaceChoice
from fv2v.pipelines.faces import FaceFinder
from fv2v.pipelines.model import ModelChoice

FRAMES = 4


def patch(left: int, top: int, side: int) -> np.ndarray:
    """(200, 240, 3): noise without red, and a patch of it, which the stand-ins take for a face."""
    image = np.random.default_rng(0).integers(0, 100, (200, 240, 3), np.uint8)
    image[..., 0] = 20
    image[top : top + side, left : left + side, 0] = 250
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """`pretrained_weights`, with tiny weights in the place of LivePortrait's."""
    folder = standin_faces.write_faces(tmp_path_factory.mktemp("pretrained_weights"))
    model = lively(Reenactor(TINY_LIVEPORTRAIT, weights="random")).model
    stored = Checkpoint("tiny", liveportrait.NAME, model.config, model.state_dict(), {})
    native.write(stored, folder / "liveportrait" / "tiny.safetensors")
    write_image(folder / "portrait.png", patch(90, 60, 50))
    clips.write_clip(folder / "driving.mp4", np.stack([patch(70 + 6 * i, 70, 60) for i in range(FRAMES)]))
    return folder


@pytest.fixture(scope="module")
def marks(folder) -> Path:
    """Beside them, what the files find, as a user would give it."""
    faces, portrait = LivePortraitFaces(folder), read_image(folder / "portrait.png")
    coarse = faces.landmarks(portrait, faces(portrait)[0])
    np.save(folder / "portrait106.npy", coarse)
    np.save(folder / "portrait203.npy", faces.refined(portrait, coarse))
    np.save(folder / "driving203.npy", np.stack(list(faces.follow(read_video(folder / "driving.mp4")))))
    return folder


def command(folder: Path, out: Path, *options: object) -> tuple[object, ...]:
    weights = folder / "liveportrait" / "tiny.safetensors"
    return (
        "reenact",
        folder / "portrait.png",
        folder / "driving.mp4",
        "-o",
        out,
        "--overwrite",
        "-w",
        weights,
        *options,
    )


def test_eyes_lips_and_paste_back_need_no_landmarks_from_elsewhere(fv2v, marks, tmp_path):
    """As with all of them given, and the licence is named in one line."""
    asked = ("--eyes", "driver", "--lips", "driver", "--paste-back")
    code, _, err = fv2v(*command(marks, tmp_path / "found.mp4", *asked))
    assert (code, err) == (0, f"fv2v: note: {LICENCE}\n")
    given = (
        *("--face", marks / "portrait106.npy", "--driving-face", marks / "driving203.npy"),
        *("--portrait-open", marks / "portrait203.npy", "--driving-open", marks / "driving203.npy"),
    )
    code, _, err = fv2v(*command(marks, tmp_path / "given.mp4", *asked, *given))
    assert (code, err) == (0, "")
    code, _, _ = fv2v(*command(marks, tmp_path / "plain.mp4", "--paste-back"))
    assert code == 0
    found, expected, plain = (
        np.stack(list(read_video(tmp_path / f"{name}.mp4"))) for name in ("found", "given", "plain")
    )
    assert found.shape == (FRAMES, 200, 240, 3)
    assert (found == expected).all()
    assert (found != plain).any(), "the test would not see eyes and lips move"


def test_given_landmarks_of_203_points_tell_how_open_the_driver_is(fv2v, marks, tmp_path):
    options = ("--lips", "driver", "--portrait-open", "0.3,0.3,0.1", "--no-stitch")
    made = []
    for more in (["--driving-face", marks / "driving203.npy"], []):
        code, _, err = fv2v(*command(marks, tmp_path / "out.mp4", *options, *more))
        assert code == 0, err
        made.append(np.stack(list(read_video(tmp_path / "out.mp4"))))
    assert (made[0] == made[1]).all()


def test_a_template_gets_the_drivers_ratios(fv2v, marks, tmp_path):
    weights = marks / "liveportrait" / "tiny.safetensors"
    out = tmp_path / "out.npz"
    code, _, err = fv2v("extract", marks / "driving.mp4", "-o", out, "--overwrite", "-w", weights)
    assert (code, err) == (0, f"fv2v: note: {LICENCE}\n")
    motion, points = read_motion(out), np.load(marks / "driving203.npy")
    assert np.abs(motion.eyes.numpy() - [eye_ratios(each) for each in points]).max() < 1e-6
    assert np.abs(motion.lips.numpy()[:, 0] - [lip_ratio(each) for each in points]).max() < 1e-6


@pytest.mark.parametrize("name", [*FILES, "onnxruntime"])
def test_a_line_says_what_is_missing_and_what_is_used(fv2v, marks, tmp_path, monkeypatch, name):
    """The painting's face is found by fv2v's own detector then."""
    if name == "onnxruntime":
        monkeypatch.setattr("fv2v.face.detectors.liveportrait.installed", lambda package: False)
        message = "onnxruntime is not installed (pip install '.[landmarks]'"
    else:
        kept = (marks / name).rename(tmp_path / "kept")
        message = f"{marks} lacks {name}. "
    weights = marks / "liveportrait" / "tiny.safetensors"
    made = []
    try:
        for more in ([], ["--face", marks / "portrait106.npy"]):
            made.append(
                fv2v(
                    "frontalize",
                    clips.PORTRAIT,
                    "-o",
                    tmp_path / "out.png",
                    "--overwrite",
                    "-w",
                    weights,
                    *more,
                )
            )
    finally:
        if name != "onnxruntime":
            kept.rename(marks / name)
    code, _, err = made[0]
    assert code == 0
    (line,) = err.splitlines()
    assert line.startswith("fv2v: note: faces are not found by LivePortrait's own detector: ")
    assert message in line
    assert "fv2v's is used instead" in line
    assert made[1][::2] == (0, ""), "whoever gives the face hears nothing of detectors"


def test_other_weights_and_whole_pictures_are_not_looked_at_by_it(fv2v, marks, tmp_path):
    model = Reenactor(replace(TINY_LIVEPORTRAIT, name="own"), weights="random")
    model.save(tmp_path / "own.safetensors")
    for weights, more in (
        (tmp_path / "own.safetensors", []),
        (marks / "liveportrait/tiny.safetensors", ["--no-crop", "--overwrite"]),
    ):
        done = fv2v("frontalize", clips.PORTRAIT, "-o", tmp_path / "out.png", "-w", weights, *more)
        assert done[::2] == (0, "")


def test_the_files_are_found_from_wherever_the_weights_are_named(folder, tmp_path):
    """The release's layout, its parts, ComfyUI's, and links such as a HuggingFace cache has."""
    release, comfy, links = (tmp_path / name for name in ("pretrained_weights", "models", "snapshot"))
    for top in (release, comfy):
        shutil.copytree(folder, top)
        (top / "liveportrait" / "tiny.safetensors").unlink()
    for name, below in liveportrait.FILES.items():
        for place in (release / "liveportrait" / below / name, comfy / "liveportrait" / name):
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(b"")
    for path in release.rglob("*.*"):
        link = links / path.relative_to(release)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    five = [release / "liveportrait" / below / name for name, below in liveportrait.FILES.items()]
    for weights in (release, release / "liveportrait", five, comfy / "liveportrait", links):
        finder = FaceFinder(ModelChoice(None, weights, None, "float32"), crop=True)
        choice = finder.choose(2)
        assert isinstance(choice.detector, LivePortraitFaces)
        assert (choice.number, finder.notes) == (2, (LICENCE,))
    finder = FaceFinder(ModelChoice(None, release, None, "float32"), crop=True)
    named = FaceChoice(1, lambda image, frame=0, near=None: [])
    assert finder.choose(named) == replace(named, by_points=True)
    assert finder.choose("face.npy") == "face.npy"
    assert finder.notes == (), "what the user names is taken without a word"
    shutil.rmtree(release / "insightface")
    finder = FaceFinder(ModelChoice(None, five, None, "float32"), crop=True)
    assert finder.choose(1).by_points
    assert f"{release} lacks {FILES[0]}, {FILES[1]}. fv2v's is used instead" in finder.notes[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (FILES[0], b"no network", "det_10g.onnx: no ONNX file, or a damaged one"),
        (FILES[1], FILES[2], "2d106det.onnx: does not take (192, 192, 3) pixels"),
        (FILES[2], FILES[1], "landmark.onnx: does not take (224, 224, 3) pixels"),
    ],
)
def test_a_file_of_another_kind_is_one_line(fv2v, marks, tmp_path, name, content, message):
    """Damaged, or another network under that name."""
    kept = (marks / name).read_bytes()
    (marks / name).write_bytes(content if isinstance(content, bytes) else (marks / content).read_bytes())
    try:
        code, _, err = fv2v(*command(marks, tmp_path / "out.mp4"))
    finally:
        (marks / name).write_bytes(kept)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
