# SPDX-License-Identifier: Apache-2.0
"""Motion taken from videos, kept, edited and shown again: `extract` and `render`, and the commands."""

from dataclasses import replace
from pathlib import Path

import clips
import numpy as np
import pytest
from motion_samples import ARRAYS, moving
from output_files import packets
from refusals import assert_refused
from tiny import (
    SEEING,
    TINIES,
    TINY_SADTALKER,
    TINY_VOX,
    assert_frames_close,
    coefficients,
    pictures,
)

import fv2v.pipelines.write
from fv2v import (
    Edit,
    Reenactor,
    View,
    extract,
    read_motion,
    reenact,
    render,
    talk,
)
from fv2v.io.audio import check_sound
from fv2v.io.image import write_image
from fv2v.io.video import read_video
from fv2v.motion.coefficients import KEY

FRAMES = 6


@pytest.fixture(scope="module")
def reenactors() -> dict[str, Reenactor]:
    return {config.name: moving(config) for config in TINIES}


@pytest.fixture
def painted(monkeypatch) -> list[list[np.ndarray]]:
    """The frames of each video as they are written, before H.264 has changed them."""
    videos: list[list[np.ndarray]] = []
    write = fv2v.pipelines.write.write_video

    def written(path, frames, **how):
        videos.append([])
        return write(path, (videos[-1].append(frame) or frame for frame in frames), **how)

    monkeypatch.setattr(fv2v.pipelines.write, "write_video", written)
    return videos


@pytest.fixture(scope="module")
def files(reenactors, tmp_path_factory) -> Path:
    """A folder of inputs."""
    folder = tmp_path_factory.mktemp("motion")
    write_image(folder / "portrait.png", pictures(1, size=64)[0])
    images = clips.moving_picture(clips.portrait(), FRAMES, reach=0.2)
    clips.write_clip(folder / "driving.mp4", images, pts=clips.uneven_pts(FRAMES), audio="aac")
    clips.write_clip(folder / "silent.mp4", images)
    np.save(folder / "driver.npy", coefficients(FRAMES, seed=1))
    np.savez(folder / "driver.npz", **{KEY: coefficients(FRAMES, seed=1)})
    np.save(folder / "own.npy", coefficients(1)[0])
    for config in (TINY_VOX, TINY_SADTALKER):
        reenactors[config.name].save(folder / f"{config.name}.safetensors")
    extract(folder / "driving.mp4", folder / "vox.npz", reenactor=reenactors["tiny-vox"])
    extract(folder / "driver.npy", folder / "sadtalker.npz", reenactor=reenactors["tiny-sadtalker"])
    return folder


def frames_of(path: Path) -> list[np.ndarray]:
    return list(read_video(path))


@pytest.mark.parametrize("config", SEEING, ids=lambda config: config.name)
def test_extracted_and_rendered_it_is_reenacted(config, reenactors, files, painted, tmp_path):
    """Frame by frame, time stamps included, under every option."""
    how = {"reenactor": reenactors[config.name], "batch_size": 2}
    portrait, clip = clips.PORTRAIT, files / "driving.mp4"
    motion, output = tmp_path / "motion.npz", tmp_path / "out.mp4"
    scaled = config.geometry.transfer == "keypoint"
    moved = set()
    for crop, options in (
        (True, {"view": View(yaw=20)}),
        (False, {"relative": True, "adapt_scale": scaled}),
        (False, {"relative": False, "stitch": False}),
        (False, {"edit": Edit(strength=2.0, blend=0.5), "still": files / "portrait.png"}),
    ):
        reports = [
            reenact(portrait, clip, output, **how, crop=crop, **options),
            extract(clip, motion, **how, crop=crop),
            render(portrait, motion, output, **how, crop=crop, **options),
        ]
        assert [report.frames for report in reports] == [FRAMES] * 3
        whole, halves = painted
        assert_frames_close(halves, whole)
        moved |= {image.tobytes() for image in whole}
        assert read_video(output).times == read_video(clip).times
        painted.clear()
    assert len(moved) > 2 * FRAMES, "the test would see no options, or no motion"


def test_coefficients_move_alike_from_every_file(reenactors, files, painted, tmp_path):
    """As they are, and as motion that was read off them: all is what `talk` makes of them."""
    how = {"reenactor": reenactors["tiny-sadtalker"], "source_coefficients": files / "own.npy", "crop": False}
    portrait, output = files / "portrait.png", tmp_path / "out.mp4"
    talk(portrait, files / "driver.npy", output, **how)
    for name in ("driver.npy", "driver.npz", "sadtalker.npz"):
        report = render(portrait, files / name, output, **how)
        assert report.frames == FRAMES
        assert_frames_close(painted[-1], painted[0])
        assert read_video(output).rate == 25
    assert len({image.tobytes() for image in painted[0]}) == FRAMES, "the test would see no motion"


