# SPDX-License-Identifier: Apache-2.0
"""Single frames: the same, bit for bit, as those of the whole video decoded in order."""

import clips
import numpy as np
import pytest

from fv2v.io.random_access import read_frames
from fv2v.io.video import read_video, write_video

FRAMES = 30
KINDS = {
    "one keyframe": {},
    "a keyframe every 7": {"options": {"g": "7"}},
    "open groups": {"options": {"g": "7", "x264-params": "open-gop=1:bframes=3:b-adapt=0"}},
    "uneven times, a late start": {"pts": [12_345 + ticks for ticks in clips.uneven_pts(FRAMES)]},
    "on its side": {"rotation": 90},
    "with sound": {"audio": "aac"},
    ".mkv": {},
    ".mov": {"options": {"g": "7"}},
    ".webm": {"codec": "libvpx-vp9"},
}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 30, (FRAMES, 48, 48, 3), np.uint8)  # no two frames alike
    return clips.moving_picture(clips.portrait(), FRAMES, size=48) // 2 + noise


def one_by_one(path, numbers) -> list[np.ndarray]:
    return [read_frames(path, lambda count, n=n: [n])[0] for n in numbers]


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_the_one_that_decoding_in_order_gives(tmp_path, images, kind):
    suffix = kind if kind.startswith(".") else ".mp4"
    path = clips.write_clip(tmp_path / f"in{suffix}", images, **KINDS[kind])
    whole = list(read_video(path))
    counted = []
    pair = read_frames(path, lambda count: counted.append(count) or [count - 1, 4])
    assert counted == [len(whole)] == [FRAMES]
    np.testing.assert_array_equal(pair, [whole[-1], whole[4]])
    np.testing.assert_array_equal(one_by_one(path, range(FRAMES)), whole)


def test_avi_has_all_frames_if_not_their_order(tmp_path, images):
    path = clips.write_clip(tmp_path / "in.avi", images)
    found = {frame.tobytes() for frame in one_by_one(path, range(FRAMES))}
    assert found == {frame.tobytes() for frame in read_video(path)}


def test_real_clips():
    path = clips.real("close_512_30fps.mp4")
    whole = list(read_video(path))
    numbers = np.random.default_rng(0).permutation(len(whole))[:4]
    found = read_frames(path, lambda count: numbers)
    np.testing.assert_array_equal(found, [whole[number] for number in numbers])


def test_a_frame_asked_for_twice_comes_twice(tmp_path, images):
    path = clips.write_clip(tmp_path / "in.mp4", images)
    first, again = read_frames(path, lambda count: [3, 3])
    np.testing.assert_array_equal(first, again)
    assert read_frames(path, lambda count: []) == []


def test_damage_inside_is_told_where_it_is_met(tmp_path, images):
    path = tmp_path / "in.mp4"
    write_video(path, images)  # its index comes first
    data = path.read_bytes()
    start = data.index(b"mdat") + (len(data) - data.index(b"mdat")) * 2 // 3
    path.write_bytes(data[:start] + b"\xff" * (len(data) - start))
    assert len(read_frames(path, lambda count: [0, 1])) == 2
    with pytest.raises(ValueError, match=r"in\.mp4: damaged"):
        read_frames(path, lambda count: [count - 1])


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    for name, message in (
        ("text.mp4", "not a video"),
        ("empty.mp4", "empty"),
        ("absent.mp4", "no such file"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=rf"{name}: .*{message}"):
            read_frames(tmp_path / name, lambda count: [0])
