# SPDX-License-Identifier: Apache-2.0
"""Files of coefficients in, a video out: `fv2v.talk`, and the command."""

import math
from dataclasses import replace
from pathlib import Path

import av
import clips
import numpy as np
import pytest
from output_files import leftovers
from refusals import assert_refused
from tiny import TINY, TINY_SADTALKER, TINY_VOX, coefficients, lively, pictures

from fv2v import Reenactor, frontalize, reenact, talk
from fv2v.io.image import write_image
from fv2v.io.video import read_video, write_video
from fv2v.motion.coefficients import driving_coefficients, pose_views
from fv2v.pipelines.report import Report

FULL = replace(TINY_SADTALKER, name="tiny-sadtalker-full", head=replace(TINY_SADTALKER.head, inputs=73))


@pytest.fixture(scope="module")
def tiny() -> Reenactor:
    return lively(Reenactor(TINY_SADTALKER, weights="random"))


@pytest.fixture(scope="module")
def full() -> Reenactor:
    return lively(Reenactor(FULL, weights="random"))


@pytest.fixture(scope="module")
def files(tiny, full, tmp_path_factory) -> Path:
    """A folder of inputs."""
    folder = tmp_path_factory.mktemp("talk")
    tiny.save(folder / "tiny.safetensors")
    full.save(folder / "full.safetensors")
    lively(Reenactor(TINY_VOX, weights="random")).save(folder / "vox.safetensors")
    np.save(folder / "driver.npy", coefficients(6, seed=1))
    np.savez(folder / "own.npz", coeff_3dmm=coefficients(2, columns=73))
    np.save(folder / "own70.npy", coefficients(1)[0])
    np.save(folder / "wide.npy", coefficients(6, columns=80))
    return folder


def arguments(files: Path, **changed: object) -> dict[str, object]:
    given = {"portrait": clips.PORTRAIT, "coefficients": files / "driver.npy", "weights": "tiny.safetensors"}
    given |= {"source_coefficients": files / "own.npz"} | changed
    if "reenactor" in given:
        del given["weights"]
    elif given["weights"] != "random":
        given["weights"] = files / str(given["weights"])
    return given


def frames_of(path: Path) -> np.ndarray:
    return np.stack(list(read_video(path)))


@pytest.mark.parametrize("name", ["tiny", "full"])
def test_a_file_has_a_frame_for_each_row(files, tmp_path, name, request):
    """The reenactor's own, as the video writer writes them."""
    reenactor, output, portrait = request.getfixturevalue(name), tmp_path / "out.mp4", pictures(1, size=64)[0]
    write_image(tmp_path / "portrait.png", portrait)
    calls: list[tuple[int, int | None]] = []
    report = talk(
        output=output,
        **arguments(files, weights=f"{name}.safetensors", portrait=tmp_path / "portrait.png"),
        crop=False,
        yaw=[-30, 30],
        expression_scale=1.3,
        progress=lambda *now: calls.append(now),
    )
    assert report == Report(output, frames=6, seconds=report.seconds, missing=0, stages=report.stages)
    assert report.stages.decode == 0 < report.stages.network < report.seconds
    assert calls == [(i, 6) for i in range(1, 7)]
    made = read_video(output)
    assert (made.rate, made.size) == (25, (TINY.image_size,) * 2)
    inputs = reenactor.config.head.inputs
    own = coefficients(2, columns=73)[0, :inputs]
    source = reenactor.encode(portrait, own)
    moved = driving_coefficients(coefficients(6, seed=1), own, expression_scale=1.3)
    views = pose_views(6, yaw=[-30, 30])
    write_video(tmp_path / "expected.mp4", reenactor.animate(source, moved, view=views))
    expected = frames_of(tmp_path / "expected.mp4")
    assert np.abs(frames_of(output).astype(int) - expected).mean() < 1
    assert np.abs(np.diff(expected.astype(int), axis=0)).mean() > 1, "the test would see no motion"


def test_nothing_is_left_of_what_fails(files, tmp_path):
    def stop(done: int, _: int | None) -> None:
        if done == 3:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        talk(output=tmp_path / "out.mp4", **arguments(files), progress=stop)
    assert not leftovers(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"preset": "vox-256"},
            "'vox-256' is driven by pictures: expected fv2v reenact, or one of sadtalker",
        ),
        ({"preset": TINY}, "'tiny' is driven by pictures"),
        ({"fps": 0}, "fps from 1 to 1000, got 0"),
        ({"fps": math.nan}, "fps from 1 to 1000, got nan"),
        ({"batch_size": 0}, "batch_size >= 1, got 0"),
        ({"yaw": [math.nan]}, "expected an angle in degrees"),
        ({"output": "own.npz"}, "ends in .mp4"),
    ],
)
def test_mistakes_are_refused_before_weights_are_read(files, tmp_path, changed, message):
    (tmp_path / "damaged.safetensors").write_bytes(b"these are no weights")
    given = {"output": tmp_path / "out.mp4", "weights": tmp_path / "damaged.safetensors"} | changed
    with pytest.raises(ValueError, match=message):
        talk(**arguments(files, **given))
    assert not leftovers(tmp_path, tmp_path / "damaged.safetensors")


def test_other_commands_are_for_pictures(tiny, files, tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"these are no weights")
    film = clips.write_clip(tmp_path / "film.mp4", clips.moving_picture(clips.portrait(), 2))
    message = r"is driven by 3DMM coefficients, no pictures: expected fv2v talk"
    for known in ({"preset": "sadtalker-256", "weights": damaged}, {"reenactor": tiny}):
        with pytest.raises(ValueError, match=message):
            reenact("absent.png", film, tmp_path / "out.mp4", **known)
        with pytest.raises(ValueError, match=message):
            frontalize("absent.png", tmp_path / "out.png", **known)
    with pytest.raises(ValueError, match=message):  # known from the weights' file
        frontalize(clips.PORTRAIT, tmp_path / "out.png", weights=files / "tiny.safetensors")
    with pytest.raises(ValueError, match="'tiny-vox' is driven by pictures"):
        talk(output=tmp_path / "out.mp4", **arguments(files, weights="vox.safetensors"))


