# SPDX-License-Identifier: Apache-2.0
"""`fv2v bandwidth`: bytes against likeness, on a tiny model and short clips."""

import json
from itertools import pairwise

import clips
import numpy as np
import pytest
import torch
from motion_samples import moving
from tiny import TINY, TINY_LIVEPORTRAIT
from typer.testing import CliRunner

from fv2v import Reenactor, read_image
from fv2v.cli import app
from fv2v.metrics.bandwidth import (
    DATA_CHANNEL,
    OURS,
    Point,
    Study,
    drawn_clips,
    measure_bandwidth,
    ratio_at,
    read_clips,
    read_judge,
)
from fv2v.metrics.bandwidth_report import bandwidth_tables, strip, write_study
from fv2v.metrics.report import MetricNetworksUsed, describe
from fv2v.metrics.video_codecs import CODECS, available, code_video


@pytest.fixture(scope="module")
def reenactor() -> Reenactor:
    return moving(TINY)


@pytest.fixture(scope="module")
def study(reenactor) -> Study:
    films = drawn_clips(32, 1, 5, 25.0)
    codecs = {"H.264": CODECS["H.264"]}
    return measure_bandwidth(reenactor, films, qualities=(25, 75), codecs=codecs)


def test_finer_is_larger_and_more_alike(study):
    ours = {point.level: point for point in study.points if point.codec == OURS}
    theirs = [point for point in study.points if point.codec == "H.264"]
    assert (study.clips, study.frames) == (1, 5)
    assert ours[25].frame_bytes < ours[75].frame_bytes
    assert ours[25].exact_psnr < ours[75].exact_psnr
    assert ours[75].data_channel_bytes == ours[75].frame_bytes + DATA_CHANNEL
    for fine, coarse in pairwise(theirs):
        assert fine.total_bytes > coarse.total_bytes
    assert theirs[0].psnr > theirs[-1].psnr + 5
    for point in study.points:
        assert len(point.sizes) == 5
        assert point.total_bytes == pytest.approx((point.first_bytes + 4 * point.frame_bytes) / 5)


def test_a_study_in_a_folder(study, reenactor, tmp_path):
    setting = describe(
        reenactor,
        weights="random",
        data="held-out drawn heads",
        seed=0,
        scenes=1,
        frames=5,
        networks=MetricNetworksUsed(),
        batch_size=1,
    )
    folder = tmp_path / "study"
    write_study(folder, study, setting)
    stored = json.loads((folder / "bandwidth.json").read_text())
    assert len(stored["points"]) == len(study.points) == 2 + len(CODECS["H.264"].levels)
    assert stored["setting"]["model"] == "tiny"
    for name in ("curves.png", "bytes.png"):
        assert read_image(folder / name).std() > 1
    assert np.array_equal(read_image(folder / "strip.png"), strip(study))
    points, ratios = bandwidth_tables(study)
    assert points.row_count == len(study.points)
    assert ratios.row_count == 1


def point(codec, level, size, like):
    return Point(codec, level, size, size, size, size, size, like, None, None)


def test_ratio_at_equal_likeness():
    points = [point(OURS, 75, 10, 30), *(point("other", i, 2.0**i, 20 + 5 * i) for i in range(6))]
    study = Study(points, 1, 2, 32, 25, {}, np.zeros((4, 4, 3), np.uint8))
    assert ratio_at(study, "other") == (pytest.approx(0.4), True)
    points[0] = point(OURS, 75, 10, 10)
    assert ratio_at(study, "other") == (pytest.approx(0.1), False)


@pytest.mark.parametrize("name", available())
def test_every_codec_gives_every_frame(name):
    frames = next(iter(drawn_clips(64, 1, 4, 25.0)))
    codec = CODECS[name]
    coded = code_video(codec, codec.levels[0], frames, 25)
    assert len(coded.sizes) == len(coded.frames) == 4
    assert coded.sizes[0] > max(coded.sizes[1:])
    for shown, true in zip(coded.frames, frames, strict=True):
        assert 10 * np.log10(255**2 / np.square(shown.astype(float) - true).mean()) > 25


def test_clips_from_files_and_a_judge(tmp_path):
    clips.write_clip(tmp_path / "a.mp4", clips.moving_picture(clips.portrait(), 3))
    (film,) = read_clips(tmp_path, 32, 5, 2, TINY.resize)
    assert [frame.shape for frame in film] == [(32, 32, 3)] * 2
    with pytest.raises(ValueError, match="found none"):
        read_clips(_empty(tmp_path), 32, 1, 2, TINY.resize)
    judge = torch.export.export(_Difference(), (torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 32)))
    torch.export.save(judge, tmp_path / "judge.pt2")
    found = read_judge(tmp_path / "judge.pt2", torch.device("cpu"))(
        torch.ones(2, 3, 32, 32), torch.zeros(2, 3, 32, 32)
    )
    assert found.tolist() == [1, 1]


def test_presets_that_paint_larger_are_refused():
    with pytest.raises(ValueError, match="paints the 32 pixels it sees"):
        measure_bandwidth(moving(TINY_LIVEPORTRAIT), [])


def test_the_command_refuses_before_it_works(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "kept").write_text("mine")
    done = CliRunner().invoke(app, ["bandwidth", "drawn", "-o", str(tmp_path / "study"), "-w", "random"])
    assert isinstance(done.exception, ValueError)
    assert "a new folder" in str(done.exception)


class _Difference(torch.nn.Module):
    def forward(self, images, true):
        return (images - true).abs().mean(dim=(1, 2, 3))


def _empty(folder):
    empty = folder / "empty"
    empty.mkdir()
    return empty
