# SPDX-License-Identifier: Apache-2.0
"""Every codec: what is written is read with its time stamps and colours; or one line says why not."""

from fractions import Fraction

import av
import numpy as np
import pytest
from clips import moving_picture, portrait, write_clip
from output_files import packets
from PIL import Image

from fv2v.io.encoders import CONTAINERS, DEFAULT, ENCODERS, Encoding
from fv2v.io.hardware import HARDWARE, opens
from fv2v.io.image import read_image
from fv2v.io.timing import Timing
from fv2v.io.video import read_video, write_video

HERE = [codec for codec, encoders in ENCODERS.items() if av.codecs_available & encoders.keys()]
NAMES = {"libx264": "h264", "libopenh264": "h264", "vp9": "vp9", "av1": "av1", "prores": "prores"}


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [(codec, suffix) for codec in NAMES for suffix in CONTAINERS[codec] if codec in HERE],
)
def test_what_is_written_is_read(codec, suffix, tmp_path, capfd):
    frames = moving_picture(portrait(), 4, size=64)
    timing = Timing((0, 40, 90, 130), 1 / Timing.even(1, 1000).rate, Timing.even(1, 25).rate)
    path = tmp_path / f"out{suffix}"
    assert write_video(path, frames, like=timing, codec=codec) == 4
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == NAMES[codec]
    read = read_video(path)
    error = np.abs(np.stack(list(read)).astype(int) - frames).mean()
    assert error < 7  # of 255: x264 has 4.8, most of it of the halved chroma
    assert [round(each, 3) for each in read.times] == [0.0, 0.04, 0.09, 0.13]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("width", "height"), [(32, 32), (64, 64), (80, 128), (250, 40), (128, 64), (256, 32)]
)
def test_narrow_films_of_the_same_frames_are_the_same(width, height, tmp_path):
    """x264's look-ahead reads past rows of other than whole eights of macroblocks: memory of any contents."""
    frames = moving_picture(portrait(), 2, size=256)[:, :height, :width]
    path = tmp_path / "out.mp4"
    write_video(path, frames)
    look_ahead = b"rc_lookahead=40" in path.read_bytes()  # x264 states its options in the stream
    assert look_ahead == (width % 128 == 0)


@pytest.mark.parametrize("name", ["out.gif", "out.webp"])
def test_animations_keep_their_times(name, tmp_path):
    frames = moving_picture(portrait(), 6, size=63)
    timing = Timing((40, 80, 130, 170, 175, 215), Fraction(1, 1000), Fraction(25))
    assert write_video(tmp_path / name, frames, like=timing) == 6
    with Image.open(tmp_path / name) as made:
        assert (made.n_frames, made.size, made.info.get("loop")) == (6, (63, 63), 0)
        durations = []
        for number, frame in enumerate(frames):
            made.seek(number)
            assert np.abs(np.array(made.convert("RGB")).astype(int) - frame).mean() < 6
            durations.append(made.info["duration"])
    shown = np.cumsum(durations[:-1])
    np.testing.assert_allclose(shown, [40, 90, 130, 135, 175], atol=10 if name == "out.gif" else 1)


@pytest.mark.parametrize("name", ["out", "a 100% copy", "out/%03d.png", "out/of 10%05d.png"])
def test_a_folder_of_pngs_holds_the_frames_bit_for_bit(name, tmp_path):
    frames = moving_picture(portrait(), 3, size=33)
    path = tmp_path / name
    assert write_video(path, frames) == 3
    folder = path.parent if path.suffix else path
    pattern = path.name if path.suffix else "%04d.png"
    assert sorted(each.name for each in folder.iterdir()) == [pattern % number for number in range(3)]
    for number, frame in enumerate(frames):
        assert np.array_equal(read_image(folder / (pattern % number)), frame)
    assert [each.name for each in tmp_path.iterdir()] == [folder.name]
    with pytest.raises(ValueError, match="expected the name of a new folder, or an empty one"):
        write_video(path, frames)


def test_quality_and_speed_reach_the_encoder(tmp_path):
    frames = moving_picture(portrait(), 4, size=64)
    for codec in [codec for codec in ("libx264", "vp9", "av1") if codec in HERE]:
        sizes = []
        for crf in (10, 24, 45):
            write_video(tmp_path / "out.mkv", frames, codec=codec, crf=crf)
            sizes.append((tmp_path / "out.mkv").stat().st_size)
        assert sizes == sorted(sizes, reverse=True)
        assert len(set(sizes)) == 3
    write_video(tmp_path / "out.mp4", frames, encoder_preset="ultrafast")
    assert b"subme=0" in (tmp_path / "out.mp4").read_bytes()


