# SPDX-License-Identifier: Apache-2.0
"""Every codec: what is written is read with its time stamps and colours; or one line says why not."""

import av
import numpy as np
import pytest
from clips import moving_picture, portrait

from fv2v.io.encoders import DEFAULT, ENCODERS
from fv2v.io.timing import Timing
from fv2v.io.video import read_video, write_video

HERE = [codec for codec, encoders in ENCODERS.items() if av.codecs_available & encoders.keys()]
NAMES = {"libx264": "h264", "libopenh264": "h264", "vp9": "vp9", "av1": "av1"}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("codec", HERE)
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


@pytest.mark.parametrize(("side", "settings"), [(32, b"mbtree=0"), (64, b"rc_lookahead=40")])
def test_small_films_are_written_without_a_look_ahead(side, settings, tmp_path):
    """Below 64 pixels x264's look-ahead reads memory that nobody wrote, and its bytes differ by chance."""
    path = tmp_path / "out.mp4"
    write_video(path, moving_picture(portrait(), 2, size=side))
    assert settings in path.read_bytes()  # x264 states its options in the stream


def test_what_cannot_be_written_is_told_before(tmp_path, monkeypatch):
    frames = np.zeros((1, 16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match=r"codec: expected one of libx264, .*; got 'x265' \(unknown\)"):
        write_video(tmp_path / "out.mp4", frames, codec="x265")
    with pytest.raises(ValueError, match=r"out\.mov: vp9 goes into \.mp4 or \.mkv, got '\.mov'"):
        write_video(tmp_path / "out.mov", frames, codec="vp9")
    monkeypatch.setattr(av, "codecs_available", {"libvpx-vp9"})
    with pytest.raises(
        ValueError, match=r"expected one of vp9; got 'libx264' \(this FFmpeg has no such encoder\)"
    ):
        write_video(tmp_path / "out.mp4", frames, codec=DEFAULT)
    assert not list(tmp_path.iterdir())
