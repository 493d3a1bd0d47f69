# SPDX-License-Identifier: Apache-2.0
"""The loader: which pairs a step has, whoever reads them and wherever a run begins."""

import atexit
import logging
import multiprocessing
from pathlib import Path

import pytest
import torch
from numbered import numbered_clip, who_and_frame

from fv2v.data.augment import AugmentConfig
from fv2v.data.loader import pair_loader
from fv2v.data.pairs import Draw, PairData, Pairs, draws
from fv2v.data.videos import VideoFolder

ITEMS = 10


class Labelled:
    """Pairs whose pictures say which draw they are: a `PairData` without files."""

    def __len__(self) -> int:
        return ITEMS

    def __getitem__(self, draw: Draw) -> Pairs:
        bytes_of_seed = torch.tensor([draw.seed]).view(torch.uint8)
        label = torch.cat(
            [torch.tensor([draw.index], dtype=torch.uint8), bytes_of_seed, torch.zeros(3).byte()]
        )
        return Pairs(label.view(1, 3, 2, 2), label.view(1, 3, 2, 2))


def labels(pairs: Pairs) -> list[Draw]:
    flat = pairs.source.flatten(1)
    return [Draw(int(row[0]), int(row[1:9].clone().view(torch.int64))) for row in flat]


def read(data: PairData, **options) -> list[Pairs]:
    return list(pair_loader(data, **{"batch": 12, "seed": 3, "steps": 4} | options))


@pytest.fixture
def folder(tmp_path) -> Path:
    for who in range(5):
        numbered_clip(tmp_path / f"{who}.mp4", who)
    (tmp_path / "broken.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    return tmp_path


@pytest.mark.parametrize(("ranks", "accumulate"), [(1, 1), (2, 1), (1, 4), (3, 2), (3, 4)])
def test_ranks_and_parts_share_out_the_draws_of_a_step(ranks, accumulate):
    shares = [read(Labelled(), rank=rank, ranks=ranks, accumulate=accumulate) for rank in range(ranks)]
    for step in range(4):
        drawn = []
        for part in range(accumulate):
            for share in shares:
                assert len(share) == 4 * accumulate
                pairs = share[step * accumulate + part]
                assert len(pairs) == 12 // (ranks * accumulate)
                drawn += labels(pairs)
        assert drawn == draws(step, 12, ITEMS, seed=3)


def test_a_resumed_run_reads_what_was_due():
    whole = [labels(pairs) for pairs in read(Labelled(), steps=7, accumulate=2)]
    rest = [labels(pairs) for pairs in read(Labelled(), steps=3, first_step=4, accumulate=2)]
    assert rest == whole[8:]


def test_workers_read_what_one_process_reads_and_report_what_is_broken(folder, caplog):
    options = {"batch": 6, "steps": 200, "seed": 0, "augment": AugmentConfig()}
    alone, shared = VideoFolder(folder, 16), VideoFolder(folder, 16)
    expected = [pairs for pairs, _ in zip(pair_loader(alone, **options), range(5), strict=False)]
    caplog.clear()
    state = torch.get_rng_state()
    loader = pair_loader(shared, workers=2, **options)
    with caplog.at_level(logging.WARNING):
        found = [next(loader) for _ in range(5)]
    assert torch.equal(torch.get_rng_state(), state)  # training's own chance is left alone
    for pairs, other in zip(found, expected, strict=True):
        assert torch.equal(pairs.source, other.source)
        assert torch.equal(pairs.driving, other.driving)
    assert len(multiprocessing.active_children()) == 2
    loader.close()
    assert not multiprocessing.active_children()
    assert {Path(path).name for path in shared.broken} == {"broken.mp4", "empty.mp4"}
    assert shared.broken == alone.broken
    assert len(caplog.records) == 2  # once each, whichever of the workers met them


class LeavesAMark(Labelled):
    """Where the process that unpickles it has shut Python down, a file says so."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__dict__.update(state)
        atexit.register(self.mark.touch)


def test_workers_end_without_a_shutdown_that_cuts_off_the_queue_s_thread(tmp_path):
    data = LeavesAMark(tmp_path / "shut-down")
    loader = pair_loader(data, batch=12, seed=3, steps=100, workers=1)
    assert len(labels(next(loader))) == 12
    loader.close()
    assert not multiprocessing.active_children()
    assert not data.mark.exists()


def test_only_whole_clips_are_shown(folder):
    pairs = read(VideoFolder(folder, 16), steps=3)
    for one, other in zip(pairs, read(VideoFolder(folder, 16), steps=3), strict=True):
        assert torch.equal(one.source, other.source)
        for (who, first), (whom, second) in zip(
            who_and_frame(one.source), who_and_frame(one.driving), strict=True
        ):
            assert who == whom
            assert first != second


def test_augmentation_depends_on_the_draw_alone(folder):
    plain = read(VideoFolder(folder, 16))
    changed = read(VideoFolder(folder, 16), augment=AugmentConfig())
    parts = read(VideoFolder(folder, 16), augment=AugmentConfig(), accumulate=3)
    assert not torch.equal(plain[0].source, changed[0].source)
    assert torch.equal(torch.cat([pairs.source for pairs in parts[:3]]), changed[0].source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranks": 5}, "divides into 5 ranks times 1 accumulated parts, got 12"),
        ({"accumulate": 24}, "divides into 1 ranks times 24 accumulated parts, got 12"),
        ({"batch": 0}, "accumulated parts, got 0"),
        ({"rank": 2, "ranks": 2}, "a rank from 0 to 1, got 2"),
        ({"first_step": -1}, "steps, first_step and workers of 0 or more, got 4, -1, 0"),
        ({"workers": -1}, "got 4, 0, -1"),
    ],
)
def test_bad_arguments_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        pair_loader(Labelled(), **{"batch": 12, "seed": 0, "steps": 4} | options)
