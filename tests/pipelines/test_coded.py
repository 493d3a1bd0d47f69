# SPDX-License-Identifier: Apache-2.0
"""`fv2v encode`, `fv2v decode` and `fv2v info` of a `.fv2v`, on a tiny model."""

from dataclasses import replace
from pathlib import Path

import clips
import pytest
import torch
from hostile_files import jpeg
from motion_samples import moving
from output_files import audio_codec, leftovers, packets
from tiny import TINY, TINY_SADTALKER, TINY_VOX, pictures
from typer.testing import CliRunner

from fv2v import Reenactor, extract, read_motion, read_video
from fv2v.cli import app
from fv2v.codec.file import read_recording, write_recording
from fv2v.io.image import write_image
from fv2v.pipelines.coded import CodingOptions, decode, decode_motion, encode

FRAMES = 6


@pytest.fixture(scope="module")
def reenactor() -> Reenactor:
    return moving(TINY_VOX)


@pytest.fixture(scope="module")
def files(reenactor, tmp_path_factory) -> Path:
    """A folder of inputs, and what `encode` makes of them."""
    folder = tmp_path_factory.mktemp("coded")
    write_image(folder / "portrait.png", pictures(1, size=64)[0])
    images = clips.moving_picture(clips.portrait(), FRAMES, reach=0.2)
    clips.write_clip(folder / "driving.mp4", images, pts=clips.uneven_pts(FRAMES), audio="aac")
    extract(folder / "driving.mp4", folder / "motion.npz", reenactor=reenactor, crop=False)
    encode(
        folder / "portrait.png", folder / "driving.mp4", folder / "talk.fv2v", reenactor=reenactor, crop=False
    )
    return folder


def test_a_film_with_its_times_and_sound(files, reenactor, tmp_path):
    out = tmp_path / "out.mp4"
    report = decode(files / "talk.fv2v", out, reenactor=reenactor)
    assert (report.frames, report.notes) == (FRAMES, ())
    driving = read_video(files / "driving.mp4")
    made = read_video(out)
    assert len(list(driving)) == len(list(made)) == FRAMES
    assert made.times == pytest.approx(driving.times)
    sound = [packet for _, packet in packets(files / "driving.mp4")]
    assert [packet for _, packet in packets(out)] == sound[: len(packets(out))]
    assert len(packets(out)) > len(sound) / 2
    assert not leftovers(tmp_path, out)


def test_the_motion_is_the_videos(files, reenactor):
    recording = read_recording(files / "talk.fv2v")
    true = read_motion(files / "motion.npz").motion
    motion = decode_motion(recording, reenactor.config)
    assert (motion.expression - true.expression).abs().max() <= 0.0005 / 2 * 1.01
    assert torch.equal(motion.scale, true.scale)


def test_from_motion_with_the_sound_of_a_file_as_opus(files, reenactor, tmp_path):
    coded, out = tmp_path / "talk.fv2v", tmp_path / "out.mp4"
    options = CodingOptions(quality=50, refresh=0.1, portrait_format="jpeg", sound_kbps=24, keypoints=2)
    encode(
        files / "portrait.png",
        files / "motion.npz",
        coded,
        coding=options,
        reenactor=reenactor,
        crop=False,
        sound=files / "driving.mp4",
        frames=5,
    )
    recording = read_recording(coded)
    assert (recording.portrait_format, recording.refreshes, len(recording.packets)) == ("jpeg", (0, 2, 4), 5)
    assert not decode_motion(recording, reenactor.config).expression[:, 2:].any()
    decode(coded, out, reenactor=reenactor)
    assert audio_codec(out) == "opus"
    plain = read_recording(files / "talk.fv2v")
    assert sum(map(len, recording.packets[1:2])) < sum(map(len, plain.packets[1:2]))


def test_cut_short_it_plays_up_to_there(files, reenactor, tmp_path):
    whole = (files / "talk.fv2v").read_bytes()
    recording = read_recording(files / "talk.fv2v")
    cut, out = tmp_path / "cut.fv2v", tmp_path / "out.mp4"
    cut.write_bytes(whole[: whole.rindex(recording.packets[3])])
    report = decode(cut, out, reenactor=reenactor)
    assert report.frames == 3
    assert report.notes == (f"{cut}: cut short after 3 frames",)
    assert len(list(read_video(out))) == 3


def test_weights_of_another_preset_are_refused(files, tmp_path):
    other = moving(TINY)
    with pytest.raises(ValueError, match="this is motion of 'tiny-vox', 5 keypoints: expected its weights"):
        decode(files / "talk.fv2v", tmp_path / "out.mp4", reenactor=other)
    assert not leftovers(tmp_path)


def test_a_preset_of_coefficients_is_refused(files, tmp_path):
    with pytest.raises(ValueError, match="coefficients"):
        decode(files / "talk.fv2v", tmp_path / "out.mp4", TINY_SADTALKER, weights="random")


def test_packets_in_wrong_order_are_refused(files, reenactor, tmp_path):
    recording = read_recording(files / "talk.fv2v")
    recording.packets[2:4] = reversed(recording.packets[2:4])
    write_recording(tmp_path / "bad.fv2v", recording)
    with pytest.raises(ValueError, match=r"bad\.fv2v: damaged: frame 2 does not follow"):
        decode(tmp_path / "bad.fv2v", tmp_path / "out.mp4", reenactor=reenactor)


def test_a_portrait_that_is_no_picture_is_refused(files, reenactor, tmp_path):
    recording = replace(read_recording(files / "talk.fv2v"), portrait=jpeg(30_000, 30_000))
    write_recording(tmp_path / "bad.fv2v", recording)
    with pytest.raises(ValueError, match=r"bad\.fv2v: damaged: .* at most 67108864 pixels"):
        decode(tmp_path / "bad.fv2v", tmp_path / "out.mp4", reenactor=reenactor)
    assert leftovers(tmp_path) == [tmp_path / "bad.fv2v"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quality": 200}, "quality from 1 to 100"),
        ({"kbps": 0}, "kbps and fps above 0"),
        ({"keypoints": 6}, "keypoints from 0 to 5, got 6"),
        ({"refresh": 0}, "more than 0 seconds between refreshes"),
        ({"portrait_format": "gif"}, "a format of the portrait"),
        ({"sound_kbps": 1}, "kbit/s of sound"),
    ],
)
def test_options_out_of_range_are_refused(files, reenactor, tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        encode(
            files / "portrait.png",
            files / "driving.mp4",
            tmp_path / "talk.fv2v",
            coding=CodingOptions(**options),
            reenactor=reenactor,
        )
    assert not leftovers(tmp_path)


def test_commands(files, reenactor, tmp_path):
    weights, coded, out = tmp_path / "w.safetensors", tmp_path / "talk.fv2v", tmp_path / "out.mp4"
    reenactor.save(weights)
    run = CliRunner().invoke
    inputs = [str(files / "portrait.png"), str(files / "driving.mp4"), "--no-crop", "-w", str(weights)]
    done = run(app, ["encode", *inputs, "-o", str(coded), "--quality", "adaptive"])
    assert done.exit_code == 0, done.output
    assert f"{coded.stat().st_size} bytes" in done.output
    done = run(app, ["info", str(coded)])
    assert done.exit_code == 0
    assert all(word in done.output for word in ("tiny-vox", "portrait", "motion", "sound", "kbit/s"))
    done = run(app, ["decode", str(coded), "-o", str(out), "-w", str(weights), "--yaw", "20"])
    assert done.exit_code == 0, done.output
    assert out.stat().st_size > 1000
