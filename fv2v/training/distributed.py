"""Several processes that train one model, as torchrun starts them; without it there is one."""

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
    """Who trains along, and which of them this process is."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and talks."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Over the processes: the same in all of them, and NaN in all where it is in one."""
        if self.size > 1:
            dist.all_reduce(values)
        return values / self.size

    def wait(self) -> None:
        """For the others to get here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined(wish: str | None = None) -> Iterator[World]:
    """The processes that torchrun started, joined while the block runs: over NCCL on GPUs, over gloo on CPUs.

    `wish` is a device as `find_device` takes it; each process takes the GPU of its local rank.
    """
    device = find_device(wish)
    if "WORLD_SIZE" not in os.environ:
        yield World(device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(device, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
