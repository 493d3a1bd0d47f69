# SPDX-License-Identifier: Apache-2.0
"""`fv2v preprocess`: raw videos become clips of faces for training, each whole, each once."""

import json
from pathlib import Path

import av
import clips
import numpy as np
import pytest
from films import SEATS, film, hand, seat, sway
from processes import make_once
from refusals import assert_refused

from fv2v.data.layouts import find_items
from fv2v.data.videos import VideoFolder
from fv2v.face.crop import Box, cut
from fv2v.io.video import read_video
from fv2v.pipelines.preprocess import KEYFRAMES, LIST

LEFT, RIGHT = SEATS["left"], SEATS["right"]


def write_videos(folder: Path) -> None:
    """talk.mp4: two people, one is hidden in the end, and after a cut a small one; wall.mp4: nobody."""

    def draw(frame, i):
        if i >= 44:
            frame //= 2
            seat(frame, "painting", RIGHT, 120)
            return
        seat(frame, "painting", (LEFT[0] + sway(i), LEFT[1]))
        seat(frame, "8", RIGHT)
        if i >= 30:
            hand(frame, RIGHT)

    clips.write_clip(folder / "talk.mp4", np.stack(film(60, draw)), pts=clips.uneven_pts(60), audio="aac")
    (folder / "more").mkdir()
    clips.write_clip(folder / "more" / "wall.mp4", np.stack(film(15, lambda frame, i: None)))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return make_once(tmp_path_factory, "raw", write_videos)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / LIST).read_text().splitlines()]


def test_a_clip_a_person_and_shot(fv2v, videos, tmp_path):
    """As training reads it; run again, nothing is; a clip that went is made again."""
    command = ["preprocess", videos, "-o", tmp_path / "out", "--size", 128, "--least-frames", 20]
    code, out, _ = fv2v(*command)
    assert code == 0
    assert f"{tmp_path / 'out'}: 2 made, 0 kept, 0 failed of 2; " in out
    left, right, *others = lines(tmp_path / "out" / "talk")
    assert (left["first"], left["last"], left["ended"], left["start"]) == (0, 43, "cut", 0)
    assert right["first"] == 0
    assert (right["ended"], 29 <= right["last"] <= 34) == ("hidden", True)
    assert any(
        "the square has" in (each["rejected"] or "") or "frames" in each["rejected"] for each in others
    )
    assert not [each for each in others if each["clip"]]
    assert lines(tmp_path / "out" / "more+wall") == []

    film = list(read_video(videos / "talk.mp4"))
    for each in (left, right):
        path = tmp_path / "out" / "talk" / each["clip"]
        reader = read_video(path)
        pictures = list(reader)
        assert len(pictures) == each["frames"]
        box = Box(*each["square"])
        for i in (0, len(pictures) - 1):
            expected = cut(film[each["first"] + i], box, 128)
            assert np.abs(expected.astype(int) - pictures[i]).mean() < 4
        shown = np.diff(read_video_times(videos / "talk.mp4")[each["first"] : each["last"] + 1])
        np.testing.assert_allclose(np.diff(reader.times), shown, atol=1e-4)
        marks = np.load(path.with_suffix(".npz"))
        assert marks["boxes"].shape == (len(pictures), 4)
        assert marks["points"].shape == (len(pictures), 5, 2)
        middle = np.nanmean(marks["boxes"].reshape(-1, 2, 2), axis=(0, 1))
        assert np.abs(middle - 64).max() < 16
        assert max(np.diff(keyframes(path))) <= KEYFRAMES
    assert find_items(tmp_path / "out", grouped=True) == [[f"talk/{each['clip']}" for each in (left, right)]]
    data = VideoFolder(tmp_path / "out", 64)
    data.check()
    assert not data.broken

    code, out, _ = fv2v(*command)
    assert "0 made, 2 kept" in out
    before = (tmp_path / "out" / "talk" / left["clip"]).read_bytes()
    (tmp_path / "out" / "talk" / left["clip"]).unlink()
    code, out, _ = fv2v(*command)
    assert "1 made, 1 kept" in out
    assert (tmp_path / "out" / "talk" / left["clip"]).read_bytes() == before


def read_video_times(path: Path) -> list[float]:
    reader = read_video(path)
    for _ in reader:
        pass
    return reader.times


def keyframes(path: Path) -> list[int]:
    """Their numbers, and the number of frames."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [i for i, frame in enumerate(frames) if frame.key_frame] + [len(frames)]


def test_what_cannot_be_read_costs_no_other(fv2v, videos, tmp_path):
    cut_short = tmp_path / "cut.mp4"
    cut_short.write_bytes((videos / "talk.mp4").read_bytes()[:3000])
    wall = videos / "more" / "wall.mp4"
    code, out, err = fv2v("preprocess", cut_short, wall, "-o", tmp_path / "out")
    assert (code, err.count("\n")) == (1, 1)
    assert "cut.mp4" in err
    assert "1 made, 0 kept, 1 failed of 2" in out
    assert not (tmp_path / "out" / "cut").exists()


def test_refusals(fv2v, videos, tmp_path):
    out = tmp_path / "out"
    assert_refused(fv2v("preprocess", tmp_path / "gone", "-o", out), "gone: no such file or folder")
    (tmp_path / "empty").mkdir()
    assert_refused(fv2v("preprocess", tmp_path / "empty", "-o", out), "expected videos")
    assert not out.exists()
    wall = videos / "more" / "wall.mp4"
    (out / "wall").mkdir(parents=True)
    (out / "wall" / "mine.txt").write_text("mine")
    assert_refused(fv2v("preprocess", wall, "-o", out), "wall is there, and no batch made it")
    assert (out / "wall" / "mine.txt").exists()
    code, _, err = fv2v("preprocess", wall, "-o", tmp_path / "other", "--size", 65)
    assert code == 1
    assert "even size" in err
