# SPDX-License-Identifier: Apache-2.0
"""Folders of videos: what is found, which frames are drawn, and what happens where files are broken."""

import logging
from pathlib import Path

import clips
import hostile_cases
import numpy as np
import odd_files
import pytest
import torch
from numbered import numbered, numbered_clip, who_and_frame

from fv2v.data import open_data
from fv2v.data.layouts import find_items
from fv2v.data.pairs import Draw, Pairs
from fv2v.data.videos import VideoFolder
from fv2v.face.crop import cut, middle_square
from fv2v.io.image import write_image
from fv2v.io.video import read_video, write_video

SIZE = 16


def frame_folder(folder: Path, who: int, frames: int = 8, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True)
    for number, image in enumerate(numbered(who, frames)):
        write_image(folder / f"{number:07d}{suffix}", image)
    return folder


def shown(pairs: Pairs) -> tuple[tuple[int, int], tuple[int, int]]:
    (source,), (driving,) = who_and_frame(pairs.source), who_and_frame(pairs.driving)
    return source, driving


def drawn(data: VideoFolder, index: int, seeds: int = 12) -> set[int]:
    """Which clips an item gives."""
    return {who for seed in range(seeds) for who, _ in shown(data[Draw(index, seed)])}


def same(a: Pairs, b: Pairs) -> bool:
    return torch.equal(a.source, b.source) and torch.equal(a.driving, b.driving)


def test_a_pair_is_two_frames_of_one_clip_and_all_come_up(tmp_path):
    numbered_clip(tmp_path / "a.mp4", 1, 5)
    numbered_clip(tmp_path / "b.mp4", 2, 5)
    data = VideoFolder(tmp_path, SIZE)
    assert len(data) == 2
    found = set()
    for seed in range(80):
        pairs = data[Draw(seed % 2, seed)]
        assert pairs.source.shape == pairs.driving.shape == (1, 3, SIZE, SIZE)
        assert pairs.source.dtype == torch.uint8
        assert pairs.truth is None
        (one, first), (other, second) = shown(pairs)
        assert one == other == 1 + seed % 2
        found.add((first, second))
    assert found == {(i, j) for i in range(5) for j in range(5) if i != j}


def test_a_pair_depends_on_its_draw_alone(tmp_path):
    for who in range(4):
        numbered_clip(tmp_path / f"{who}.mp4", who)
    data = VideoFolder(tmp_path, SIZE)
    draws = [Draw(seed % 4, seed) for seed in range(12)]
    before = [data[draw] for draw in draws]
    torch.manual_seed(3)
    again = VideoFolder(tmp_path, SIZE)
    after = [again[draw] for draw in reversed(draws)]
    assert all(same(a, b) for a, b in zip(before, reversed(after), strict=True))
    assert len({pairs.source.numpy().tobytes() for pairs in before}) > 6


@pytest.mark.parametrize(
    ("names", "items"),
    [
        (["a.mp4", "deep/er/b.MOV", "c.mkv", "d.webm", "e.avi", "f.m4v"], 6),
        (["id10001#7w0IBEWc9Qw#000993#001143.mp4", "id10001#x_-#1#2.mp4", "id10002#y#3#4.mp4"], 2),
        (["id00012/21Uxsk56VDQ/00001.mp4", "id00012/2DLq_Kkc1r8/00016.mp4", "id00015/0fijm/00001.mp4"], 2),
        (["--Y9imYnfBw_0000_S0_E271_L504_T63_R792_B351.mp4", "--Y9imYnfBw_0012_S5_E9_L5_T6_R7_B8.mp4"], 1),
    ],
    ids=["clips", "VoxCeleb flat", "VoxCeleb tree", "TalkingHead-1KH"],
)
def test_layouts_are_told_apart_by_their_names(tmp_path, names, items):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"not opened yet")
    assert len(VideoFolder(tmp_path, SIZE)) == items
    assert len(VideoFolder(tmp_path, SIZE, grouped=False)) == len(names)


def test_frame_folders(tmp_path):
    frame_folder(tmp_path / "one", 1)
    frame_folder(tmp_path / "two", 2, suffix=".jpg")
    frame_folder(tmp_path / "three" / "deeper", 3, suffix=".webp")
    data = VideoFolder(tmp_path, SIZE)
    assert [drawn(data, index) for index in range(3)] == [{1}, {3}, {2}]  # one, three/deeper, two
    assert all(first != second for first, second in (shown(data[Draw(0, seed)]) for seed in range(10)))
    assert len(VideoFolder(tmp_path / "one", SIZE)) == 1