@pytest.mark.parametrize("audio", ["aac", "pcm_s16le", "libopus"])
def test_sound_of_webm_is_opus(audio, tmp_path):
    frames = moving_picture(portrait(), 25, size=32)
    source = read_video(write_clip(tmp_path / "in.mkv", frames, audio=audio))
    write_video(tmp_path / "out.webm", source, like=source)
    with av.open(str(tmp_path / "out.webm")) as made:
        (stream,) = made.streams.audio
        assert stream.codec_context.codec.canonical_name == "opus"
        seconds = sum(frame.samples for frame in made.decode(stream)) / stream.rate
    assert seconds == pytest.approx(1, abs=0.08)
    if audio == "libopus":  # copied
        assert packets(tmp_path / "out.webm")[5][1] == packets(tmp_path / "in.mkv")[5][1]


def test_what_cannot_be_written_is_told_before(tmp_path, monkeypatch):
    frames = np.zeros((1, 16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match=r"codec: expected one of libx264, .*; got 'x265' \(unknown\)"):
        write_video(tmp_path / "out.mp4", frames, codec="x265")
    with pytest.raises(ValueError, match=r"out\.mov: vp9 goes into \.mp4 or \.mkv or \.webm, got"):
        write_video(tmp_path / "out.mov", frames, codec="vp9")
    monkeypatch.setattr(av, "codecs_available", {"libvpx-vp9"})
    with pytest.raises(
        ValueError, match=r"expected one of vp9; got 'libx264' \(this FFmpeg has no such encoder\)"
    ):
        write_video(tmp_path / "out.mp4", frames, codec=DEFAULT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("codec", [name for name in HARDWARE if name in av.codecs_available])
def test_hardware_that_is_there_encodes_and_other_is_told_of(codec, tmp_path, capfd):
    frames = moving_picture(portrait(), 4, size=256)
    if opens(codec):
        write_video(tmp_path / "out.mp4", frames, codec=codec, crf=19)
        error = np.abs(np.stack(list(read_video(tmp_path / "out.mp4"))).astype(int) - frames).mean()
        assert error < 7
    else:
        told = rf"^codec: {codec} cannot be opened here: expected an? .*, or another codec$"
        with pytest.raises(ValueError, match=told):
            write_video(tmp_path / "out.mp4", frames, codec=codec)
        assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err == ""


def test_what_hardware_is_told():
    assert Encoding("h264_nvenc").options("h264_nvenc") == {"rc": "vbr", "b": "0", "cq": "19"}
    made = Encoding("hevc_nvenc", 0, "p7").options("hevc_nvenc")
    assert made == {"rc": "vbr", "b": "0", "cq": "1", "preset": "p7"}
    made = Encoding("h264_amf", 30, "speed").options("h264_amf")
    assert made == {"rc": "cqp", "qp_i": "30", "qp_p": "30", "quality": "speed"}
    assert Encoding("hevc_qsv", 25).options("hevc_qsv") == {"global_quality": "25"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"codec": "h264_nvenc", "crf": 52}, "crf: expected 0 to 51 for h264_nvenc, got 52"),
        ({"codec": "h264_nvenc", "preset": "slow"}, "encoder preset: expected one of p1, p2, .*; got 'slow'"),
        ({"codec": "h264_videotoolbox", "crf": 20}, "crf: expected none: h264_videotoolbox has no such opt"),
        ({"codec": "hevc_nvenc", "name": "out.m4v"}, r"hevc_nvenc goes into \.mp4 or \.mov or \.mkv, got"),
    ],
)
def test_options_that_hardware_has_not(given, message, tmp_path, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", {*av.codecs_available, "h264_videotoolbox"})
    name = given.pop("name", "out.mp4")
    with pytest.raises(ValueError, match=message):
        Encoding(**given).check(tmp_path / name)


def test_pixels_of_hardwares_format_are_the_same_picture(tmp_path, monkeypatch):
    """Frames come as yuv420p; the stream's own format is made of them."""
    frames = moving_picture(portrait(), 3, size=64)
    write_video(tmp_path / "planes.mkv", frames)
    monkeypatch.setattr("fv2v.io.encoders.HARDWARE", {DEFAULT: HARDWARE["h264_videotoolbox"]})
    monkeypatch.setattr("fv2v.io.encoders.opens", lambda encoder: True)
    write_video(tmp_path / "turns.mkv", frames)
    planes, turns = (np.stack(list(read_video(tmp_path / name))) for name in ("planes.mkv", "turns.mkv"))
    assert np.array_equal(planes, turns)


def test_frames_of_a_webp_stay_apart(tmp_path):
    """Those that are alike, too: as many as were given, each as long."""
    frames = np.full((5, 48, 64, 3), 100, np.uint8)
    write_video(tmp_path / "out.webp", frames, fps=10)
    with Image.open(tmp_path / "out.webp") as film:
        assert film.n_frames == 5
        for number in range(5):
            film.seek(number)
            film.load()
            assert film.info["duration"] == 100