def command(files: Path, out: Path, **changed: str) -> list[object]:
    """A command line that works, but for what is changed."""
    given = {"coefficients": "driver.npy", "source_coefficients": "own.npz", "weights": "tiny.safetensors"}
    given |= changed
    weights = given.pop("weights")
    given["weights"] = weights if weights == "random" else str(files / weights)
    given["source_coefficients"] = str(files / given["source_coefficients"])
    driver = files / given.pop("coefficients")
    more = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)]
    return ["talk", clips.PORTRAIT, driver, "-o", out, *more]


def test_the_command_and_each_option_of_it(fv2v, files, tmp_path):
    plain = tmp_path / "plain.mp4"
    code, out, err = fv2v(*command(files, plain))
    assert (code, err) == (0, "")
    assert out.startswith(f"{plain}: 6 frames in ")
    before = frames_of(plain)
    for options in (
        ["--still"],
        ["--expression-scale", 3],
        ["--yaw", "-40,0,40"],
        ["--pitch", "40"],
        ["--roll", "0,40"],
        ["--no-crop"],
    ):
        code, _, err = fv2v(*command(files, tmp_path / "more.mp4"), *options, "--overwrite")
        assert (code, err) == (0, "")
        after = frames_of(tmp_path / "more.mp4")
        assert after.shape == before.shape
        assert not np.array_equal(after, before), options
    fv2v(*command(files, tmp_path / "slow.mkv", fps="10", source_coefficients="own70.npy"))
    assert read_video(tmp_path / "slow.mkv").rate == 10


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("film.mp4", "aac"),
        ("film.mkv", "flac"),
        ("speech.mka", "flac"),
        ("speech.wav", "pcm_s16le"),
        ("speech.flac", "flac"),
    ],
)
def test_sound_goes_along_and_is_cut_to_match(fv2v, files, tmp_path, name, codec):
    """A second of it, from films and from files of sound alone; six rows are 0.24 s."""
    sound, out = tmp_path / name, tmp_path / "out.mp4"
    film = tmp_path / "film.mkv" if name.startswith("speech") else sound
    clips.write_clip(film, np.zeros((25, 16, 16, 3), np.uint8), audio=codec)
    if film != sound:
        with av.open(str(film)) as taken, av.open(str(sound), "w") as alone:
            stream = alone.add_stream_from_template(taken.streams.audio[0])
            for packet in taken.demux(taken.streams.audio[0]):
                if packet.size:
                    packet.stream = stream
                    alone.mux(packet)
    code, _, err = fv2v(*command(files, out), "--sound", sound)
    assert code == 0
    anew = f"fv2v: note: {sound}: its sound ({codec}) is encoded anew as aac, for .mp4\n"
    assert err == (anew if codec == "pcm_s16le" else "")
    with av.open(str(out)) as made:
        (stream,) = made.streams.audio
        seconds = sum(frame.samples for frame in made.decode(stream)) / stream.rate
    assert len(frames_of(out)) == 6
    assert seconds == pytest.approx(6 / 25, abs=0.1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sound": "absent.wav"}, "absent.wav: no such file"),
        ({"sound": str(clips.PORTRAIT)}, "expected a file with sound, found none in it"),
        ({"coefficients": "absent.npy"}, "absent.npy: no such file"),
        ({"coefficients": "wide.npy"}, "wide.npy: expected coefficients (T, 70) or (T, 73), got (6, 80)"),
        ({"coefficients": "tiny.safetensors"}, "expected a file that ends in .npy, .npz or .mat"),
        ({"source_coefficients": "absent.npy"}, "absent.npy: no such file"),
        ({"weights": "absent.safetensors"}, "absent.safetensors: no such file"),
        ({"weights": "vox.safetensors"}, "'tiny-vox' is driven by pictures: expected fv2v reenact"),
        ({"weights": "random", "preset": "vox-256"}, "'vox-256' is driven by pictures"),
        (
            {"weights": "full.safetensors", "source_coefficients": "own70.npy"},
            "source coefficients: expected coefficients (T, 73), got (1, 70)",
        ),
        ({"yaw": "left"}, "--yaw: expected degrees, as 20 or -30,0,30; got 'left'"),
        ({"pitch": "1,,2"}, "--pitch: expected degrees"),
        ({"yaw": "0,200"}, "expected yaw from -90 to 90 degrees, got"),
        ({"roll": "nan"}, "expected an angle in degrees"),
        ({"fps": "0"}, "fps from 1 to 1000, got 0"),
        ({"expression_scale": "inf"}, "finite expression_scale, got inf"),
        ({"lost": "hold"}, "--lost"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(fv2v, files, tmp_path, changed, message):
    assert_refused(fv2v(*command(files, tmp_path / "out.mp4", **changed)), message)
    assert not list(tmp_path.iterdir())


def test_reenact_names_the_command_for_coefficients(fv2v, tmp_path):
    known = ["-o", tmp_path / "out.mp4", "-w", "random", "-p", "sadtalker-512"]
    film = clips.write_clip(tmp_path / "film.mp4", clips.moving_picture(clips.portrait(), 2))
    result = fv2v("reenact", clips.PORTRAIT, film, *known)
    assert_refused(result, "'sadtalker-512' is driven by 3DMM coefficients, no pictures: expected fv2v talk")
