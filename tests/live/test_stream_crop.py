# SPDX-License-Identifier: Apache-2.0
"""Streams of whole camera frames: the face is found, followed and waited for; at rest before it comes."""

import clips
import numpy as np
import pytest
from films import SEATS, film, seat, sway
from streaming import shown
from tiny import TINY_VOX, assert_frames_close, encoded, lively

from fv2v import Reenactor, Stream
from fv2v.face.find import find_first_face
from fv2v.face.steady_crop import SteadyCrop

LEFT, RIGHT = SEATS["left"], SEATS["right"]


@pytest.fixture(scope="module")
def tiny() -> Reenactor:
    return lively(Reenactor(TINY_VOX, weights="random"))


def camera(frames: int = 8) -> list[np.ndarray]:
    return film(frames, lambda frame, i: seat(frame, "painting", (LEFT[0] + sway(i, 12), LEFT[1])))


def streamed(tiny, frames, **options):
    with Stream(tiny, encoded(tiny), crop=True, steady=None, **options) as stream:
        pictures = [shown(stream, frame) for frame in frames]
    return [picture.image for picture in pictures], [picture.seen for picture in pictures], stream


@pytest.mark.parametrize("relative", [True, False])
def test_frames_are_cropped_as_files_are(tiny, relative):
    frames = camera()
    made, seen, _ = streamed(tiny, frames, relative=relative)
    crops = list(SteadyCrop(frames, find_first_face(frames), TINY_VOX.image_size))
    assert_frames_close(made, list(tiny.animate(encoded(tiny), crops, relative=relative)))
    assert all(seen)


@pytest.mark.parametrize("relative", [True, False])
def test_nobody_there_is_a_portrait_at_rest_and_a_gap_holds(tiny, relative):
    frames = camera(10)
    empty = np.zeros_like(frames[0])
    led = [empty, empty, *frames[:5], empty, empty, *frames[5:8]]
    made, seen, stream = streamed(tiny, led, relative=relative)
    assert seen == [False] * 2 + [True] * 5 + [False] * 2 + [True] * 3
    crops = list(SteadyCrop(led[2:], find_first_face(frames), TINY_VOX.image_size))
    expected = list(tiny.animate(encoded(tiny), crops, relative=relative))
    source = encoded(tiny)
    rest = next(tiny.animate(source, source.motion, relative=False))
    assert_frames_close(made[:2], [rest, rest])
    assert_frames_close(made[2:7], expected[:5])
    assert_frames_close(made[7:9], [expected[4]] * 2)
    assert_frames_close(made[9:], expected[7:])
    assert stream.report().lost == 4
    assert ", 4 without a face seen; latency" in str(stream)


@pytest.mark.parametrize("lost", ["drive", "source"])
def test_a_gap_may_drive_or_rest(tiny, lost):
    frames = camera()
    frames[4] = np.zeros_like(frames[4])
    made, seen, _ = streamed(tiny, frames, relative=True, lost=lost)
    held, _, _ = streamed(tiny, frames, relative=True)
    assert not seen[4]
    assert not np.array_equal(made[4], held[4])
    if lost == "source":
        source = encoded(tiny)
        assert_frames_close(made[4:5], [next(tiny.animate(source, source.motion, relative=False))])
    assert_frames_close(made[5:], held[5:])


def test_each_driver_is_followed_by_itself(tiny):
    """Two cameras; the second one's face comes later, and until then nobody moves."""
    mine, yours = camera(), camera()
    yours[0] = np.zeros_like(yours[0])
    sources = [encoded(tiny), tiny.encode(clips.crop_face(clips.portrait(), 64))]
    with Stream(tiny, sources, crop=True, steady=None, relative=False) as stream:
        pictures = [shown(stream, list(pair)) for pair in zip(mine, yours, strict=True)]
    assert [picture.seen for picture in pictures] == [False] + [True] * 7
    for i, source in enumerate(sources):
        rest = next(tiny.animate(source, source.motion, relative=False))
        assert_frames_close([pictures[0].images[i]], [rest])
        assert not np.array_equal(pictures[1].images[i], rest)


def test_which_face_and_what_is_no_frame(tiny):
    def draw(frame, i):
        seat(frame, "painting", LEFT, 280)
        seat(frame, "8", RIGHT, 200)

    frames = film(2, draw)
    first, second = (streamed(tiny, frames, face=number)[0] for number in (1, 2))
    assert not np.array_equal(first[0], second[0])
    with pytest.raises(ValueError, match=r"crop=True: expected frames as \(H, W, 3\) uint8 arrays"):
        streamed(tiny, [np.zeros((4, 4), np.uint8)])
    with pytest.raises(ValueError, match="expected no face to be chosen"):
        Stream(tiny, encoded(tiny), face=2)
    with pytest.raises(ValueError, match="expected lost="):
        Stream(tiny, encoded(tiny), crop=True, lost="stop")
