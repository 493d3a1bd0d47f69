# SPDX-License-Identifier: Apache-2.0
"""A film as the source: paired with its driver in time, cropped and pasted back frame by frame, its sound."""

from pathlib import Path

import av
import clips
import numpy as np
import parity
import pytest
import torch
from output_files import audio_codec, packets
from PIL import Image
from refusals import assert_refused
from tiny import TINY_LIVEPORTRAIT, TINY_VOX, assert_frames_close, coefficients, lively

from fv2v import Edit, Openness, Source, extract, reenact
from fv2v.face.crop import cut, middle_square
from fv2v.face.landmarks import RELEASE_SIZE, crop_square, square_around
from fv2v.io.image import write_image
from fv2v.io.resize import TRIANGLE
from fv2v.io.timing import WHOLE, Span
from fv2v.io.video import read_video
from fv2v.motion.edit import following
from fv2v.pipelines.kinds import FILM, PICTURE, kind_of_source
from fv2v.pipelines.source_film import SourceFilm, nearest_in_time
from fv2v.reenactor import Reenactor, animation
from fv2v.reenactor.options import AnimationOptions

SIZE = TINY_VOX.image_size
WIDE = 96  # columns of the source film, of 64 rows


@pytest.fixture(scope="module")
def reenactors() -> dict[str, Reenactor]:
    configs = {"vox": TINY_VOX, "liveportrait": TINY_LIVEPORTRAIT}
    return {name: lively(Reenactor(config, weights="random")) for name, config in configs.items()}


