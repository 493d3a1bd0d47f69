# SPDX-License-Identifier: Apache-2.0
"""Frames in which the driver's face is not seen, and the frame that its motion is measured against."""

from pathlib import Path

import clips
import numpy as np
import pytest
import torch
from films import SEATS, film, seat, sway
from tiny import TINY_VOX, lively

from fv2v import extract, read_motion, reenact, render
from fv2v.face.portrait import crop_portrait
from fv2v.geometry import Motion
from fv2v.io.image import write_image
from fv2v.io.video import read_video
from fv2v.pipelines.anchor import anchor_of_motion, anchor_of_video, motions_with_rest, nearest, read_anchor
from fv2v.pipelines.driving import DrivingVideo
from fv2v.reenactor import AnimationOptions, Reenactor

LEFT = SEATS["left"]
LEAD, GAP = range(3), range(9, 13)  # frames without a face
FRAMES = 16


@pytest.fixture(scope="module")
def tiny() -> Reenactor:
    return lively(Reenactor(TINY_VOX, weights="random"))


def swaying() -> list[np.ndarray]:
    return film(
        FRAMES, lambda frame, i: seat(frame, "painting", (LEFT[0] + sway(i, 12), LEFT[1] - sway(i, 8)))
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "whole.mp4"
    return clips.write_clip(path, np.stack(swaying()), options={"crf": "6"})


@pytest.fixture(scope="module")
def gappy(tmp_path_factory) -> Path:
    """The same film with black frames."""
    frames = swaying()
    for i in (*LEAD, *GAP):
        frames[i] = np.zeros_like(frames[i])
    path = tmp_path_factory.mktemp("gappy") / "gappy.mp4"
    return clips.write_clip(path, np.stack(frames), options={"crf": "6"})


def crops(path: Path, lost: str = "hold") -> np.ndarray:
    return np.stack(list(DrivingVideo(path, True, 1).crops(TINY_VOX, lost))).astype(int)


def test_frames_without_a_face_hold_the_last_crop_with_one(gappy):
    video = DrivingVideo(gappy, True, 1)
    made = np.stack(list(video.crops(TINY_VOX))).astype(int)
    assert video.lost == [*LEAD, *GAP]
    assert video.first is not None
    assert video.first.number == 3
    for i in GAP:
        assert (made[i] == made[8]).all()
    for i in LEAD:
        assert (made[i] == made[3]).all()
    driven = crops(gappy, "drive")
    assert (driven[[*LEAD, *GAP]] < 16).all(), "black, as they are"
    seen = [i for i in range(FRAMES) if i not in (*LEAD, *GAP)]
    assert (driven[seen] == made[seen]).all()


def test_gaps_are_none_where_nothing_is_to_drive(gappy):
    video = DrivingVideo(gappy, True, 1)
    missing = [i for i, crop in enumerate(video.crops_with_gaps(TINY_VOX)) if crop is None]
    assert missing == video.lost == [*LEAD, *GAP]
    assert video.lost_spans == ((0.0, pytest.approx(0.08)), (pytest.approx(0.36), pytest.approx(0.48)))


def frames_of(path: Path) -> np.ndarray:
    return np.stack(list(read_video(path))).astype(int)


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean())


@pytest.mark.parametrize("relative", [True, False])
def test_the_portrait_holds_drives_or_rests(tiny, gappy, tmp_path, relative):
    made = {}
    for lost in ("hold", "drive", "source"):
        output = tmp_path / f"{lost}.mp4"
        report = reenact(
            clips.PORTRAIT, gappy, output, reenactor=tiny, relative=relative, lost=lost, batch_size=3
        )
        assert (report.frames, report.missing, report.lost) == (FRAMES, 7, lost)
        assert report.spans == ((0.0, pytest.approx(0.08)), (pytest.approx(0.36), pytest.approx(0.48)))
        made[lost] = frames_of(output)
    for how in ("hold", "source"):
        assert max(apart(made[how][i], made[how][GAP[-1]]) for i in GAP) < 1, how
    moved = [np.mean([apart(images[i], images[8]) for i in GAP]) for images in made.values()]
    assert moved[1] > 2 * moved[0], "of frames that drive"


def test_at_rest_is_no_change_or_the_portraits_own_motion(tiny, gappy):
    portrait = crop_portrait(clips.PORTRAIT).image
    own, anchor = tiny.encode(portrait).motion, tiny.extract(portrait[::-1].copy())
    for options, rest in ((AnimationOptions(anchor=anchor), anchor), (AnimationOptions(), own)):
        video = DrivingVideo(gappy, True, 1)
        motions = list(motions_with_rest(tiny, video.crops_with_gaps(TINY_VOX), options, portrait))
        held = [tiny.extract(crop.astype(np.uint8)) for crop in crops(gappy)]
        for i, motion in enumerate(motions):
            assert close(motion, rest if i in video.lost else held[i])
    assert not close(anchor, own)


def test_the_report_lists_frames_without_a_face_by_time(tiny, gappy, tmp_path):
    report = reenact(clips.PORTRAIT, gappy, tmp_path / "out.mp4", reenactor=tiny)
    assert str(report).endswith(
        "; no face in 7 of them (at 0.00-0.08, 0.36-0.48 s): the last motion was held"
    )
    noted = extract(gappy, tmp_path / "motion.npz", reenactor=tiny, lost="drive")
    assert str(noted).endswith("(at 0.00-0.08, 0.36-0.48 s): they drove as they are")


