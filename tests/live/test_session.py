# SPDX-License-Identifier: Apache-2.0
"""A session: camera frames and a portrait in, pictures and figures out; all of it may change on the way."""

from dataclasses import replace

import clips
import numpy as np
import pytest
from films import SEATS, film, seat, sway
from streaming import shown
from tiny import TINY_LIVEPORTRAIT, TINY_VOX, assert_frames_close, lively

from fv2v import Edit, Openness, Reenactor, Stream, View, crop_face
from fv2v.codec import MotionEncoder
from fv2v.live import Session
from fv2v.live.session import cut_portrait

LEFT = SEATS["left"]


@pytest.fixture(scope="module")
def tiny() -> Reenactor:
    return lively(Reenactor(TINY_VOX, weights="random"))


@pytest.fixture(scope="module")
def camera() -> list[np.ndarray]:
    return film(8, lambda frame, i: seat(frame, "painting", (LEFT[0] + sway(i, 12), LEFT[1])))


def streamed(tiny, portrait, frames, **options):
    with Stream(tiny, tiny.encode(portrait), crop=True, **options) as stream:
        return [shown(stream, frame).image for frame in frames]


def test_is_a_stream_of_the_face_in_a_portrait(tiny, camera, tmp_path):
    portrait = clips.portrait()
    with Session(tiny, clips.PORTRAIT) as session:
        made = [shown(session, frame) for frame in camera]
    assert np.array_equal(session.portrait, crop_face(portrait))
    assert_frames_close([each.image for each in made], streamed(tiny, crop_face(portrait), camera))
    with Session(tiny, portrait, mirror=True) as session:
        mirrored = [shown(session, frame).image for frame in camera]
    flipped = [np.ascontiguousarray(frame[:, ::-1]) for frame in camera]
    assert_frames_close(mirrored, streamed(tiny, crop_face(portrait), flipped))


def test_a_portrait_that_is_cut_brings_its_landmarks(tiny):
    cut = cut_portrait(tiny, clips.PORTRAIT)
    marks = np.random.default_rng(0).uniform(0, len(cut.image), (203, 2))
    with Session(tiny, cut._replace(landmarks=marks)) as session:
        assert np.array_equal(session.portrait, crop_face(clips.portrait()))
        assert session.openness == Openness.of(marks)
        session.portrait = cut  # without landmarks, eyes and lips cannot be told
        assert session.openness is None


def test_counts_what_it_does(tiny, camera):
    empty = np.zeros_like(camera[0])
    with Session(tiny, clips.PORTRAIT, lost="source") as session:
        assert session.report().fps == session.report().kbps == 0
        pictures = [shown(session, frame) for frame in camera]
        report = session.report()
        assert (report.pushed, report.shown, report.dropped) == (8, 8, 0)
        assert report.seen
        encoder = MotionEncoder(tiny.config)
        sent = [len(encoder.encode(picture.motion)) for picture in pictures]
        assert report.kbps == pytest.approx(report.fps * 8 * np.mean(sent[1:]) / 1000, rel=1e-6)
        assert report.fps > 0
        gone = shown(session, empty)
        assert gone.motion is None
        assert not session.report().seen
        session.push(None)  # no picture: left out
        assert shown(session, camera[0]).seen
        assert session.report().failed == 1
        assert str(session).startswith("11 frames pushed, 10 shown, 0 dropped, 1 without a face seen")


def test_motion_that_was_received_moves_the_portrait(tiny, camera):
    with Session(tiny, clips.PORTRAIT) as sender:
        sent = [shown(sender, frame) for frame in camera]
    with Session(tiny, clips.PORTRAIT, steady=None) as receiver:
        received = [shown(receiver, each.motion) for each in sent]
    assert_frames_close([each.image for each in received], [each.image for each in sent])


def test_another_portrait_goes_on_where_the_first_was(tiny, camera):
    """Anchor and filter stay: from the change on it is what the new portrait alone would have shown."""
    other = crop_face(clips.portrait())[::-1].copy()
    with Session(tiny, clips.PORTRAIT, crop=True, relative=True) as session:
        first = [shown(session, frame).image for frame in camera[:4]]
        session.change(tiny.encode(other))
        second = [shown(session, frame).image for frame in camera[4:]]
    before, after = (
        streamed(tiny, portrait, camera, relative=True) for portrait in (crop_face(clips.portrait()), other)
    )
    assert_frames_close(first, before[:4])
    assert_frames_close(second, after[4:])
    with Session(tiny, clips.PORTRAIT, crop=False) as session:
        session.portrait = other
        assert np.array_equal(session.portrait, other)
        with pytest.raises(FileNotFoundError):
            session.portrait = "absent.png"
        with pytest.raises(ValueError, match=r"picture: expected \(H, W, 3\) uint8, got \(4, 4\)"):
            session.portrait = np.zeros((4, 4), np.uint8)
        assert np.array_equal(session.portrait, other)


def test_look_straight_and_press(tiny, camera):
    """The next frame with a face becomes the anchor: from it on as if the stream began there."""
    empty = np.zeros_like(camera[0])
    with Session(tiny, clips.PORTRAIT, relative=True, steady=None) as session:
        for frame in camera[:3]:
            shown(session, frame)
        session.anchor()
        shown(session, empty)
        made = [shown(session, frame) for frame in camera[3:]]
        anchored = tiny.encode(session.portrait)
        for each in made:
            alone = next(tiny.animate(anchored, each.motion, relative=True, anchor=made[0].motion))
            assert_frames_close([each.image], [alone])
        session.portrait = clips.portrait()  # the new anchor stays
        again = shown(session, camera[-1])
        alone = next(tiny.animate(anchored, again.motion, relative=True, anchor=made[0].motion))
        assert_frames_close([again.image], [alone])
        session.change(relative=False)
        with pytest.raises(ValueError, match="an anchor needs relative=True"):
            session.anchor()


def test_options_change_from_the_next_frame_on(tiny, camera):
    view, edit = View(yaw=20), Edit(strength=0.3)
    source = tiny.encode(crop_face(clips.portrait()))
    with Session(tiny, clips.PORTRAIT, relative=True, steady=None) as session:
        shown(session, camera[0])
        session.change(relative=False, view=view, edit=edit)
        assert (session.view, session.edit, session.options.relative) == (view, edit, False)
        picture = shown(session, camera[1])
        alone = next(tiny.animate(source, picture.motion, relative=False, view=view, edit=edit))
        assert_frames_close([picture.image], [alone])
        with pytest.raises(ValueError, match="expected 1 sources, as before, got 2"):
            session.change([source, source])
        with pytest.raises(ValueError, match="a stream takes no batch_size"):
            session.change(batch_size=2)
        with pytest.raises(ValueError, match="has no networks that open eyes and lips"):
            session.change(relative=True, edit=replace(edit, eyes=0.3, portrait=Openness(0.3, 0.3, 0.0)))
        assert session.options.relative is False  # nothing was changed


def test_how_open_a_portrait_is_where_it_is_known(camera):
    model = lively(Reenactor(TINY_LIVEPORTRAIT, weights="random"))
    marks = np.random.default_rng(0).uniform(100, 300, (1, 203, 2))
    with Session(model, clips.PORTRAIT, face=marks) as session:
        opened = session.openness
        assert opened is not None
        before = shown(session, camera[0]).image
        session.edit = Edit(lips=0.9, portrait=opened)
        assert not np.array_equal(before, shown(session, camera[0]).image)
    with Session(model, clips.PORTRAIT) as session:
        assert session.openness is None