@pytest.fixture(scope="module")
def files(reenactors, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, reenactor in reenactors.items():
        reenactor.save(folder / f"{name}.safetensors")
    wide = np.pad(
        clips.moving_picture(clips.portrait(), 8, size=64), ((0, 0), (0, 0), (16, 16), (0, 0)), mode="wrap"
    )
    clips.write_clip(folder / "source.mp4", wide, fps=10, audio="aac")
    clips.write_clip(folder / "still.mp4", wide, fps=10)
    moves = clips.moving_picture(clips.portrait()[:, ::-1], 12, size=64, reach=0.3)
    clips.write_clip(folder / "short.mp4", moves[:6], fps=10, audio="mp3")
    clips.write_clip(folder / "long.mp4", moves, fps=10, audio="mp3")
    clips.write_clip(folder / "fast.mp4", moves, fps=20)
    clips.write_clip(folder / "mute.mp4", moves, fps=10)
    write_image(folder / "face.png", moves[0])
    np.save(folder / "rows.npy", coefficients(6))
    np.save(folder / "own.npy", coefficients(1))
    return folder


def frames_of(path: Path) -> list[np.ndarray]:
    return list(read_video(path))


def middle(frame: np.ndarray, size: int = 64, resize: str = TRIANGLE) -> np.ndarray:
    return cut(frame, middle_square(frame), size, resize)


def test_pairs_are_nearest_in_time_until_one_ends():
    def at(rate: float, count: int) -> list[tuple[float, int]]:
        return [(i / rate, i) for i in range(count)]

    def numbers(film, drivers, shown=0.1):
        return list(nearest_in_time(film, drivers, shown))

    same = [(i, i) for i in range(5)]
    assert numbers(at(10, 5), at(10, 9)) == numbers(at(10, 9), at(10, 5)) == same
    rounded = [(round(seconds, 2), i) for seconds, i in at(29.97, 9)]
    assert numbers(at(29.97, 5), rounded, 1 / 29.97) == same  # as Matroska and GIF round them
    assert numbers(at(10, 4), at(20, 99), 0.05) == [(0, 0), (1, 2), (2, 4), (3, 6)]
    assert numbers(at(20, 99), at(10, 2)) == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert numbers(at(10, 3), []) == numbers([], at(10, 3)) == []


@pytest.fixture
def pairs(monkeypatch) -> list[tuple[Source, np.ndarray]]:
    """What films are moved by from now on: each frame's source, and the driver's crop."""
    seen, animate = [], Reenactor.animate_film

    def animated(self, pairs, options, made=()):
        return animate(self, (seen.append(pair) or pair for pair in pairs), options, made=made)

    monkeypatch.setattr(Reenactor, "animate_film", animated)
    return seen


@pytest.mark.parametrize(("driving", "count"), [("short.mp4", 6), ("long.mp4", 8), ("fast.mp4", 6)])
@pytest.mark.parametrize("model", ["vox", "liveportrait"])
def test_it_is_the_reenactors_work_on_the_films_frames(
    reenactors, files, tmp_path, pairs, model, driving, count
):
    reenactor, out = reenactors[model], tmp_path / "out"
    report = reenact(
        files / "source.mp4",
        files / driving,
        out,
        reenactor=reenactor,
        crop=False,
        batch_size=4,
        relative=True,
    )
    film, drivers = frames_of(files / "source.mp4"), frames_of(files / driving)
    drivers = drivers[::2] if driving == "fast.mp4" else drivers
    drivers = [middle(each, SIZE, reenactor.config.resize) for each in drivers]
    assert report.frames == len(pairs) == count
    for (source, crop), frame, driver in zip(pairs, film, drivers, strict=False):
        assert np.array_equal(crop, driver)
        assert torch.equal(source.keypoints, reenactor.encode(middle(frame)).keypoints)
    given = list(pairs)
    assert_frames_close(frames_of(out), list(reenactor.animate_film(given, AnimationOptions(relative=True))))


def test_pasted_back_into_the_films_own_frames(reenactors, files, tmp_path):
    """And beside it source and driver."""
    known = {"reenactor": reenactors["vox"], "crop": False, "paste_back": True}
    reenact(files / "source.mp4", files / "long.mp4", tmp_path / "alone", **known)
    reenact(files / "source.mp4", files / "long.mp4", tmp_path / "beside", compare=True, **known)
    alone, beside = frames_of(tmp_path / "alone"), frames_of(tmp_path / "beside")
    film, drivers = frames_of(files / "source.mp4"), frames_of(files / "long.mp4")
    assert len(alone) == len(beside) == len(film) == 8
    for frame, driver, pasted, row in zip(film, drivers, alone, beside, strict=False):
        left = (WIDE - 64) // 2
        assert np.array_equal(pasted[:, :left], frame[:, :left])
        assert np.array_equal(pasted[:, -left:], frame[:, -left:])
        assert np.abs(pasted.astype(int) - frame)[:, left:-left].mean() > 1
        source, between, result = np.split(row, [WIDE, WIDE + 64], axis=1)
        assert np.array_equal(source, frame)
        assert np.array_equal(result, pasted)
        assert np.abs(between.astype(int) - driver).mean() < 20


@pytest.mark.parametrize(
    ("driving", "sound", "heard"),
    [
        ("long.mp4", None, "mp3"),
        ("long.mp4", "driving", "mp3"),
        ("long.mp4", "source", "aac"),
        ("mute.mp4", None, "aac"),
        ("short.mp4", "source", "aac"),
        ("long.mp4", "none", None),
    ],
)
def test_times_are_the_sources_and_sound_is_chosen(reenactors, files, tmp_path, driving, sound, heard):
    out = tmp_path / "out.mp4"
    known = {"reenactor": reenactors["vox"], "crop": False}
    reenact(files / "source.mp4", files / driving, out, sound=sound, **known)
    made, film = read_video(out), read_video(files / "source.mp4")
    count = sum(1 for _ in made)
    assert count == (6 if driving == "short.mp4" else 8)
    list(film)
    assert made.times == film.times[:count]
    with av.open(str(out)) as written:
        assert bool(written.streams.audio) == (heard is not None)
    if heard:
        assert audio_codec(out) == heard
        assert packets(out)[-1][0] == pytest.approx(count / 10, abs=0.06)


def test_a_part_and_motion_from_a_file(reenactors, files, tmp_path):
    known = {"reenactor": reenactors["liveportrait"], "crop": False}
    extract(files / "long.mp4", tmp_path / "long.npz", **known)
    for number, (start, frames, count) in enumerate([(None, None, 8), (0.2, None, 6), (0.2, 3, 3)]):
        film, motion = tmp_path / f"film{number}", tmp_path / f"motion{number}"
        for driving, out in ((files / "long.mp4", film), (tmp_path / "long.npz", motion)):
            report = reenact(files / "source.mp4", driving, out, start=start, frames=frames, **known)
            assert report.frames == count
        assert_frames_close(frames_of(film), frames_of(motion))


def test_by_landmarks_every_frame_is_turned_upright(files, tmp_path):
    """As the release crops a source film; where there is no face the square is where it was."""
    marks = np.array([[30.0, 25], [50, 25], [40, 35], [33, 45], [47, 45]])
    turned = marks @ np.array([[0.9, 0.2], [-0.2, 0.9]]) + 3
    rows = np.stack([marks, turned, np.full((5, 2), np.nan), *[marks] * 5])
    film = SourceFilm(files / "source.mp4", True, rows, WHOLE, False, None)
    frames = frames_of(files / "source.mp4")
    found = list(film.frames())
    for number, used in ((0, marks), (1, turned), (2, turned), (3, marks)):
        square = square_around(used)
        assert found[number].crop == square
        assert np.array_equal(found[number].image, crop_square(frames[number], square, RELEASE_SIZE))
        assert np.array_equal(found[number].picture, frames[number])
    assert film.notes == [f"{files / 'source.mp4'}: no face in 1 frame (at 0.20 s), moved as it is"]
    part = SourceFilm(files / "source.mp4", False, 1, Span(start=0.2), False, None)
    assert np.array_equal(part.picture, frames[2])


@pytest.fixture
def used(monkeypatch) -> list[Edit]:
    """The edits of each picture that is made from now on."""
    found, check = [], animation.check_edits

    def checked(edits, *more):
        found.extend(edits or ())
        return check(edits, *more)

    monkeypatch.setattr(animation, "check_edits", checked)
    return found


@pytest.mark.parametrize("driving", ["long.mp4", "fast.mp4", "motion"])
def test_eyes_and_lips_start_from_each_frames_own(reenactors, files, tmp_path, used, driving):
    """And follow the frame of the driver that is paired with it."""
    own, others = (
        np.stack([0.2 * parity.fake_landmarks(203, f"{name}{i}") for i in range(count)])
        for name, count in (("film", 8), ("driver", 12))
    )
    followed = [Openness.of(each) for each in others]
    known = {"reenactor": reenactors["liveportrait"], "batch_size": 4}
    if driving == "motion":
        extract(files / "fast.mp4", tmp_path / "motion.npz", crop=False, **known)
        source = tmp_path / "motion.npz"
    else:
        source = files / driving
        known["driving_face"] = others

    def edits(portrait: Openness, driver: list[Openness] | None) -> list[Edit]:
        return list(following(Edit(portrait=portrait), driver or followed))

    report = reenact(files / "source.mp4", source, tmp_path / "out", face=own, edit_from=edits, **known)
    step = 1 if driving == "long.mp4" else 2  # frames of the driver to one of the film
    assert report.frames == len(used) == (8 if step == 1 else 6)
    for number, edit in enumerate(used):
        assert edit.portrait == Openness.of(own[number])
        assert (edit.eyes, edit.lips) == (followed[step * number].left_eye, followed[step * number].lips)
    assert len({edit.portrait for edit in used}) == len(used)


def test_what_the_user_says_of_openness_is_kept(reenactors, files, tmp_path, used):
    """Of every frame alike; and fewer edits than frames end the run."""
    calm, wide = Openness(0.3, 0.3, 0.0), [Openness(0.1 * i, 0.2, 0.1) for i in range(1, 10)]
    known = {"reenactor": reenactors["liveportrait"], "crop": False}
    edit = list(following(Edit(portrait=calm), wide))
    reenact(files / "source.mp4", files / "long.mp4", tmp_path / "out", edit=edit, **known)
    assert [each.eyes for each in used] == [each.left_eye for each in wide[:8]]
    assert all(each.portrait == calm for each in used)
    with pytest.raises(ValueError, match="the edits ended after 5"):
        reenact(files / "source.mp4", files / "long.mp4", tmp_path / "no", edit=edit[:5], **known)
    assert not (tmp_path / "no").exists()


def test_a_gif_of_one_frame_is_a_picture(tmp_path):
    frames = [Image.fromarray(each) for each in clips.moving_picture(clips.portrait(), 3, size=64)]
    frames[0].save(tmp_path / "still.gif")
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:], duration=40)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert kind_of_source(tmp_path / "still.gif") == kind_of_source(tmp_path / "broken.png") == PICTURE
    assert kind_of_source(tmp_path / "film.gif") == FILM


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("source.mp4", "face.png"),
            "face.png is a picture: expected a film or motion to move a film, source",
        ),
        (("source.mp4", "long.mp4", "-p", "sadtalker-256"), "is driven by 3DMM coefficients, no pictures"),
        (
            ("source.mp4", "rows.npy", "-p", "sadtalker-256", "--source-coefficients", "own.npy"),
            "reads a portrait's 3DMM coefficients beside its picture: expected a picture of it, got a film",
        ),
        (
            ("source.mp4", "long.mp4", "--eyes", "0.2"),
            "start from how open the portrait's eyes and lips are: expected --portrait-open",
        ),
        (
            ("rows.npy", "long.mp4"),
            "rows.npy: expected a picture or a film of the face to be moved, found mot",
        ),
        (("face.png", "long.mp4", "--sound", "source"), "sound: the source is no film with sound; expected"),
        (("still.mp4", "long.mp4", "--sound", "source"), "still.mp4: expected a file with sound, found none"),
        (("source.mp4", "long.mp4", "--start", "5"), "source.mp4: expected frames from 5 s to the end"),
        (("source.mp4", "long.mp4", "-o", "source.mp4", "--overwrite"), "source.mp4"),
    ],
)
def test_refusals_are_one_true_line(fv2v, files, monkeypatch, words, message):
    monkeypatch.chdir(files)
    given = () if "-p" in words else ("-w", "vox.safetensors")
    out = () if "-o" in words else ("-o", "out.mp4")
    weights = ("-w", "random") if "-p" in words else ()
    assert_refused(fv2v("reenact", *words, "--no-crop", *given, *weights, *out), message)
    assert not Path("out.mp4").exists()