def test_weights_that_read_the_crop_take_it_from_the_portrait(files, painted, tmp_path):
    config = replace(TINY_SADTALKER, name="full", head=replace(TINY_SADTALKER.head, inputs=73))
    how = {"reenactor": moving(config), "crop": False}
    np.save(tmp_path / "own.npy", coefficients(1, columns=73))
    with pytest.raises(ValueError, match=r"expected coefficients \(T, 73\), got \(6, 70\)"):
        extract(files / "driver.npy", tmp_path / "motion.npz", **how)
    how["source_coefficients"] = tmp_path / "own.npy"
    extract(files / "driver.npy", tmp_path / "motion.npz", **how, frames=4)
    talk(files / "portrait.png", files / "driver.npy", tmp_path / "talk.mp4", **how)
    render(files / "portrait.png", tmp_path / "motion.npz", tmp_path / "out.mp4", **how)
    assert_frames_close(painted[1], painted[0][:4])


def test_sound_comes_from_the_driver_where_it_is_asked_for(reenactors, files, tmp_path):
    how = {"reenactor": reenactors["tiny-vox"]}
    render(clips.PORTRAIT, files / "vox.npz", tmp_path / "out.mp4", **how)
    with pytest.raises(ValueError, match=r"out\.mp4: expected a file with sound, found none in it"):
        check_sound(tmp_path / "out.mp4")
    render(clips.PORTRAIT, files / "vox.npz", tmp_path / "loud.mp4", **how, sound=files / "driving.mp4")
    end = read_motion(files / "vox.npz").timing.end
    taken, given = packets(tmp_path / "loud.mp4"), packets(files / "driving.mp4")
    assert taken == given[: len(taken)]
    assert taken[-1][0] == pytest.approx(end, abs=0.05)
    with pytest.raises(ValueError, match=r"silent\.mp4: expected a file with sound, found none in it"):
        render(clips.PORTRAIT, files / "vox.npz", tmp_path / "x.mp4", **how, sound=files / "silent.mp4")
    with pytest.raises(ValueError, match=r"own\.npy: expected a file with sound, FFmpeg cannot read it"):
        render(clips.PORTRAIT, files / "vox.npz", tmp_path / "x.mp4", **how, sound=files / "own.npy")


def test_arrays_are_numpys_to_edit(reenactors, files, painted, tmp_path):
    """Nothing changed changes nothing; what is changed shows."""
    with np.load(files / "vox.npz") as stored:
        arrays = dict(stored)
    assert {name: (a.shape, a.dtype.kind) for name, a in arrays.items()} == {
        "rotation": ((FRAMES, 3, 3), "f"),
        "translation": ((FRAMES, 3), "f"),
        "expression": ((FRAMES, 5, 3), "f"),
        "scale": ((FRAMES, 1), "f"),
        "pts": ((FRAMES,), "i"),
        "time_base": ((2,), "i"),
        "rate": ((2,), "i"),
        "preset": ((), "U"),
        "keypoints": ((), "i"),
        "version": ((), "i"),
    }
    assert all(arrays[name].dtype == np.float32 for name in ARRAYS)
    assert arrays["pts"].tolist() == clips.uneven_pts(FRAMES)

    how = {"reenactor": reenactors["tiny-vox"], "crop": False}

    def shown(**changed: object) -> list[np.ndarray]:
        np.savez(tmp_path / "edited.npz", **(arrays | changed))
        render(files / "portrait.png", tmp_path / "edited.npz", tmp_path / "out.mp4", **how)
        return painted[-1]

    render(files / "portrait.png", files / "vox.npz", tmp_path / "out.mp4", **how)
    before, rate = painted[0], read_video(tmp_path / "out.mp4").rate
    assert np.array_equal(shown(), before)
    assert not np.array_equal(shown(expression=arrays["expression"] * 3), before)
    assert np.array_equal(shown(time_base=arrays["time_base"] * [2, 1]), before)
    assert read_video(tmp_path / "out.mp4").rate == pytest.approx(rate / 2, rel=0.2)


def command(files: Path, name: str, output: Path, **changed: object) -> list[object]:
    """A command line that works, but for what is changed."""
    given = {"input": "driving.mp4" if name == "extract" else "vox.npz", "weights": "tiny-vox.safetensors"}
    given |= changed
    portrait = [clips.PORTRAIT] if name == "render" else []
    first = [name, *portrait, files / str(given.pop("input")), "-o", output]
    weights = given.pop("weights")
    first += ["--weights", weights if weights == "random" else files / str(weights)]
    if "source_coefficients" in given:
        given["source_coefficients"] = files / str(given["source_coefficients"])
    return [*first, *(part for k, v in given.items() for part in (f"--{k.replace('_', '-')}", v))]


