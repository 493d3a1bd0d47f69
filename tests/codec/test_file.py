# SPDX-License-Identifier: Apache-2.0
"""`.fv2v` files: what goes in comes out, also of a file that is cut short or damaged."""

import io
import json
import random
from fractions import Fraction

import clips
import numpy as np
import pytest
from codec_cases import one_by_one, talking
from hostile_files import jpeg, png
from rich.console import Console

import fv2v
from fv2v import Timing
from fv2v.codec import CodecError, MotionEncoder
from fv2v.codec.file import MAGIC, Recording, encoded, parse, read_recording, records, write_recording
from fv2v.codec.portrait import FORMATS, decode_portrait, encode_portrait
from fv2v.diagnostics.coded import recording_tables

STARTER = fv2v.preset("starter")
STEADY = Timing.even(30, 25)
UNEVEN = Timing(tuple(3 * i * i - 7 for i in range(30)), Fraction(1, 90), Fraction(30))


def recording(timing=STEADY, sound=b""):
    encoder = MotionEncoder(STARTER, refresh=10)
    packets = [encoder.encode(motion) for motion in one_by_one(talking(STARTER, 30))]
    portrait = b"\xff\xd8\xff of no one"
    return Recording("starter", 22, timing, portrait, packets, sound, (0, 10, 20))


@pytest.mark.parametrize("timing", [STEADY, UNEVEN], ids=["steady", "uneven"])
@pytest.mark.parametrize("sound", [b"", b"matroska" * 1000], ids=["silent", "sound"])
def test_comes_back(tmp_path, timing, sound):
    written = recording(timing, sound)
    write_recording(tmp_path / "talk.fv2v", written)
    assert read_recording(tmp_path / "talk.fv2v") == written


def test_large_packets_and_gaps_of_time():
    packets = [bytes([i]) * (240 + i) for i in range(20)]
    timing = Timing((*range(10), *range(1000, 1010)), Fraction(1, 25), Fraction(25))
    written = Recording("some", 5, timing, b"picture", packets)
    assert parse(io.BytesIO(b"".join(encoded(written)))) == written


def test_a_frame_costs_a_byte_beside_its_packet():
    written = recording()
    whole = sum(map(len, encoded(written)))
    assert whole <= sum(map(len, written.packets)) + 30 + 300


def test_cut_anywhere_it_holds_what_came_before():
    written = recording(sound=b"sound" * 200)
    whole = b"".join(encoded(written))
    frames = 0
    for end in range(len(whole) - 12):
        try:
            got = parse(io.BytesIO(whole[:end]))
        except CodecError:
            assert frames == 0
            continue
        assert len(got.packets) >= frames
        frames = len(got.packets)
        assert list(got.packets) == written.packets[:frames]
        assert got.timing.pts == written.timing.pts[:frames]
        assert written.sound.startswith(got.sound)
    assert frames == 30
    assert got.truncated


def test_the_index_points_at_frames_that_decode_alone():
    written = recording()
    whole = b"".join(encoded(written))
    assert whole.endswith(b"2v2f")
    offset = int.from_bytes(whole[-12:-4], "little")
    kind, body = next(records(io.BytesIO(MAGIC + b"\1" + whole[offset:])))
    assert (kind, b'"frames": 30' in body) == (254, True)
    for number, at in json.loads(body)["refreshes"]:
        _, packet = next(records(io.BytesIO(MAGIC + b"\1" + whole[at:])))
        assert packet.endswith(written.packets[number])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"RIFF....WEBP", "no .fv2v file"),
        (MAGIC + b"\x09", "version 1, got 09"),
        (MAGIC + b"\x01", "cut short before its first frame"),
        (MAGIC + b"\x01\xff\x01a", "a record that cannot be"),
        (MAGIC + b"\x01\xfb" + b"\xff" * 10, "a length that cannot be"),
        (MAGIC + b"\x01\xfb\x02{]", "a header or an index that is none"),
        (MAGIC + b"\x01\x02ab", "a first frame without its time"),
    ],
)
def test_other_files_are_refused(tmp_path, data, said):
    path = tmp_path / "other.fv2v"
    path.write_bytes(data)
    with pytest.raises(CodecError, match=said) as caught:
        read_recording(path)
    assert str(path) in str(caught.value)


def test_damage_is_refused_or_read_never_more():
    rng, whole = random.Random(0), b"".join(encoded(recording(sound=b"sound" * 20)))
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            parse(io.BytesIO(bytes(data)))
        except CodecError:
            continue


@pytest.mark.parametrize("kind", [*FORMATS, "smallest"])
def test_portrait(kind):
    image = clips.portrait()[:128, :128]
    data = encode_portrait(image, psnr=36, kind=kind)
    error = np.square(decode_portrait(data).astype(float) - image).mean()
    assert 10 * np.log10(255**2 / error) >= 36
    assert len(data) < image.size / 6
    if kind == "smallest":
        assert len(data) == min(len(encode_portrait(image, 36, each)) for each in FORMATS)
    with pytest.raises(CodecError, match="the portrait is no picture"):
        decode_portrait(data[:20])


def test_a_portrait_larger_than_any_picture_is_not_decoded():
    with pytest.raises(CodecError, match="at most 67108864 pixels"):
        decode_portrait(jpeg(30_000, 30_000))
    lying = png(4, 4).replace(b"\0\0\0\x09IDAT", b"\x7f\xff\xff\xffIDAT")  # found by fuzzing
    assert lying != png(4, 4)
    with pytest.raises(CodecError, match="no picture in avif, webp, jpeg"):
        decode_portrait(lying)


def test_a_name_in_a_file_is_text_to_the_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a long path would be wrapped
    named = Recording("[/red]\x1b[31m[bold", 5, STEADY, b"picture", [b"a"] * 30)
    write_recording(tmp_path / "talk.fv2v", named)
    (table,) = recording_tables("talk.fv2v")
    console = Console(file=io.StringIO(), width=300)
    console.print(table)
    assert ": [/red]\N{REPLACEMENT CHARACTER}[31m[bold, 30 frames" in console.file.getvalue()
