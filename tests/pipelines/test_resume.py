# SPDX-License-Identifier: Apache-2.0
"""Films that are cut short: kept so far, or gone on with, as if nothing had happened."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest
from output_files import leftovers, packets
from tiny import TINY_SADTALKER, TINY_VOX, coefficients, lively

from fv2v import reenact, render, talk
from fv2v.geometry import View
from fv2v.io.image import write_image
from fv2v.io.interruption import Interruption
from fv2v.io.kept_pictures import KeptPictures
from fv2v.io.video import read_video, write_video
from fv2v.pipelines.extract import extract
from fv2v.reenactor import Reenactor

FRAMES = 13
KEY = "the same"


class Cut(Exception):
    """In the middle of a film."""


def cut_after(frames: int) -> Callable[[int, int | None], None]:
    def progress(done: int, total: int | None) -> None:
        if done == frames:
            raise Cut

    return progress


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A portrait, a driver with sound at uneven times, motion, coefficients, and weights."""
    folder = tmp_path_factory.mktemp("files")
    tiny = lively(Reenactor(TINY_VOX, weights="random"))
    tiny.save(folder / "tiny.safetensors")
    film = clips.moving_picture(clips.portrait(), FRAMES, size=64)
    clips.write_clip(folder / "driving.mp4", film, pts=clips.uneven_pts(FRAMES), audio="aac")
    write_image(folder / "portrait.png", film[0])
    extract(folder / "driving.mp4", folder / "motion.npz", reenactor=tiny, crop=False)
    np.save(folder / "driving.npy", coefficients(FRAMES))
    np.save(folder / "own.npy", coefficients(1, 1))
    return folder


@pytest.fixture(scope="module")
def tiny(files) -> Reenactor:
    return Reenactor(weights=files / "tiny.safetensors")


@pytest.fixture(scope="module")
def talking() -> Reenactor:
    return lively(Reenactor(TINY_SADTALKER, weights="random"))


def shown(path: Path) -> tuple[list[np.ndarray], list[float]]:
    reader = read_video(path)
    return list(reader), reader.times


def assert_same_film(path: Path, expected: Path) -> None:
    (frames, times), (wanted, at) = shown(path), shown(expected)
    assert times == at
    assert np.array_equal(frames, wanted)


