# SPDX-License-Identifier: Apache-2.0
"""The processes that train one model together, as torchrun starts them; without torchrun there is one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from fv2v.devices import find_device


@dataclass(frozen=True, slots=True)
class World:
    """How many processes train together, and which of them this one is."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, in all of them; NaN where it is NaN in one."""
        if self.size > 1:
            dist.all_reduce(values)
        return values / self.size

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def process_group(device: str | None = None) -> Iterator[World]:
    """A process group of the processes that torchrun started: over NCCL on GPUs, over gloo on CPUs.

    Args:
        device: as `find_device` takes it; on GPUs each process takes that of its local rank.
    """
    found = find_device(device)
    if "WORLD_SIZE" not in os.environ:
        yield World(found)
        return
    if found.type == "cuda":
        found = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(found)
    dist.init_process_group("nccl" if found.type == "cuda" else "gloo")
    try:
        yield World(found, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