def test_the_commands(fv2v, files, tmp_path):
    code, out, err = fv2v(*command(files, "extract", tmp_path / "motion.npz", frames=4))
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'motion.npz'}: 4 frames in ")
    assert out.endswith("; without sound, which fv2v render takes with --sound\n")
    assert len(read_motion(tmp_path / "motion.npz")) == 4
    code, out, err = fv2v(*command(files, "render", tmp_path / "out.mp4"))
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'out.mp4'}: {FRAMES} frames in ")
    before = frames_of(tmp_path / "out.mp4")
    for options in (
        ["--yaw", 40],
        ["--pitch", 40],
        ["--roll", 40],
        ["--relative"],
        ["--no-crop"],
        ["--strength", 9],
    ):
        assert fv2v(*command(files, "render", tmp_path / "more.mp4"), *options, "--overwrite")[0] == 0
        assert not np.array_equal(before, frames_of(tmp_path / "more.mp4")), options
    more = {"input": "driver.npz", "weights": "tiny-sadtalker.safetensors"}
    code, _, err = fv2v(*command(files, "extract", tmp_path / "talk.npz", **more))
    assert (code, err) == (0, "")
    more["source_coefficients"] = "own.npy"
    code, _, err = fv2v(*command(files, "render", tmp_path / "talk.mp4", **more))
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("extract", {"input": "absent.mp4"}, "absent.mp4: no such file"),
        ("extract", {"frames": 0}, "expected at least 1 frame"),
        ("extract", {"batch_size": 0}, "expected batch_size >= 1, got 0"),
        ("extract", {"input": "driver.npy"}, "'tiny-vox' is driven by pictures"),
        ("extract", {"weights": "tiny-sadtalker.safetensors"}, "is driven by 3DMM coefficients, no pictures"),
        (
            "extract",
            {"weights": "random", "output": "out.pkl"},
            "templates hold LivePortrait's motion",
        ),
        ("extract", {"output": "out.mp4"}, "ends in .npz, .pkl, got '.mp4'"),
        (
            "extract",
            {"source_coefficients": "own.npy"},
            "is a video: expected no coefficients of the portrait",
        ),
        (
            "extract",
            {"input": "driver.npy", "weights": "tiny-sadtalker.safetensors", "frames": -1},
            "expected at least 1 frame",
        ),
        ("render", {"input": "absent.npz"}, "absent.npz: no such file"),
        ("render", {"input": "driving.mp4"}, "a file of motion, found a film, which fv2v reenact takes"),
        ("render", {"input": "driver.npy"}, "'tiny-vox' is driven by pictures"),
        ("render", {"batch_size": 0}, "expected batch_size >= 1, got 0"),
        ("render", {"sound": "absent.mp4"}, "absent.mp4: no such file"),
        (
            "render",
            {"weights": "random", "preset": "vox-256"},
            "motion of 'tiny-vox' with 5 keypoints",
        ),
        ("render", {"source_coefficients": "own.npy"}, "reads pictures alone: expected no coefficients"),
        (
            "render",
            {"input": "sadtalker.npz", "weights": "tiny-sadtalker.safetensors"},
            "reads a portrait's 3DMM coefficients beside its picture: expected a file of them, --source",
        ),
        (
            "render",
            {
                "input": "sadtalker.npz",
                "weights": "tiny-sadtalker.safetensors",
                "source_coefficients": "own.npy",
                "still": clips.PORTRAIT,
            },
            "reads no motion in pictures: expected no still one to blend in",
        ),
        ("render", {"eyes": 0.3, "portrait_open": "0.3,0.3,0"}, "has no networks that open eyes and lips"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(fv2v, files, tmp_path, name, changed, message):
    output = tmp_path / str(changed.pop("output", "out.npz" if name == "extract" else "out.mp4"))
    assert_refused(fv2v(*command(files, name, output, **changed)), message)
    assert not list(tmp_path.iterdir())


def test_an_input_is_not_overwritten(files, reenactors):
    before = (files / "driving.mp4").read_bytes()
    with pytest.raises(ValueError, match="expected a new file, this is the input"):
        render(
            clips.PORTRAIT,
            files / "vox.npz",
            files / "driving.mp4",
            reenactor=reenactors["tiny-vox"],
            sound=files / "driving.mp4",
        )
    with pytest.raises(ValueError, match="this is the input"):
        extract(files / "driver.npz", files / "driver.npz", reenactor=reenactors["tiny-sadtalker"])
    assert (files / "driving.mp4").read_bytes() == before
