# SPDX-License-Identifier: Apache-2.0
"""Whole files in, whole files out, on a tiny model; real clips come from the folder FV2V_MEDIA."""

import itertools
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import av
import clips
import numpy as np
import odd_files
import pytest
from output_files import audio_codec, leftovers, packets
from tiny import TINY, TINY_LIVEPORTRAIT, TINY_VOX, lively
from waiting import no_thread_left

from fv2v import extract, frontalize, imitate, reenact, render
from fv2v.face.crop import box_around, cut
from fv2v.face.find import find_face, find_first_face
from fv2v.face.steady_crop import SteadyCrop
from fv2v.geometry import View
from fv2v.io.image import read_image
from fv2v.io.video import read_video, write_video
from fv2v.motion.smoothing import SteadyMotion
from fv2v.pipelines.report import Report
from fv2v.pipelines.write import SPARE
from fv2v.reenactor import Reenactor

FEW = 5  # frames of a whole network
REAL_CLIPS = ["talk_480_30fps.mp4", "room_480_25fps.mp4", "close_512_30fps.mp4"]


@pytest.fixture(autouse=True)
def watched_threads() -> Iterator[None]:
    with no_thread_left():
        yield


@pytest.fixture(scope="module")
def tiny() -> Reenactor:
    return Reenactor(TINY_VOX, weights="random")


