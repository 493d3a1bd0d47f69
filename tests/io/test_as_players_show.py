# SPDX-License-Identifier: Apache-2.0
"""Files that players and viewers show are read as they show them: names, clocks, pixels, colours, sound."""

import os
from pathlib import Path

import av
import clips
import numpy as np
import odd_files
import pytest
from av.video.reformatter import Colorspace
from output_files import leftovers

from fv2v.io.audio import check_sound, note_on_sound
from fv2v.io.h264 import note_on_size
from fv2v.io.image import read_image
from fv2v.io.timing import Timing
from fv2v.io.video import read_video, write_video


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return clips.moving_picture(clips.portrait(), 12, size=96)


def times_of(path: Path, kind: str) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(getattr(container.streams, kind)[0])]


# --- names


@pytest.mark.parametrize(
    "name",
    ["take:1.mp4", "12:30:15.mp4", "http:x.mp4", "file:other.mp4", "concat:a|b.mp4", "50%03d.mp4", "-.mp4"],
)
def test_a_name_names_the_file_that_has_it(tmp_path, monkeypatch, images, name):
    monkeypatch.chdir(tmp_path)
    clips.write_clip("other.mp4", images[:3])
    clips.write_clip("plain.mp4", images[:5], audio="aac").rename(name)
    reader = read_video(name)
    assert write_video(f"out{name}", reader, like=reader) == 5
    assert sum(1 for _ in read_video(f"out{name}")) == 5
    check_sound(f"out{name}")


# --- bytes that mean nothing


@pytest.mark.parametrize(
    "trailer", [b"\r\n", b"\0" * 9, b"maker's own data after the last box", b"\0\1\0\0free", b"\0\0\0\2mdat"]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_bytes_after_the_last_box_cost_nothing(tmp_path, images, suffix, trailer):
    path = clips.write_clip(tmp_path / f"in{suffix}", images[:4])
    path.write_bytes(path.read_bytes() + trailer)
    assert sum(1 for _ in read_video(path)) == 4


# --- the shape of pixels


@pytest.mark.parametrize(("ratio", "size"), [("4/3", (96, 128)), ("8/9", (108, 96)), ("64/45", (96, 137))])
def test_pixels_that_are_not_square_are_stretched(tmp_path, images, ratio, size):
    path = clips.write_clip(tmp_path / "in.mp4", images[:2], pixel_shape=ratio)
    reader = read_video(path)
    assert reader.size == next(iter(reader)).shape[:2] == size
    turned = clips.write_clip(tmp_path / "turned.mp4", images[:2], pixel_shape=ratio, rotation=90)
    assert read_video(turned).size == size[::-1]


# --- clocks


@pytest.mark.parametrize("first", [0.5, 3600, 86_000])
@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
def test_a_late_clock_leaves_nothing_blank(tmp_path, images, suffix, first):
    ticks = [round(first * 90_000) + 3600 * i for i in range(12)]
    path = clips.write_clip(
        tmp_path / f"in{suffix}", images, pts=ticks, audio="aac", audio_start=first + 0.25
    )
    before = times_of(path, "video")[0] - times_of(path, "audio")[0]
    reader = read_video(path)
    write_video(tmp_path / "out.mp4", reader, like=reader)
    video, audio = times_of(tmp_path / "out.mp4", "video"), times_of(tmp_path / "out.mp4", "audio")
    assert min(video[0], audio[0]) < 0.1
    assert video[0] - audio[0] == pytest.approx(before, abs=0.03)
    np.testing.assert_allclose(np.diff(video), np.diff(reader.times), atol=0.0011)


def test_sound_with_a_clock_of_its_own_begins_with_the_film(tmp_path, images):
    late = [90_000 * 3600 + 3600 * i for i in range(12)]
    sound = clips.write_clip(tmp_path / "sound.mp4", images, audio="aac")
    write_video(tmp_path / "out.mp4", images, like=Timing(tuple(late), clips.TIME_BASE, 25), sound=sound)
    assert times_of(tmp_path / "out.mp4", "video")[0] == 0
    assert times_of(tmp_path / "out.mp4", "audio")[0] < 0.05


@pytest.mark.parametrize("second", [0, 5, 3600], ids=["the same clock", "a clock ahead", "an hour ahead"])
def test_joined_transport_streams_run_on(tmp_path, images, second):
    parts = []
    for name, first in (("a", 0), ("b", second), ("c", 0)):
        ticks = [90_000 * first + 3600 * i for i in range(12)]
        path = clips.write_clip(tmp_path / f"{name}.ts", images, pts=ticks, audio="aac", audio_start=first)
        parts.append(path.read_bytes())
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    reader = read_video(tmp_path / "joined.ts")
    assert write_video(tmp_path / "out.mp4", reader, like=reader) == 36
    assert not reader.damaged
    gap = 0 if second != 5 else second - 0.48  # a recording may pause for a few seconds
    video, audio = times_of(tmp_path / "out.mp4", "video"), times_of(tmp_path / "out.mp4", "audio")
    assert video[-1] - video[0] == pytest.approx(35 / 25 + gap, abs=0.01 if not gap else 0.1)
    assert audio[-1] - audio[0] == pytest.approx(3 * 0.48 + gap, abs=0.06 if not gap else 0.1)
    assert (np.diff(audio) > 0).all()


# --- sound


@pytest.mark.parametrize("tracks", [1, 2, 3])
def test_sound_that_cannot_be_decoded_costs_no_film(tmp_path, images, tracks):
    path = clips.write_clip(tmp_path / "in.mov", images, audio="aac", tracks=tracks)
    path.write_bytes(odd_files.with_unknown_sound(path.read_bytes()))
    reader = read_video(path)
    assert write_video(tmp_path / "out.mp4", reader, like=reader) == 12
    with av.open(str(tmp_path / "out.mp4")) as output:
        assert len(output.streams.audio) == min(1, tracks - 1)
    assert ("silent" if tracks == 1 else "track 2 is taken") in note_on_sound(path)
    if tracks == 1:
        with pytest.raises(ValueError, match="FFmpeg can decode none of its 1 tracks"):
            check_sound(path)


def test_a_track_of_rubbish_is_passed_over(tmp_path, images):
    path = clips.write_clip(tmp_path / "in.mkv", images, audio="aac", tracks=2)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for packet in container.demux(audio=0):
            if packet.size:
                data[packet.pos + 8 : packet.pos + packet.size] = b"\xff" * (packet.size - 8)
    path.write_bytes(data)
    reader = read_video(path)
    assert write_video(tmp_path / "out.mp4", reader, like=reader) == 12
    assert len(times_of(tmp_path / "out.mp4", "audio")) > 20


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv"])
@pytest.mark.parametrize("codec", ["libopus", "flac", "eac3", "libmp3lame", "pcm_s16le"])
def test_every_container_gets_sound_that_it_takes(tmp_path, images, codec, suffix):
    reader = read_video(clips.write_clip(tmp_path / "in.mkv", images[:3], audio=codec))
    write_video(tmp_path / f"out{suffix}", reader, like=reader)
    assert times_of(tmp_path / f"out{suffix}", "audio")
    assert not note_on_sound(tmp_path / "in.mkv")


# --- colours


@pytest.mark.parametrize(("curve", "white"), [("pq", 203), ("pq", 300), ("hlg", 203), ("hlg", 400)])
def test_hdr_keeps_its_contrast(tmp_path, images, curve, white):
    film = images[:3].repeat(2, 1).repeat(2, 2)
    shown = next(iter(read_video(odd_files.write_hdr(tmp_path / "in.mkv", film, curve, white)))).astype(float)
    assert 0.8 < shown.std() / film[0].std() < 1.35
    if white == 203:
        assert np.abs(shown - film[0]).mean() < 6
        assert np.abs(shown.mean((0, 1)) - film[0].mean((0, 1))).max() < 6  # hues stay


COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 150, 120)]


