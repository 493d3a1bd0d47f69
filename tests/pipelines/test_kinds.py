# SPDX-License-Identifier: Apache-2.0
"""`fv2v reenact` takes what people have: every source and driver, into every film, or one true line."""

import shutil
import wave
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import av
import clips
import numpy as np
import pytest
from motion_samples import saved, template
from PIL import Image
from refusals import assert_refused
from scipy.io import savemat
from tiny import TINY_LIVEPORTRAIT, TINY_SADTALKER, TINY_VOX, coefficients, lively

from fv2v.io.image import read_image, write_image
from fv2v.io.video import read_video
from fv2v.reenactor import Reenactor

FRAMES = 6
SIZE = TINY_VOX.image_size
SIZES = {"vox": SIZE, "sadtalker": SIZE, "liveportrait": 2 * SIZE}
DRIVING = {  # its weights, frames a second, whether it has sound, and what else it needs
    "film.mp4": ("vox", 10, True, ()),
    "film.mkv": ("vox", 10, True, ()),
    "silent.gif": ("vox", 10, False, ()),
    "frames": ("vox", 25, False, ()),
    "frames/%02d.png": ("vox", 12.5, False, ("--fps", "12.5")),
    "motion.npz": ("vox", 10, False, ()),
    "template.pkl": ("liveportrait", 25, False, ()),
    "talk.fv2v": ("vox", 10, True, ()),
    "rows.npy": ("sadtalker", 25, False, ("--source-coefficients", "own.npy")),
    "rows.mat": ("sadtalker", 25, False, ("--source-coefficients", "own.npy")),
}
OUT = {  # the codecs of its sound: as it is in the films, and where it must be encoded anew
    "out.mp4": "aac",
    "out.m4v": "aac",
    "out.mov": "aac",
    "out.mkv": "aac",
    "out.webm": "opus",
    "out.gif": None,
    "out.webp": None,
    "out": None,
    "out/%03d.png": None,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    for name, config in (
        ("vox", TINY_VOX),
        ("liveportrait", TINY_LIVEPORTRAIT),
        ("sadtalker", TINY_SADTALKER),
    ):
        lively(Reenactor(config, weights="random")).save(folder / f"{name}.safetensors")
    images = clips.moving_picture(clips.portrait(), FRAMES, size=64, reach=0.3)
    with wave.open(str(folder / "tone.wav"), "wb") as tone:
        tone.setparams((1, 2, 16000, 0, "NONE", ""))
        tone.writeframes(bytes(32000))
    for name in ("film.mp4", "film.mkv"):
        clips.write_clip(folder / name, images, fps=10, audio="aac")
    with av.open(str(folder / "silent.gif"), "w") as output:
        stream = output.add_stream("gif", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "rgb8"
        for image in images:
            output.mux(
                stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="rgb8"))
            )
        output.mux(stream.encode(None))
    (folder / "frames").mkdir()
    for number, image in enumerate(images, 7):
        write_image(folder / "frames" / f"{number:02d}.png", image)
    saved(folder / "template.pkl", template(T=FRAMES))
    np.save(folder / "rows.npy", coefficients(FRAMES))
    savemat(folder / "rows.mat", {"coeff_3dmm": coefficients(FRAMES)})
    np.save(folder / "own.npy", coefficients(1, seed=1))
    return folder


@pytest.fixture(scope="module")
def coded(files) -> Path:
    """The same folder with the motion of the film, estimated and coded."""
    from fv2v.pipelines.coded import encode
    from fv2v.pipelines.extract import extract

    known = {"weights": files / "vox.safetensors", "crop": False}
    extract(files / "film.mp4", files / "motion.npz", **known)
    encode(clips.PORTRAIT, files / "film.mp4", files / "talk.fv2v", **known)
    return files


