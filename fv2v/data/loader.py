# SPDX-License-Identifier: Apache-2.0
"""Batches of pairs for every step, read by worker processes in an order that can be resumed."""

import atexit
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from fv2v.data.augment import AugmentConfig, augment_pairs
from fv2v.data.pairs import Draw, PairData, Pairs, draws
from fv2v.data.videos import VideoFolder


def pair_loader(
    data: PairData,
    *,
    batch: int,
    seed: int,
    steps: int,
    first_step: int = 0,
    rank: int = 0,
    ranks: int = 1,
    accumulate: int = 1,
    workers: int = 0,
    augment: AugmentConfig | None = None,
) -> Iterator[Pairs]:
    """The batches of `steps` steps, `accumulate` for each: uint8 on the CPU, pinned where there is a GPU.

    The pairs of a step depend on its number, `batch` and `seed` alone: a run resumed at a step reads what an
    uninterrupted one would have read. They are divided among ranks and accumulated parts.

    Workers are spawned, not forked: a fork would copy locks that threads of OpenMP, CUDA or FFmpeg hold, and
    wait for them for ever. So a script that calls this needs `if __name__ == "__main__":`, and `data` is
    pickled. Workers end when the iterator is exhausted or deleted.

    Broken videos that workers of a `VideoFolder` meet are collected in `data.broken` of this process.

    Args:
        data: what to read.
        batch: pairs a step, over all ranks and accumulated parts.
        seed: of the order, and of all that is random in the pairs.
        steps: how many to read, from `first_step` on.
        first_step: from 0 on.
        rank, ranks: which process this is, and of how many.
        accumulate: parts of a step that are computed one after another.
        workers: processes that read, with one thread each; 0: this process reads.
        augment: random changes of the pictures; None: no changes.

    Raises:
        ValueError: a batch that does not divide into ranks times parts, or a number out of range. The
            iterator raises what `data` raises.
    """
    if batch < 1 or ranks < 1 or accumulate < 1 or batch % (ranks * accumulate):
        raise ValueError(
            f"expected a batch that divides into {ranks} ranks times {accumulate} accumulated parts, "
            f"got {batch}"
        )
    if not 0 <= rank < ranks:
        raise ValueError(f"expected a rank from 0 to {ranks - 1}, got {rank}")
    if steps < 0 or first_step < 0 or workers < 0:
        raise ValueError(
            f"expected steps, first_step and workers of 0 or more, got {steps}, {first_step}, {workers}"
        )
    order = _Order(len(data), batch, seed, range(first_step, first_step + steps), rank, ranks, accumulate)
    options: dict[str, Any] = {"multiprocessing_context": "spawn", "prefetch_factor": 2} if workers else {}
    loader = DataLoader(
        _Batches(data, augment),
        batch_size=None,
        sampler=order,
        num_workers=workers,
        worker_init_fn=_start_worker,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # by default it would use the global one, which training uses
        **options,
    )
    return _collected(loader, data)


@dataclass(frozen=True, slots=True)
class _Order:
    """A sampler: the draws of each part of each step that are for this rank."""

    items: int
    batch: int
    seed: int
    steps: range
    rank: int
    ranks: int
    accumulate: int

    def __iter__(self) -> Iterator[list[Draw]]:
        size = self.batch // (self.ranks * self.accumulate)
        for step in self.steps:
            drawn = draws(step, self.batch, self.items, self.seed)
            for part in range(self.accumulate):
                start = (part * self.ranks + self.rank) * size
                yield drawn[start : start + size]

    def __len__(self) -> int:
        return len(self.steps) * self.accumulate


class _Batches(Dataset[tuple[Pairs, dict[str, str]]]):
    """A batch for a list of draws, and the broken videos that were met on the way: reasons by path."""

    def __init__(self, data: PairData, augment: AugmentConfig | None) -> None:
        self._data = data
        self._augment = augment

    def __getitem__(self, drawn: list[Draw]) -> tuple[Pairs, dict[str, str]]:
        known = len(_broken(self._data))
        pairs = [self._data[draw] for draw in drawn]
        if self._augment is not None:
            pairs = [
                augment_pairs(each, self._augment, draw.seed) for each, draw in zip(pairs, drawn, strict=True)
            ]
        return Pairs.cat(pairs), dict(islice(_broken(self._data).items(), known, None))


def _broken(data: PairData) -> dict[str, str]:
    return data.broken if isinstance(data, VideoFolder) else {}


def _collected(loader: "DataLoader[tuple[Pairs, dict[str, str]]]", data: PairData) -> Iterator[Pairs]:
    """The loader's batches; broken videos are added to this process's `data`."""
    for pairs, broken in loader:
        if isinstance(data, VideoFolder):
            data.add_broken(broken)
        yield pairs


def _start_worker(worker: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group, meant for the parent
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # The queue's thread may still be sending tensors. Python's shutdown ends such a thread in the middle of
    # C++ code, which calls abort(), and the end of training then reports a killed worker.
    atexit.register(os._exit, 0)