@pytest.mark.parametrize(
    ("size", "matrix"),
    [
        ((720, 1280), Colorspace.ITU709),
        ((640, 360), Colorspace.ITU709),
        ((480, 640), Colorspace.ITU601),
        ((576, 720), Colorspace.ITU601),
    ],
)
def test_colours_without_tags_are_those_of_their_size(tmp_path, size, matrix):
    path = odd_files.write_colours(tmp_path / "in.mp4", COLOURS, size, matrix)
    shown = next(iter(read_video(path))).astype(int)
    width = size[1] // 4
    found = [np.median(shown[:, width * k + width // 3 : width * k + width // 2], (0, 1)) for k in range(4)]
    assert np.abs(np.array(found) - COLOURS).max() < 6


# --- what is no file, or none that decoders know


def test_a_pipe_is_called_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for read in (read_video, read_image):
        with pytest.raises(ValueError, match=r"pipe\.mp4: expected a file, got a pipe or a device; save"):
            read(tmp_path / "pipe.mp4")
    with pytest.raises(ValueError, match="got a pipe or a device"):
        read_video("/dev/zero")


def test_an_animated_webp_is_called_one(tmp_path):
    animated = b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\x02" + b"\0" * 60
    (tmp_path / "in.webp").write_bytes(animated)
    with pytest.raises(ValueError, match=r"in\.webp: an animated WebP, which FFmpeg does not read; convert"):
        read_video(tmp_path / "in.webp")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heix", "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    ],
)
def test_pictures_that_cannot_be_read_are_named(tmp_path, head, name):
    (tmp_path / "in.jpg").write_bytes(head + b"\0" * 99)
    with pytest.raises(ValueError, match=f"a picture in {name}, which OpenCV cannot read; save it as JPEG"):
        read_image(tmp_path / "in.jpg")
    with pytest.raises(ValueError, match=rf"expected a video, found a still picture \({name}\)"):
        read_video(tmp_path / "in.jpg")
    assert not leftovers(tmp_path, tmp_path / "in.jpg")


# --- what not every player shows


def test_frames_beyond_what_players_know_are_noted():
    assert note_on_size((2304, 4096)) is None
    assert "8192 x 4096 pixels take level 6 of H.264" in note_on_size((4096, 8192))
    assert "more than any level" in note_on_size((9000, 16_000))