def test_first_order_motion_writes_voxceleb_as_folders_of_frames(tmp_path):
    frame_folder(tmp_path / "train" / "id10001#a#1#2.mp4", 1)
    frame_folder(tmp_path / "train" / "id10001#b#1#2.mp4", 2)
    frame_folder(tmp_path / "test" / "id10002#c#1#2.mp4", 3)
    data = VideoFolder(tmp_path, SIZE)
    assert len(data) == 1
    assert drawn(data, 0) == {1, 2}  # of a person any clip
    assert drawn(VideoFolder(tmp_path, SIZE, split="test"), 0) == {3}
    with pytest.raises(ValueError, match="expected a sub-folder 'val', found test, train"):
        VideoFolder(tmp_path, SIZE, split="val")


def test_what_talking_head_1kh_was_cut_from_is_passed_over(tmp_path):
    numbered_clip(tmp_path / "raw_videos" / "abc.mp4", 1)
    numbered_clip(tmp_path / "cropped_clips" / "abc_0000_S0_E9_L0_T0_R9_B9.mp4", 2)
    numbered_clip(tmp_path / ".cache" / "c.mp4", 3)
    numbered_clip(tmp_path / "._abc.mp4", 3)
    data = VideoFolder(tmp_path, SIZE)
    assert len(data) == 1
    assert drawn(data, 0) == {2}


def test_links_are_followed_once(tmp_path):
    """Also those that lead up again: each would double what there is to walk through."""
    numbered_clip(tmp_path / "elsewhere" / "a.mp4", 1)
    data = tmp_path / "data"
    frame_folder(data / "person", 2)
    for name in ("again", "up"):
        (data / name).symlink_to(data)
    (data / "b").symlink_to(tmp_path / "elsewhere")
    (data / "c").symlink_to(tmp_path / "elsewhere")
    assert find_items(data, grouped=False) == [["b/a.mp4"], ["person"]]


def test_pictures_beside_clips_are_no_video(tmp_path):
    numbered_clip(tmp_path / "a.mp4", 1)
    write_image(tmp_path / "cover.png", numbered(2, 1)[0])
    assert len(VideoFolder(tmp_path, SIZE)) == 1


@pytest.mark.parametrize(("H", "W"), [(40, 64), (64, 40), (12, 12)])
def test_pictures_are_the_middle_square_resized(tmp_path, H, W):
    images = np.random.default_rng(0).integers(0, 255, (2, H, W, 3), np.uint8)
    path = clips.write_clip(tmp_path / "a.mp4", images)
    first, second = (cut(frame, middle_square(frame), SIZE) for frame in read_video(path))
    pairs = VideoFolder(tmp_path, SIZE)[Draw(0, 0)]
    found = [picture[0].permute(1, 2, 0).numpy() for picture in (pairs.source, pairs.driving)]
    if not np.array_equal(found[0], first):
        found.reverse()
    np.testing.assert_array_equal(found, [first, second])


def broken_files(folder: Path) -> dict[str, str]:
    """Files that are of no use, and what is said of them."""
    whole = numbered_clip(folder / "whole.mp4", 1).read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").touch()
    (folder / "text.mov").write_text("no video at all" * 20)
    numbered_clip(folder / "single.mp4", 2, 1)
    frame_folder(folder / "one frame", 2, 1)
    frame_folder(folder / "no picture", 2, 2)
    (folder / "no picture" / "0000001.png").write_bytes(b"nothing")
    return {
        "truncated.mp4": "truncated: the file should have",
        "empty.mp4": "the file is empty",
        "text.mov": "not a video that FFmpeg can read",
        "single.mp4": "expected 2 frames or more, got 1",
        "one frame": "expected 2 frames or more, got 1",
        "no picture": "not a picture",
    }


def test_broken_files_are_named_once_and_passed_over(tmp_path, caplog):
    expected = broken_files(tmp_path)
    data = VideoFolder(tmp_path, SIZE)
    draws = [Draw(seed % len(data), seed) for seed in range(3 * len(data))]
    with caplog.at_level(logging.WARNING):
        first = [data[draw] for draw in draws]
    assert {who for pairs in first for who, _ in shown(pairs)} == {1}
    assert {Path(path).name for path in data.broken} == expected.keys()
    for path, reason in data.broken.items():
        assert expected[Path(path).name] in reason
        assert sum(path in record.getMessage() for record in caplog.records) == 1
    # neither what was met before nor in which order changes a pair
    fresh = VideoFolder(tmp_path, SIZE)
    fresh.check()
    assert all(same(fresh[draw], pairs) for draw, pairs in zip(reversed(draws), reversed(first), strict=True))