@pytest.fixture(scope="module")
def weights(tiny, tmp_path_factory) -> Path:
    """The tiny model in a file that knows its config."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    tiny.save(path)
    return path


@pytest.fixture(scope="module")
def driving(tmp_path_factory) -> Path:
    """40 frames at uneven times, with sound."""
    images = clips.moving_picture(clips.portrait(), 40)
    path = tmp_path_factory.mktemp("driving") / "driving.mp4"
    return clips.write_clip(path, images, pts=clips.uneven_pts(40), audio="aac")


def frames_of(path: Path) -> np.ndarray:
    return np.stack(list(read_video(path)))


def test_the_output_has_the_drivers_frames_times_and_sound(weights, driving, tmp_path):
    output = tmp_path / "out.mp4"
    report = reenact(clips.PORTRAIT, driving, output, weights=weights)
    assert report == Report(output, frames=40, seconds=report.seconds, missing=0, stages=report.stages)
    source, made = read_video(driving), read_video(output)
    assert sum(1 for _ in source) == sum(1 for _ in made) == 40
    assert made.times == source.times
    assert made.size == (TINY.image_size,) * 2
    assert packets(output) == packets(driving)
    assert not leftovers(tmp_path, output)


def test_it_is_the_reenactors_work_on_the_crops(tiny, driving, tmp_path):
    """Frame by frame, within H.264: so crops, order and view arrive where they should."""
    view = View(yaw=30)
    reenact(clips.PORTRAIT, driving, tmp_path / "out.mp4", reenactor=tiny, view=view, relative=False)
    reader = read_video(driving)
    source = tiny.encode(clips.crop_face(clips.portrait(), 256))
    drivers = (clips.crop_face(frame, TINY.image_size) for frame in reader)
    expected = np.stack(list(tiny.animate(source, drivers, relative=False, view=view)))
    assert np.abs(frames_of(tmp_path / "out.mp4").astype(int) - expected).mean() < 3


def test_frames_cuts_pictures_and_sound(weights, driving, tmp_path):
    report = reenact(clips.PORTRAIT, driving, tmp_path / "out.mp4", weights=weights, frames=15)
    assert report.frames == len(frames_of(tmp_path / "out.mp4")) == 15
    reader = read_video(driving, frames=15)
    list(reader)
    assert packets(tmp_path / "out.mp4")[-1][0] == pytest.approx(reader.end, abs=0.05)


def test_batches_change_nothing_but_speed(tiny, driving, tmp_path):
    one, many = tmp_path / "one.mp4", tmp_path / "many.mp4"
    reenact(clips.PORTRAIT, driving, one, reenactor=tiny)
    reenact(clips.PORTRAIT, driving, many, reenactor=tiny, batch_size=16)
    assert np.abs(frames_of(one).astype(int) - frames_of(many)).mean() < 1
    assert read_video(one).times == read_video(many).times


def test_each_frame_has_its_view_whatever_the_batches(driving, tmp_path):
    """17 frames in batches of 4: the last batch is a part of one."""
    moved = lively(Reenactor(TINY_LIVEPORTRAIT, weights="random"))
    turned = [View(yaw=5 * i) for i in range(17)]
    made, wanted, straight = (tmp_path / f"{name}.mp4" for name in ("made", "wanted", "straight"))
    how = {"reenactor": moved, "frames": 17}
    report = reenact(clips.PORTRAIT, driving, made, **how, view=iter(turned), batch_size=4)
    assert report.frames == 17
    reenact(clips.PORTRAIT, driving, straight, **how)
    reader = read_video(driving, frames=17)
    crops = SteadyCrop(reader, find_first_face(reader), TINY.image_size)
    picture = clips.portrait()
    box = box_around(find_face(picture), picture.shape[:2])
    source = moved.encode(cut(picture, box, box.side))
    write_video(wanted, moved.animate(source, crops, view=turned), like=reader)
    expected = frames_of(wanted).astype(int)
    assert np.abs(frames_of(made) - expected).mean() < 1
    assert np.abs(frames_of(straight) - expected).mean() > 2, "the test would see no views"


def test_networks_run_while_pictures_are_written(tiny, driving, tmp_path):
    """While the writer is held up at the first frame, later ones are rendered, as far as there is room."""
    third = threading.Event()
    rendered = []

    def views():
        for i in itertools.count():
            rendered.append(i)
            if i == 2:
                third.set()
            yield View()

    def hold(done: int, _: int | None) -> None:
        assert third.wait(timeout=60), "the networks wait for the writer"
        assert len(rendered) <= done + (1 + SPARE) + 1, "they run away from it"

    report = reenact(
        clips.PORTRAIT, driving, tmp_path / "out.mp4", reenactor=tiny, view=views(), progress=hold
    )
    assert report.frames == 40


def test_the_report_says_where_time_went(tiny, driving, tmp_path):
    report = reenact(clips.PORTRAIT, driving, tmp_path / "out.mp4", reenactor=tiny)
    stages = asdict(report.stages)
    assert list(stages) == ["decode", "crop", "network", "encode"]
    assert all(0 < seconds < report.seconds for seconds in stages.values())
    assert re.search(
        r": 40 frames in [\d.]+ s \([\d.]+ a second\): decode [\d.]+ s, crop [\d.]+ s, network ", str(report)
    )


def test_progress_is_called_after_each_frame(tiny, driving, tmp_path):
    calls: list[tuple[int, int | None]] = []
    reenact(
        clips.PORTRAIT, driving, tmp_path / "out.mp4", reenactor=tiny, progress=lambda *now: calls.append(now)
    )
    assert calls == [(i, 40) for i in range(1, 41)]


def test_a_lost_face_is_counted_and_the_output_keeps_every_frame(tiny, tmp_path):
    images = clips.moving_picture(clips.portrait(), 30)
    images[:3] = images[12:18] = 127
    driving = clips.write_clip(tmp_path / "driving.mp4", images)
    report = reenact(clips.PORTRAIT, driving, tmp_path / "out.mp4", reenactor=tiny)
    assert (report.frames, report.missing) == (30, 9)


def test_without_cropping_any_picture_serves(tiny, tmp_path):
    driving = clips.write_clip(tmp_path / "driving.mp4", np.full((5, 48, 80, 3), 127, np.uint8))
    report = reenact(clips.PORTRAIT, driving, tmp_path / "out.mp4", reenactor=tiny, crop=False)
    assert (report.frames, report.missing) == (5, 0)


def test_frontalize_writes_the_reenactors_picture(tiny, tmp_path):
    output = tmp_path / "front.png"
    report = frontalize(clips.PORTRAIT, output, reenactor=tiny)
    assert (report.output, report.frames) == (output, 1)
    expected = tiny.frontalize(tiny.encode(clips.crop_face(clips.portrait(), 256)))
    assert np.abs(read_image(output).astype(int) - expected).mean() < 3  # the crop was 256 px wide or nearly


def test_a_failure_on_the_way_leaves_nothing_behind(tiny, driving, tmp_path):
    views = [View(yaw=5)] * 10  # too few for 40 frames: noticed at the 11th
    with pytest.raises(ValueError, match="view"):
        reenact(clips.PORTRAIT, driving, tmp_path / "out.mp4", reenactor=tiny, view=views)
    assert not leftovers(tmp_path)


def test_a_frame_that_cannot_be_decoded_fails_with_the_readers_message(tiny, driving, tmp_path):
    """It is read in another thread, and after frames that were good."""
    data = bytearray(driving.read_bytes())
    start, end = len(data) // 2, len(data) * 3 // 4
    data[start:end] = bytes(end - start)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged\.mp4: damaged or truncated after \d\d? frames") as read:
        list(read_video(damaged))
    with pytest.raises(ValueError, match="damaged or truncated") as reenacted:
        reenact(clips.PORTRAIT, damaged, tmp_path / "out.mp4", reenactor=tiny)
    assert str(reenacted.value) == str(read.value)
    assert not leftovers(tmp_path, damaged)


def test_damaged_frames_are_noted_once_the_film_is_written(tiny, tmp_path):
    images = clips.moving_picture(clips.portrait(), 12, size=128)
    whole = clips.write_clip(tmp_path / "whole.mp4", images, options={"g": "4"})
    damaged = odd_files.damaged_at(whole, tmp_path / "damaged.mp4", 4)
    how = {"reenactor": tiny, "crop": False}
    report = reenact(clips.PORTRAIT, damaged, tmp_path / "out.mp4", **how)
    assert (report.frames, len(report.notes)) == (12, 1)
    assert "damaged.mp4: 1 damaged frame, at 0.16 s; what is shown from there" in report.notes[0]
    assert "\n" not in f"{report}{report.notes[0]}"
    assert not reenact(clips.PORTRAIT, whole, tmp_path / "out.mp4", **how, strict=True).notes
    with pytest.raises(ValueError, match=r"damaged\.mp4: expected no damaged frame \(strict\), got one at"):
        reenact(clips.PORTRAIT, damaged, tmp_path / "strict.mp4", **how, strict=True)
    assert not (tmp_path / "strict.mp4").exists()
    noted = extract(damaged, tmp_path / "motion.npz", **how).notes
    assert noted == report.notes
    with pytest.raises(ValueError, match="expected no damaged frame"):
        extract(damaged, tmp_path / "strict.npz", **how, strict=True)


def test_sound_left_out_and_sizes_that_few_players_know_are_noted(tiny, tmp_path):
    images = clips.moving_picture(clips.portrait(), 3, size=64)
    path = clips.write_clip(tmp_path / "in.mov", images, audio="aac")
    path.write_bytes(odd_files.with_unknown_sound(path.read_bytes()))
    [note] = reenact(clips.PORTRAIT, path, tmp_path / "out.mp4", reenactor=tiny, crop=False).notes
    assert note.endswith("the sound track cannot be decoded (unknown codec or damaged); the film is silent")
    assert len(list(read_video(tmp_path / "out.mp4"))) == 3


def test_a_faceless_driver_is_refused_before_weights_are_read(tmp_path):
    driving = clips.write_clip(tmp_path / "driving.mp4", np.full((5, 64, 64, 3), 127, np.uint8))
    foreign = tmp_path / "weights.safetensors"
    foreign.write_bytes(b"these are no weights")
    with pytest.raises(ValueError, match=r"driving\.mp4: no face found in the first 5 frames"):
        reenact(clips.PORTRAIT, driving, tmp_path / "out.mp4", weights=foreign)


def test_an_input_is_not_overwritten(tiny, driving, tmp_path):
    """Under whatever name it goes, and before any work."""
    before = driving.read_bytes()
    link = tmp_path / "link.mp4"
    link.symlink_to(driving)
    for output in (driving, driving.parent / "." / driving.name, link):
        with pytest.raises(ValueError, match=r"this is the input .*driving\.mp4; choose another name"):
            reenact("absent.png", driving, output, reenactor=tiny)
    with pytest.raises(ValueError, match="this is the input"):
        frontalize(clips.PORTRAIT, clips.PORTRAIT, reenactor=tiny)
    assert driving.read_bytes() == before


@pytest.mark.parametrize("keyword", ["colour", "adapt_scales"])
def test_an_unknown_keyword_is_refused_before_any_work(keyword):
    for run in (reenact, imitate, render):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{keyword}'"):
            run("absent.png", "absent.mp4", "absent/out.mp4", **{keyword: True})


def test_options_that_do_not_fit_the_preset_are_refused_before_weights_are_read(driving, tmp_path):
    foreign = tmp_path / "weights.safetensors"
    foreign.write_bytes(b"these are no weights")
    with pytest.raises(ValueError, match="adapt_scale needs relative motion"):
        reenact(
            clips.PORTRAIT,
            driving,
            tmp_path / "out.mp4",
            TINY_LIVEPORTRAIT,
            weights=foreign,
            adapt_scale=True,
        )


def test_steady_smooths_at_the_videos_rate(driving, tmp_path):
    """As the filter itself does, and unlike one for another rate."""
    moved = lively(Reenactor(TINY_VOX, weights="random"))
    how = {"reenactor": moved, "frames": 8, "crop": False}
    rate = float(read_video(driving).rate)
    made = {}
    filters = {"on": True, "same": SteadyMotion(fps=rate), "slow": SteadyMotion(fps=2)}
    for name, steady in filters.items():
        reenact(clips.PORTRAIT, driving, tmp_path / f"{name}.mp4", **how, steady=steady)
        made[name] = frames_of(tmp_path / f"{name}.mp4")
    assert np.array_equal(made["on"], made["same"])
    assert not np.array_equal(made["on"], made["slow"])


def test_a_reenactor_or_what_makes_one(tiny, driving, tmp_path):
    with pytest.raises(ValueError, match="a reenactor, or a preset and weights, got both"):
        reenact(clips.PORTRAIT, driving, tmp_path / "out.mp4", reenactor=tiny, weights="random")


PEAK = r"""
import json, re, sys
from pathlib import Path
from fv2v import reenact
portrait, driving, output, weights, frames = sys.argv[1:]
report = reenact(portrait, driving, output, weights=weights, frames=int(frames))
# getrusage's peak is the parent's where that was larger
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps([report.frames, int(peak[1])]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("source", ["picture", "film"])
def test_memory_does_not_grow_with_the_length(weights, tmp_path, source):
    base = clips.moving_picture(clips.portrait(), 50, size=320)
    driving = clips.write_clip(tmp_path / "driving.mp4", np.concatenate([base] * 5), audio="aac")
    peaks = {}
    for frames in (50, 250):
        moved = driving if source == "film" else clips.PORTRAIT
        arguments = [moved, driving, tmp_path / "out.mp4", weights, frames]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *map(str, arguments)], check=True, capture_output=True, text=True
        )
        rendered, peaks[frames] = json.loads(done.stdout)
        assert rendered == frames
    print("peak memory in KiB:", peaks)
    assert peaks[250] <= 1.1 * peaks[50]  # 200 more frames as they come in would be 61 MB


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL_CLIPS)
def test_real_clips_whole(tiny, tmp_path, name):
    driving, output = clips.real(name), tmp_path / "out.mp4"
    report = reenact(clips.real("velata.jpg"), driving, output, reenactor=tiny, batch_size=8)
    source, made = read_video(driving), read_video(output)
    assert sum(1 for _ in source) == sum(1 for _ in made) == report.frames
    assert report.missing == 0
    assert made.times == source.times
    assert audio_codec(output) == "aac"
    assert packets(output) == packets(driving)


@pytest.mark.slow
def test_the_released_architecture_on_a_real_clip(tmp_path):
    """Untrained weights: sizes, time stamps and sound are what is tested."""
    driving, output = clips.real("room_480_25fps.mp4"), tmp_path / "out.mp4"
    report = reenact(clips.real("mona_lisa.jpg"), driving, output, "vox-256", weights="random", frames=FEW)
    source, made = read_video(driving, frames=FEW), read_video(output)
    assert sum(1 for _ in source) == sum(1 for _ in made) == report.frames == FEW
    assert made.times == source.times
    assert made.size == (256, 256)
    with av.open(str(output)) as container:
        assert container.streams.audio[0].duration * container.streams.audio[0].time_base == pytest.approx(
            FEW / 25, abs=0.08
        )