def made(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """The frames of what was written, and when each is shown; of PNGs no times."""
    if path.suffix == ".webp":
        with Image.open(path) as film:
            frames, times = [], [0.0]
            for number in range(film.n_frames):
                film.seek(number)
                frames.append(np.array(film.convert("RGB")))
                times.append(times[-1] + film.info["duration"] / 1000)
        return frames, times[:-1]
    if path.suffix in ("", ".png"):
        folder = path.parent if path.suffix else path
        return [read_image(each) for each in sorted(folder.iterdir())], []
    reader = read_video(path)
    return list(reader), reader.times


def sound_of(path: Path) -> tuple[str, float] | None:
    """The codec, and how many seconds can be decoded."""
    with av.open(str(path)) as film:
        if not film.streams.audio:
            return None
        stream = film.streams.audio[0]
        seconds = sum(frame.samples / frame.sample_rate for frame in film.decode(stream))
        return stream.codec_context.codec.canonical_name, seconds


@pytest.mark.parametrize("out", OUT)
@pytest.mark.parametrize("driving", DRIVING)
def test_every_driver_into_every_film(fv2v, coded, tmp_path, monkeypatch, driving, out):
    monkeypatch.chdir(coded)
    weights, rate, has_sound, more = DRIVING[driving]
    words = (
        clips.PORTRAIT,
        driving,
        "-o",
        tmp_path / out,
        "--no-crop",
        "-w",
        f"{weights}.safetensors",
        *more,
    )
    code, said, err = fv2v("reenact", *words)
    assert code == 0, err
    assert said.startswith(f"{tmp_path / out}"), said
    assert said.count("\n") == 1
    assert_plays(tmp_path / out, out, SIZES[weights], FRAMES, rate, has_sound)
    assert_told_of_sound(err, OUT[out], has_sound)


def assert_plays(path: Path, out: str, size: int, count: int, rate: float, has_sound: bool) -> None:
    """So many frames of that size, each at its time, and the sound that belongs to them."""
    frames, times = made(path)
    assert {frame.shape for frame in frames} == {(size, size, 3)}
    assert len(frames) == count
    if times:
        np.testing.assert_allclose(np.subtract(times, times[0]), np.arange(count) / rate, atol=0.006)
    if codec := OUT[out]:
        expected = (codec, pytest.approx(count / rate, abs=0.1)) if has_sound else None
        assert sound_of(path) == expected


def assert_told_of_sound(err: str, codec: str | None, has_sound: bool) -> None:
    """A line where it is encoded anew, or left out; else none."""
    told = err.splitlines()
    if has_sound and codec != "aac":
        (note,) = told
        assert "sound" in note
    else:
        assert not told


SOURCES = {  # frames a second, and whether it has sound
    "film.mp4": (10, True),
    "silent.gif": (10, False),
    "frames": (25, False),
    "frames/%02d.png": (25, False),
}
MOVERS = [name for name, (weights, *_) in DRIVING.items() if weights != "sadtalker"]


def films_that_are_moved() -> Iterator:
    """Each kind of film by each driver into one kind of output by default, into all of them if slow."""
    for number, (source, driving) in enumerate(product(SOURCES, MOVERS)):
        for place, out in enumerate(OUT):
            often = place == (number + number // len(OUT)) % len(OUT)
            yield pytest.param(source, driving, out, marks=() if often else pytest.mark.slow)


@pytest.mark.parametrize(("source", "driving", "out"), [*films_that_are_moved()])
def test_every_film_by_every_driver_into_every_film(fv2v, coded, tmp_path, monkeypatch, source, driving, out):
    """The film's own frames and times, as long as the driver lasts; the driver's sound, or else its own."""
    monkeypatch.chdir(coded)
    weights, driven_at, driver_sounds, more = DRIVING[driving]
    rate, sounds = SOURCES[source]
    if "--fps" in more and source.startswith("frames"):
        rate = 12.5
    words = (source, driving, "-o", tmp_path / out, "--no-crop", "-w", f"{weights}.safetensors", *more)
    code, said, err = fv2v("reenact", *words)
    assert code == 0, err
    assert said.startswith(f"{tmp_path / out}"), said
    heard = sounds or driver_sounds
    until = (FRAMES - 0.5) / driven_at  # the last frame of the driver is the nearest so long
    count = sum(number / rate <= until for number in range(FRAMES))
    assert_plays(tmp_path / out, out, SIZES[weights], count, rate, heard)
    assert_told_of_sound(err, OUT[out], heard)


def test_a_picture_drives_a_picture(fv2v, files, tmp_path):
    words = (clips.PORTRAIT, clips.PORTRAIT, "--no-crop", "-w", files / "vox.safetensors")
    for command in ("reenact", "imitate"):
        assert fv2v(command, *words, "-o", tmp_path / f"{command}.png")[0] == 0
    assert np.array_equal(read_image(tmp_path / "reenact.png"), read_image(tmp_path / "imitate.png"))


def test_motion_gives_what_its_own_commands_give(fv2v, coded, tmp_path):
    known = ("--no-crop", "-w", coded / "vox.safetensors", "--crf", 0, "--absolute")
    first, second = tmp_path / "a.mp4", tmp_path / "b.mp4"
    for name, command, words in (
        ("motion.npz", "render", (clips.PORTRAIT, coded / "motion.npz")),
        ("rows.npy", "talk", (clips.PORTRAIT, coded / "rows.npy")),
    ):
        if command == "talk":
            known = ("--no-crop", "-w", coded / "sadtalker.safetensors", "--crf", 0)
            known += ("--source-coefficients", coded / "own.npy")
        assert fv2v("reenact", clips.PORTRAIT, coded / name, "-o", first, "--overwrite", *known)[0] == 0
        assert fv2v(command, *words, "-o", second, "--overwrite", *known)[0] == 0
        assert np.array_equal(made(first)[0], made(second)[0]), name


def test_compare_shows_source_driver_and_result(fv2v, coded, tmp_path):
    known = (clips.PORTRAIT, coded / "film.mp4", "--no-crop", "-w", coded / "vox.safetensors")
    assert fv2v("reenact", *known, "-o", tmp_path / "alone")[0] == 0
    assert fv2v("reenact", *known, "-o", tmp_path / "beside", "--compare", "--batch-size", 4)[0] == 0
    alone, beside = made(tmp_path / "alone")[0], made(tmp_path / "beside")[0]
    driver = list(read_video(coded / "film.mp4"))
    assert len(beside) == len(alone) == FRAMES
    for each, result, frame in zip(beside, alone, driver, strict=True):
        source, shown, same = np.split(each, 3, axis=1)
        assert np.abs(same.astype(int) - result).max() <= 1
        small = frame.reshape(SIZE, 2, SIZE, 2, 3).mean(axis=(1, 3))
        assert np.abs(shown.astype(int) - small).mean() < 4
        assert np.array_equal(source, np.split(beside[0], 3, axis=1)[0])
    whole = ("--compare", "--paste-back", "-o", tmp_path / "whole.mp4")
    assert (
        fv2v("reenact", clips.PORTRAIT, coded / "motion.npz", "-w", coded / "vox.safetensors", *whole)[0] == 0
    )
    H, W, _ = clips.portrait().shape
    assert made(tmp_path / "whole.mp4")[0][0].shape == (H + H % 2, 2 * W, 3)


@pytest.mark.parametrize(
    ("sound", "seconds"),
    [("driving", 0.6), ("none", None), ("tone.wav", 0.6), ("short.wav", 0.3)],
)
def test_sound_is_chosen(fv2v, files, tmp_path, monkeypatch, sound, seconds):
    monkeypatch.chdir(tmp_path)
    shutil.copy(files / "film.mp4", "film.mp4")
    for name, length in (("tone.wav", 5), ("short.wav", 0.3)):
        clips.write_clip(
            "tone.mkv", np.zeros((2, 16, 16, 3), np.uint8), audio="pcm_s16le", audio_seconds=length
        )
        with av.open("tone.mkv") as taken, av.open(name, "w") as alone:
            stream = alone.add_stream_from_template(taken.streams.audio[0])
            for packet in taken.demux(taken.streams.audio[0]):
                if packet.size:
                    packet.stream = stream
                    alone.mux(packet)
    words = (clips.PORTRAIT, "film.mp4", "--no-crop", "-w", files / "vox.safetensors", "-o", "out.mp4")
    code, _, err = fv2v("reenact", *words, "--sound", sound)
    assert code == 0
    assert ("is encoded anew as aac, for .mp4" in err) == sound.endswith(".wav")
    assert len(made(Path("out.mp4"))[0]) == FRAMES
    expected = None if seconds is None else ("aac", pytest.approx(seconds, abs=0.1))
    assert sound_of(Path("out.mp4")) == expected


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ("render", "film.mp4"),
            "film.mp4: expected a file of motion, found a film, which fv2v reenact takes",
        ),
        (("render", "frames"), "frames: expected a file of motion, found a film, which fv2v reenact takes"),
        (("render", "frames/07.png"), "found a picture, which fv2v reenact or fv2v imitate takes"),
        (("imitate", "film.mp4"), "film.mp4: expected a picture, found a film, which fv2v reenact takes"),
        (("imitate", "template.pkl"), "expected a picture, found motion, which fv2v reenact takes"),
        (("reenact", "frames/%03d.png"), "expected frames, no file has such a name"),
        (("reenact", "absent/%03d.png"), "the folder absent does not exist"),
        (("reenact", "gaps/%d.png"), "expected frames without gaps, number 2 is missing"),
        (("reenact", "gaps/mixed"), "expected 64 x 64 pixels, as the frames before; got 32 x 32"),
        (("reenact", "empty"), "empty: expected a folder of frames"),
        (("reenact", "frames", "--fps", "0"), "expected frames a second"),
        (
            ("reenact", "frames", "--start", "5"),
            "expected frames from 5 s to the end, of 6 there is none there",
        ),
        (("reenact", "frames", "--sound", "driving"), "sound: frames has none; expected a file with sound"),
        (("reenact", "template.pkl", "--fps", "5"), "template.pkl is motion: expected no fps with it"),
        (("reenact", "template.pkl", "--driving-face", "2"), "is motion: expected no driving face with it"),
        (("reenact", "template.pkl", "--lost", "source"), "is motion: expected no lost with it"),
        (("reenact", "frames/07.png"), "07.png is a picture, which makes a picture and no film: expected"),
        (("render", "tone.wav"), "expected a file of motion, found sound, which --sound takes"),
        (
            ("talk", "film.mp4"),
            "expected 3DMM coefficients, found a film, which fv2v reenact takes",
        ),
        (("talk", "tone.wav"), "found sound, which --sound takes: fv2v makes no motion of it"),
        (("talk", "rows.npy"), "--source-coefficients: expected a file of the portrait's own coefficients"),
        (("decode", "film.mp4"), "film.mp4: expected a .fv2v file, found a film, which fv2v reenact takes"),
        (("frontalize", "film.mp4"), "film.mp4: expected a picture, found a film, which fv2v reenact takes"),
    ],
)
def test_refusals_are_one_true_line(fv2v, files, tmp_path, monkeypatch, command, message):
    monkeypatch.chdir(tmp_path)
    for each in ("film.mp4", "template.pkl", "rows.npy", "tone.wav"):
        shutil.copy(files / each, each)
    shutil.copytree(files / "frames", "frames")
    Path("empty").mkdir()
    Path("gaps/mixed").mkdir(parents=True)
    for name, side in (("1", 64), ("3", 64), ("mixed/1", 64), ("mixed/2", 32)):
        write_image(f"gaps/{name}.png", clips.moving_picture(clips.portrait(), 1, size=side)[0])
    name, driving, *more = command
    out = "out.png" if name in ("imitate", "frontalize") else "out.mp4"
    weights = "liveportrait" if "pkl" in driving else "vox"
    known = (*(("--no-crop",) if name != "decode" else ()), "-w", files / f"{weights}.safetensors", "-o", out)
    inputs = (driving,) if name in ("decode", "frontalize") else (clips.PORTRAIT, driving)
    assert_refused(fv2v(name, *inputs, *known, *more), message)
    assert not Path(out).exists()