class Rendered:
    """Counts the frames that a Reenactor renders, which does so as before."""

    def __init__(self, reenactor: Reenactor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames = 0
        self._begin = reenactor.runner.begin
        monkeypatch.setattr(reenactor.runner, "begin", self)

    def __call__(self, frames: Any, edits: Any) -> Any:
        self.frames += len(frames.motion)
        return self._begin(frames, edits)


@pytest.mark.parametrize(("batch_size", "cut"), [(1, 1), (4, 6), (1, FRAMES)])
@pytest.mark.parametrize(
    ("run", "arguments"),
    [
        (reenact, {"driving": "driving.mp4", "steady": True, "relative": True}),
        (reenact, {"driving": "driving.mp4", "lost": "source", "compare": True, "paste_back": True}),
        (render, {"motion": "motion.npz", "steady": True, "relative": True, "adapt_scale": True}),
        (talk, {"coefficients": "driving.npy", "source_coefficients": "own.npy"}),
    ],
)
def test_a_film_gone_on_with_is_the_uninterrupted_one(
    files, tiny, talking, tmp_path, monkeypatch, run, arguments, batch_size, cut
):
    reenactor = talking if run is talk else tiny
    options = {n: files / v if isinstance(v, str) and "." in v else v for n, v in arguments.items()}
    options |= {"portrait": files / "portrait.png", "crop": False, "reenactor": reenactor}
    options["batch_size"] = batch_size
    whole, output = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    run(output=whole, **options)
    with pytest.raises(Cut):
        run(output=output, resume=KeptPictures(output, KEY), progress=cut_after(cut), **options)
    assert leftovers(tmp_path, whole) == [tmp_path / "out.mp4.resume"]
    kept = KeptPictures(output, KEY)
    made = kept.count
    assert cut <= made <= FRAMES
    rendered = Rendered(reenactor, monkeypatch)
    report = run(output=output, resume=kept, **options)
    assert rendered.frames == (0 if made == FRAMES else FRAMES - made // batch_size * batch_size)
    assert (report.frames, report.interrupted) == (FRAMES, False)
    assert_same_film(output, whole)
    if run is reenact:
        assert packets(output) == packets(whole)
    assert leftovers(tmp_path, whole) == [output]


@pytest.mark.parametrize("name", ["out.webm", "out.gif", "out.webp", "out/%04d.png"])
def test_into_every_kind_of_file(files, tiny, tmp_path, name):
    """What is cut twice, too."""
    output, whole = tmp_path / name, tmp_path / f"whole{name.removeprefix('out')}"
    options = {"crop": False, "reenactor": tiny}
    inputs = files / "portrait.png", files / "motion.npz"
    render(*inputs, whole, **options)
    for frames in (2, 5):
        with pytest.raises(Cut):
            render(*inputs, output, resume=KeptPictures(output, KEY), progress=cut_after(frames), **options)
    render(*inputs, output, resume=KeptPictures(output, KEY), **options)
    if name == "out.webp":  # which FFmpeg writes, and does not read
        assert output.read_bytes() == whole.read_bytes()
    else:
        assert_same_film(output, whole)
    assert not list(tmp_path.glob("*.resume"))


@pytest.mark.parametrize("damage", ["other key", "cut short", "empty", "absent"])
def test_pictures_that_cannot_serve_are_made_anew(files, tiny, tmp_path, monkeypatch, damage):
    output, whole = tmp_path / "out.mp4", tmp_path / "whole.mp4"
    inputs, options = (files / "portrait.png", files / "motion.npz"), {"crop": False, "reenactor": tiny}
    render(*inputs, whole, **options)
    other = {"yaw": 30} if damage == "other key" else {}
    view = {"view": View(**other)} if other else {}
    first = KeptPictures(output, "another" if other else KEY)
    with pytest.raises(Cut):
        render(*inputs, output, resume=first, progress=cut_after(9), **options, **view)
    third = tmp_path / "out.mp4.resume" / "00000003.png"
    if damage == "absent":
        third.unlink()
    elif not other:
        third.write_bytes(third.read_bytes()[: 99 if damage == "cut short" else 0])
    kept = KeptPictures(output, KEY)
    assert kept.are_others == bool(other)
    rendered = Rendered(tiny, monkeypatch)
    render(*inputs, output, resume=kept, **options)
    assert rendered.frames == FRAMES - (0 if other else 3)
    assert_same_film(output, whole)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    folder = tmp_path / "out.mp4.resume"
    folder.mkdir()
    (folder / "letter.txt").touch()
    with pytest.raises(ValueError, match="expected nothing of that name"):
        KeptPictures(tmp_path / "out.mp4", KEY)
    assert list(folder.iterdir()) == [folder / "letter.txt"]


def test_two_runs_at_once_are_refused(tmp_path):
    pictures = [np.zeros((8, 8, 3), np.uint8)] * 2
    kept = KeptPictures(tmp_path / "out.mp4", KEY)
    running = kept.keeping(pictures)
    next(running)
    script = (
        "import sys\n"
        "from fv2v.io.kept_pictures import KeptPictures\n"
        "next(KeptPictures(sys.argv[1], 'the same').keeping([]))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "out.mp4")]
    other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "out.mp4.resume: another run works on this film" in other.stderr
    assert len(list(running)) == 1


def interrupt_at(frame: int) -> Callable[[int, int | None], None]:
    def progress(done: int, total: int | None) -> None:
        if done == frame:
            os.kill(os.getpid(), signal.SIGINT)

    return progress


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Raises KeyboardInterrupt, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out/%04d.png"])
def test_an_interrupted_film_is_kept_as_far_as_it_is(files, tiny, tmp_path, ctrl_c, name):
    whole = tmp_path / f"whole{name.removeprefix('out')}"
    options = {"crop": False, "reenactor": tiny}
    inputs = files / "portrait.png", files / "driving.mp4"
    reenact(*inputs, whole, **options)
    taken = tmp_path / {"out.mp4": "out.partial.mp4", "out.gif": "out.partial.gif"}.get(name, "out.partial")
    for partial in (taken, taken.with_name(taken.name.replace(".partial", ".partial-2"))):
        report = reenact(*inputs, tmp_path / name, keep_partial=True, progress=interrupt_at(6), **options)
        assert (report.output, report.interrupted, report.frames) == (partial, True, 6)
        (frames, times), (wanted, at) = shown(partial), shown(whole)
        assert times == at[:6]
        assert np.abs(np.array(frames, int) - wanted[:6]).mean() < 3  # encoders look ahead
        assert not (tmp_path / name).exists()
    if name == "out.mp4":
        sound, all_of_it = packets(taken), packets(whole)
        assert sound == all_of_it[: len(sound)]
        assert sound[-1][0] < at[6] <= all_of_it[len(sound)][0]


def test_what_was_kept_can_be_gone_on_with(files, tiny, tmp_path, ctrl_c):
    output, whole = tmp_path / "out.mp4", tmp_path / "whole.mp4"
    inputs, options = (files / "portrait.png", files / "driving.mp4"), {"crop": False, "reenactor": tiny}
    reenact(*inputs, whole, **options)
    partial = reenact(
        *inputs,
        output,
        keep_partial=True,
        resume=KeptPictures(output, KEY),
        progress=interrupt_at(6),
        **options,
    )
    assert partial.interrupted
    reenact(*inputs, output, keep_partial=True, resume=KeptPictures(output, KEY), **options)
    assert_same_film(output, whole)
    assert sorted(leftovers(tmp_path, whole)) == [output, partial.output]


@pytest.mark.parametrize("keep", [False, lambda name: False])
def test_what_is_not_wanted_is_not_kept(files, tiny, tmp_path, ctrl_c, keep):
    inputs = files / "portrait.png", files / "motion.npz", tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        render(*inputs, crop=False, reenactor=tiny, keep_partial=keep, progress=interrupt_at(3))
    assert not list(tmp_path.iterdir())


def test_an_interrupt_waits_for_the_encoder_and_a_second_one_does_not(tmp_path, ctrl_c):
    with Interruption(keep=True) as stop:
        frames = stop.until(range(9))
        for frame in frames:
            if frame == 3:
                os.kill(os.getpid(), signal.SIGINT)  # while the frame is encoded
        assert frame == 3
        assert stop.named(tmp_path / "out.mp4") == tmp_path / "out.partial.mp4"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with Interruption(keep=True) as stop:
        os.kill(os.getpid(), signal.SIGINT)  # before the first frame
        with pytest.raises(KeyboardInterrupt):
            write_video(tmp_path / "out.mp4", [np.zeros((8, 8, 3), np.uint8)], stop=stop)
    assert not list(tmp_path.iterdir())