@pytest.mark.parametrize("kind", ["films", "folders of pictures"])
def test_hostile_files_are_passed_over(kind, tmp_path):
    """Clips that ask for gigabytes or name other files, and such pictures in folders of frames."""
    numbered_clip(tmp_path / "whole.mp4", 1)
    if kind == "films":
        for name, content in hostile_cases.FILMS.items():
            (tmp_path / f"{Path(name).stem.replace(':', '')}.mkv").write_bytes(content())
    else:
        for name, content in hostile_cases.PICTURES.items():
            frame_folder(tmp_path / name, 2, 2)
            for picture in (tmp_path / name).iterdir():
                picture.write_bytes(content())
    data = VideoFolder(tmp_path, SIZE)
    pairs = [data[Draw(index, 0)] for index in range(len(data))]
    assert {who for pair in pairs for who, _ in shown(pair)} == {1}
    assert len(data.broken) == len(data) - 1


def test_check_names_what_headers_tell(tmp_path, caplog):
    expected = broken_files(tmp_path)
    del expected["no picture"]  # that shows when it is read
    data = VideoFolder(tmp_path, SIZE)
    data.check()
    assert {Path(path).name for path in data.broken} == expected.keys()
    assert len(caplog.records) == len(expected)


def test_damage_inside_counts_for_the_pairs_that_meet_it(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 32, 32, 3), np.uint8)
    path = tmp_path / "damaged.mp4"
    write_video(path, noise)  # its index comes first
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff" * (len(data) - len(data) // 2))
    numbered_clip(tmp_path / "whole.mp4", 3)
    folder = VideoFolder(tmp_path, SIZE)
    whole = [set(shown(folder[Draw(0, seed)])) <= {(3, n) for n in range(8)} for seed in range(30)]
    assert True in whole  # the other one instead
    assert False in whole  # both frames lie before the damage
    assert "damaged" in folder.broken[str(path)]


def test_a_clip_whose_damage_would_be_concealed_is_passed_over(tmp_path, caplog):
    images = clips.moving_picture(clips.portrait(), 12, size=128)
    whole = clips.write_clip(tmp_path / "a.mp4", images, options={"g": "12"})
    odd_files.damaged_at(whole, tmp_path / "b.mp4", 0)
    data = VideoFolder(tmp_path, 32, grouped=False)
    right = {data.read(whole, lambda count, n=n: [n]).numpy().tobytes() for n in range(12)}
    for draw in (Draw(index, seed) for seed in range(4) for index in range(2)):
        pair = data[draw]
        assert {
            pair.source.numpy().tobytes(),
            pair.driving.numpy().tobytes(),
        } <= right  # whichever is asked for
    assert [Path(path).name for path in data.broken] == ["b.mp4"]
    assert "damaged" in data.broken[str(tmp_path / "b.mp4")]
    assert caplog.text.count("skipped") == 1


def test_a_folder_without_a_whole_video_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(ValueError, match=r"no videos; expected, at any depth, clips \(\.mp4 .* \(\.png"):
        VideoFolder(tmp_path, SIZE)
    (tmp_path / "a.mp4").touch()
    data = VideoFolder(tmp_path, SIZE)
    with pytest.raises(
        ValueError, match=r"64 videos in a row are broken, the last one .*a\.mp4: the file is empty"
    ):
        data[Draw(0, 0)]
    with pytest.raises(ValueError, match=r"all videos are broken, 1 of them"):
        data.check()


def test_bad_arguments_are_refused(tmp_path):
    numbered_clip(tmp_path / "a.mp4", 1)
    with pytest.raises(FileNotFoundError, match="absent: no such folder"):
        VideoFolder(tmp_path / "absent", SIZE)
    with pytest.raises(ValueError, match="expected a folder of videos, got a file"):
        VideoFolder(tmp_path / "a.mp4", SIZE)
    for options in ({"size": 0}, {"size": 16, "minimum_frames": 1}):
        with pytest.raises(ValueError, match="size of 1 pixel or more and minimum_frames of 2 or more"):
            VideoFolder(tmp_path, **options)
    with pytest.raises(IndexError):
        VideoFolder(tmp_path, SIZE)[Draw(1, 0)]


def test_clips_shorter_than_wanted_are_passed_over(tmp_path):
    numbered_clip(tmp_path / "short.mp4", 1, 5)
    numbered_clip(tmp_path / "long.mp4", 2, 6)
    data = VideoFolder(tmp_path, SIZE, minimum_frames=6)
    assert drawn(data, 0) == drawn(data, 1) == {2}


def test_open_data_reads_a_folder_of_videos(tmp_path):
    numbered_clip(tmp_path / "train" / "a.mp4", 1)
    data = open_data(tmp_path, SIZE)
    assert isinstance(data, VideoFolder)
    assert drawn(data, 0) == {1}


def test_real_clips():
    data = VideoFolder(clips.real("talk_480_30fps.mp4").parent, 64)
    assert len(data) >= 3
    pairs = data[Draw(2, 0)]
    change = (pairs.source.float() - pairs.driving.float()).abs().mean()
    assert 0 < change < 40  # one scene
    assert not data.broken
