# SPDX-License-Identifier: Apache-2.0
"""Video in and out: time stamps, sound, rotation, whole files."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import clips
import numpy as np
import pytest
from output_files import audio_codec, leftovers, packets

from fv2v.io.timing import Timing
from fv2v.io.video import read_video, write_video


def frames_of(count: int, H: int = 64, W: int = 64) -> np.ndarray:
    """(count, H, W, 3): smooth pictures whose brightness says which frame they are."""
    y, x = np.mgrid[0:H, 0:W]
    base = np.stack([x * 160 // W, y * 160 // H, (x + y) * 80 // (H + W)], -1)
    return (base[None] + np.arange(count)[:, None, None, None] % 60).astype(np.uint8)


def copy(source: Path, target: Path, frames: int | None = None):
    reader = read_video(source, frames=frames)
    count = write_video(target, reader, like=reader)
    return count, reader, read_video(target)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts"])
def test_time_stamps_are_those_of_the_source_whatever_its_container(tmp_path, suffix):
    codec = {".webm": "libvpx-vp9"}.get(suffix, "libx264")
    source = clips.write_clip(tmp_path / f"in{suffix}", frames_of(30), codec=codec)
    count, reader, output = copy(source, tmp_path / "out.mp4")
    assert sum(1 for _ in output) == count == 30
    assert output.times == reader.times


@pytest.mark.parametrize("first", [0, 12_345], ids=["from 0", "from 0.137 s"])
def test_uneven_time_stamps_are_kept_exactly(tmp_path, first):
    pts = [first + ticks for ticks in clips.uneven_pts(40)]
    source = clips.write_clip(tmp_path / "in.mp4", frames_of(40), pts=pts, audio="aac")
    _, reader, output = copy(source, tmp_path / "out.mp4")
    list(output)
    assert reader.pts == pts
    assert [ticks * output.time_base for ticks in output.pts] == [ticks * clips.TIME_BASE for ticks in pts]


def test_matroska_output_rounds_to_a_millisecond(tmp_path):
    source = clips.write_clip(tmp_path / "in.mp4", frames_of(20), pts=clips.uneven_pts(20))
    _, reader, output = copy(source, tmp_path / "out.mkv")
    list(output)
    np.testing.assert_allclose(output.times, reader.times, atol=0.00051)


@pytest.mark.parametrize(
    ("suffix", "codec", "result"),
    [
        (".mp4", "aac", "aac"),
        (".mp4", "libmp3lame", "mp3"),
        (".webm", "libopus", "opus"),
        (".mkv", "flac", "flac"),
        (".mov", "pcm_s16le", "aac"),  # an MP4 takes it, and browsers stay silent
    ],
)
def test_sound_is_copied_or_becomes_aac(tmp_path, suffix, codec, result):
    video = "libvpx-vp9" if suffix == ".webm" else "libx264"
    source = clips.write_clip(tmp_path / f"in{suffix}", frames_of(30), codec=video, audio=codec)
    copy(source, tmp_path / "out.mp4")
    assert audio_codec(tmp_path / "out.mp4") == result
    before, after = packets(source), packets(tmp_path / "out.mp4")
    if result != "aac" or codec == "aac":
        assert [data for _, data in after] == [data for _, data in before]
        np.testing.assert_allclose([t for t, _ in after], [t for t, _ in before], atol=0.0015)
    else:
        assert after[-1][0] == pytest.approx(before[-1][0], abs=0.1)


def test_matroska_takes_any_sound(tmp_path):
    source = clips.write_clip(tmp_path / "in.mov", frames_of(30), audio="pcm_s16le")
    copy(source, tmp_path / "out.mkv")
    assert [data for _, data in packets(tmp_path / "out.mkv")] == [data for _, data in packets(source)]


def test_sound_longer_than_the_pictures_stays_whole(tmp_path):
    source = clips.write_clip(tmp_path / "in.mp4", frames_of(10), audio="aac", audio_seconds=3)
    copy(source, tmp_path / "out.mp4")
    assert packets(tmp_path / "out.mp4") == packets(source)


@pytest.mark.parametrize("audio", ["aac", "pcm_s16le"], ids=["copied", "re-encoded"])
def test_a_limit_cuts_pictures_and_sound_alike(tmp_path, audio):
    source = clips.write_clip(tmp_path / "in.mov", frames_of(50), audio=audio)
    count, reader, output = copy(source, tmp_path / "out.mp4", frames=20)
    assert count == sum(1 for _ in output) == reader.length == 20
    assert packets(tmp_path / "out.mp4")[-1][0] == pytest.approx(reader.end, abs=0.05)
    assert reader.end == pytest.approx(20 / 25)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_metadata_is_honoured(tmp_path, rotation):
    images = frames_of(3, 48, 80)
    source = clips.write_clip(tmp_path / "in.mp4", images, rotation=rotation)
    reader = read_video(source)
    assert reader.size == (48, 80)
    assert np.abs(next(iter(reader)).astype(int) - images[0]).max() < 24  # 4:2:0 and H.264


def test_a_mirrored_video_is_shown_as_players_show_it(tmp_path):
    images = frames_of(1, 48, 80)
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 80, "yuv420p"
        stream.set_display_rotation(0, hflip=True)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(images[0], format="rgb24")))
        output.mux(stream.encode(None))
    assert np.abs(next(iter(read_video(path))).astype(int) - images[0, :, ::-1]).max() < 24


def test_the_output_is_what_browsers_play(tmp_path):
    path = tmp_path / "out.mp4"
    write_video(path, frames_of(5, 33, 47))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # it starts before it is all there
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.height, context.width) == ("h264", "yuv420p", 34, 48)
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, 16 to 235


def test_colours_survive_the_round_trip(tmp_path):
    colours = np.array([[220, 40, 40], [40, 200, 60], [30, 60, 210], [128, 128, 128]], np.uint8)
    image = np.repeat(np.repeat(colours.reshape(2, 2, 3), 32, 0), 32, 1)
    write_video(tmp_path / "out.mp4", [image] * 3)
    back = next(iter(read_video(tmp_path / "out.mp4")))
    for y, x in ((16, 16), (16, 48), (48, 16), (48, 48)):
        assert np.abs(back[y, x].astype(int) - image[y, x]).max() <= 4


def test_without_a_model_frames_come_at_the_rate_asked_for(tmp_path):
    write_video(tmp_path / "out.mp4", frames_of(10), fps=29.97)
    reader = read_video(tmp_path / "out.mp4")
    assert len(list(reader)) == 10
    np.testing.assert_allclose(reader.times, np.arange(10) / 29.97, atol=1e-4)


def test_a_reader_can_be_read_again_and_left_early(tmp_path):
    reader = read_video(clips.write_clip(tmp_path / "in.mp4", frames_of(12)))
    assert reader.pts == []
    next(iter(reader))
    assert len(list(reader)) == len(list(reader)) == len(reader.pts) == 12


def test_a_failing_generator_leaves_nothing_behind_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_text("what was here before")

    def failing():
        yield from frames_of(30)
        raise RuntimeError("the network broke")

    with pytest.raises(RuntimeError, match="the network broke"):
        write_video(path, failing())
    assert path.read_text() == "what was here before"
    assert not leftovers(tmp_path, path)


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    def interrupted():
        yield from frames_of(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "out.mp4", interrupted())
    assert not leftovers(tmp_path)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames to write"),
        ([np.zeros((8, 8), np.uint8)], r"expected frames of \(H, W, 3\) uint8, got \(8, 8\) uint8"),
        ([np.zeros((8, 8, 3), np.float32)], r"got \(8, 8, 3\) float32"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)], r"\(8, 8, 3\), got \(8, 10, 3\)"),
    ],
)
def test_bad_frames_are_refused(tmp_path, frames, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "out.mp4", frames)
    assert not leftovers(tmp_path)


def test_more_frames_than_the_model_has_are_refused(tmp_path):
    source = clips.write_clip(tmp_path / "in.mp4", frames_of(4))
    reader = read_video(source)
    with pytest.raises(ValueError, match=r"more frames than were read from .*in\.mp4 \(4\)"):
        write_video(tmp_path / "out.mp4", [*reader, frames_of(1)[0]], like=reader)
    assert not leftovers(tmp_path, source)


def test_time_stamps_alone_serve_as_a_model(tmp_path):
    """They are kept, and there is sound only where it is asked for, cut where the frames end."""
    timing = Timing((3000, 9000, 40_000), clips.TIME_BASE, Fraction(5))
    loud = clips.write_clip(tmp_path / "loud.mp4", frames_of(50), audio="aac")
    write_video(tmp_path / "out.mp4", frames_of(3), like=timing, sound=loud)
    made = read_video(tmp_path / "out.mp4")
    assert len(list(made)) == 3
    assert made.times == [float(tick * clips.TIME_BASE) for tick in timing.pts]
    taken = packets(tmp_path / "out.mp4")
    assert taken == packets(loud)[: len(taken)]
    assert taken[-1][0] == pytest.approx(timing.end, abs=0.05)
    with pytest.raises(ValueError, match=r"more frames than have time stamps \(3\)"):
        write_video(tmp_path / "more.mp4", frames_of(4), like=timing)
    with pytest.raises(
        ValueError, match=r"expected `sound` or a reader, whose own it takes; got .*loud\.mp4"
    ):
        write_video(tmp_path / "more.mp4", frames_of(3), like=read_video(loud), sound=loud)
    assert not leftovers(tmp_path, loud, tmp_path / "out.mp4")


def test_bad_outputs_are_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    (tmp_path / "folder.mp4").mkdir()
    for path, error, message in [
        (tmp_path / "absent" / "out.mp4", FileNotFoundError, "does not exist; make it first"),
        (file / "out.mp4", ValueError, "is a file, expected a folder"),
        (tmp_path / "out.avi", ValueError, r"ends in \.mp4, .*, \.webp, got '\.avi'"),
        (tmp_path, ValueError, "expected the name of a new folder, or an empty one"),
        (tmp_path / "folder.mp4", ValueError, "got a folder"),
        (Path("/proc/out.mp4"), ValueError, "cannot write to the folder /proc"),  # not even root can
    ]:
        with pytest.raises(error, match=message):
            write_video(path, frames_of(2))


def bad_inputs(folder: Path) -> dict[str, Path]:
    """Files that are not a video, by what is wrong with them."""
    whole = clips.write_clip(folder / "whole.mp4", frames_of(40, 128, 128), audio="aac").read_bytes()
    front = folder / "front.mp4"  # its index comes first, so a cut leaves a file that opens
    write_video(front, frames_of(40, 128, 128))
    sound = folder / "sound.mp4"
    with av.open(str(sound), "w") as output:
        clips._write_tone(output, output.add_stream("aac", rate=48_000, layout="mono"), 0.5)
    contents = {
        "empty": b"",
        "text": b"this is not a video\n" * 50,
        "truncated": whole[: len(whole) // 2],
        "truncated, index first": front.read_bytes()[: front.stat().st_size * 2 // 3],
        "picture": clips.PORTRAIT.read_bytes(),
        "sound only": sound.read_bytes(),
    }
    paths = {}
    for name, data in contents.items():
        paths[name] = folder / f"{name.replace(', ', '-').replace(' ', '-')}.mp4"
        paths[name].write_bytes(data)
    return paths


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", r"the file is empty \(0 bytes\)"),
        ("text", "not a video that FFmpeg can read"),
        ("truncated", r"truncated: the file should have \d+ bytes, it has \d+"),
        ("truncated, index first", r"truncated: the file should have \d+ bytes, it has \d+"),
        ("picture", "expected a video, found a still picture"),
        ("sound only", "expected a video, found no video in it"),
    ],
)
def test_bad_inputs_are_named_in_one_line(tmp_path, kind, message):
    path = bad_inputs(tmp_path)[kind]
    with pytest.raises(ValueError, match=message) as caught:
        read_video(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


def test_missing_files_folders_and_zero_frames_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.mp4: no such file"):
        read_video(tmp_path / "absent.mp4")
    with pytest.raises(ValueError, match=r"expected a folder of frames, .*; found none in it"):
        read_video(tmp_path)
    source = clips.write_clip(tmp_path / "in.mp4", frames_of(3))
    with pytest.raises(ValueError, match="at least 1 frame"):
        read_video(source, frames=0)


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".avi"])
def test_a_cut_file_is_refused_whatever_its_container(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), np.uint8)
    whole = clips.write_clip(tmp_path / f"whole{suffix}", noise).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated"):
        copy(cut, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_live_recording_without_a_stated_length_is_read(tmp_path):
    """Browsers' MediaRecorder writes Matroska segments of unknown size."""
    whole = clips.write_clip(tmp_path / "in.mkv", frames_of(10)).read_bytes()
    at = whole.index(bytes.fromhex("18538067")) + 4
    (tmp_path / "live.mkv").write_bytes(whole[:at] + b"\x01" + b"\xff" * 7 + whole[at + 8 :])
    assert len(list(read_video(tmp_path / "live.mkv"))) == 10


def test_the_clip_maker_runs_by_hand(tmp_path):
    subprocess.run([sys.executable, clips.__file__, tmp_path / "driving.mp4", "--frames", "5"], check=True)
    assert len(list(read_video(tmp_path / "driving.mp4"))) == 5
    assert audio_codec(tmp_path / "driving.mp4") == "aac"