def test_extracted_motion_holds_as_well(tiny, gappy, tmp_path):
    extract(gappy, tmp_path / "motion.npz", reenactor=tiny)
    motion = read_motion(tmp_path / "motion.npz").motion
    for i in GAP:
        assert torch.equal(motion.expression[i], motion.expression[8])
    with pytest.raises(ValueError, match="expected lost=hold or drive, got 'source'"):
        extract(gappy, tmp_path / "motion.npz", reenactor=tiny, lost="source")
    with pytest.raises(ValueError, match="expected lost=hold or drive or source, got 'stop'"):
        reenact("absent.png", "absent.mp4", "absent/out.mp4", lost="stop")


def test_a_cut_to_another_face_is_noted(tiny, tmp_path):
    def draw(frame, i):
        if i < 6:
            seat(frame, "painting", LEFT)
        else:
            seat(frame, "8", SEATS["right"])

    driving = clips.write_clip(tmp_path / "two.mp4", np.stack(film(14, draw)))
    report = reenact(clips.PORTRAIT, driving, tmp_path / "out.mp4", reenactor=tiny)
    assert [note for note in report.notes if "two.mp4: another face drives from 0.24 s on, since" in note]


def close(a: Motion, b: Motion, bound: float = 1e-5) -> bool:
    return torch.allclose(a.expression, b.expression, atol=bound) and torch.allclose(
        a.rotation, b.rotation, atol=bound
    )


def test_the_anchor_is_the_first_good_frame_or_the_one_that_is_named(tiny, whole, gappy, tmp_path):
    portrait = crop_portrait(clips.PORTRAIT).image
    seen = tiny.extract(list(crops(gappy).astype(np.uint8)))

    def found(anchor):
        return anchor_of_video(read_anchor(anchor, True), tiny, DrivingVideo(gappy, True, 1), portrait)

    assert close(found(None), seen[3:4])
    for anchor, number in ((3, 3), (6, 6), (0.24, 6), (0.21, 6), (15, 15), (0.6, 15)):
        assert close(found(anchor), seen[number : number + 1]), anchor
    assert not close(found(6), seen[5:6])
    picture = tmp_path / "driver.png"
    write_image(picture, swaying()[5])
    assert close(found(picture), tiny.extract(crop_portrait(picture, drives=True).image))
    extract(gappy, tmp_path / "motion.npz", reenactor=tiny)
    assert close(found(tmp_path / "motion.npz"), seen[:1], 1e-3)
    assert close(found(seen[7:8]), seen[7:8])


@pytest.mark.parametrize(
    ("anchor", "told"),
    [
        (10, r"expected a frame with the face, got frame 10 \(counted from 0\)"),
        (16, r"expected a frame of it, got frame 16"),
        (0.7, r"expected a frame of it, got 0.7 s"),
        (-1, "expected a frame's number or seconds from 0, got -1"),
        (float("nan"), "seconds from 0, got nan"),
    ],
)
def test_an_anchor_that_is_no_frame_with_a_face_is_told(tiny, gappy, tmp_path, anchor, told):
    with pytest.raises(ValueError, match=told):
        reenact(clips.PORTRAIT, gappy, tmp_path / "out.mp4", reenactor=tiny, anchor=anchor, relative=True)
    assert not (tmp_path / "out.mp4").exists()


def test_anchors_need_a_file_and_relative_motion(tiny, gappy, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        reenact(clips.PORTRAIT, gappy, tmp_path / "o.mp4", reenactor=tiny, anchor="absent.png", relative=True)
    with pytest.raises(ValueError, match="an anchor needs relative=True"):
        reenact(clips.PORTRAIT, gappy, tmp_path / "o.mp4", reenactor=tiny, anchor=3, relative=False)
    source = tiny.encode(crop_portrait(clips.PORTRAIT).image)
    with pytest.raises(ValueError, match=r"expected a Motion for the anchor, .* got 'best'"):
        tiny.animate(source, [crop_portrait(clips.PORTRAIT).image], anchor="best", relative=True)


def test_best_is_the_frame_nearest_to_the_portrait(tiny, whole, tmp_path):
    """The portrait is one of the driver's frames; where it is in the crop does not count."""
    made = crops(whole).astype(np.uint8)
    motion = tiny.extract(list(made))
    source, geometry = tiny.encode(made[11]), tiny.config.geometry
    moved = Motion(motion.rotation, motion.translation + 0.3, motion.expression, motion.scale)
    assert nearest(motion, source, geometry) == nearest(moved, source, geometry) == 11
    video = DrivingVideo(whole, True, 1)
    assert close(anchor_of_video("best", tiny, video, made[11]), motion[11:12])
    extract(whole, tmp_path / "motion.npz", reenactor=tiny)
    sequence = read_motion(tmp_path / "motion.npz")
    for anchor, number in ((None, 0), ("best", 11), (4, 4), (0.16, 4)):
        found = anchor_of_motion(anchor, tiny, sequence, made[11])
        assert close(found, sequence.motion[number : number + 1])
    with pytest.raises(ValueError, match=r"expected one of 16 frames, got frame 16"):
        anchor_of_motion(16, tiny, sequence, made[11])


def test_render_takes_anchors(tiny, whole, tmp_path):
    """As the motion itself. In VP9: x264 does not always write the same frames as the same file."""
    how = {"reenactor": tiny, "relative": True, "codec": "vp9"}
    extract(whole, tmp_path / "motion.npz", reenactor=tiny)
    sequence = read_motion(tmp_path / "motion.npz")
    made = {}
    for name, anchor in (("number", 11), ("motion", sequence.motion[11:12]), ("first", None)):
        output = tmp_path / f"{name}.mp4"
        render(clips.PORTRAIT, tmp_path / "motion.npz", output, anchor=anchor, **how)
        made[name] = frames_of(output)
    assert (made["number"] == made["motion"]).all()
    assert (made["number"] != made["first"]).any()
