# SPDX-License-Identifier: Apache-2.0
"""Prints what reading LivePortrait's 520 MB of weights costs: copied, as fv2v does it, and mapped.

`python benches/measure_reading.py`. The file is in the system's cache; each time a byte of every page is read
afterwards, in a process of its own. A mapped file that another program cuts short kills the process, and one
that it writes to changes the tensors: that is what copying pays for. The least of five times.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from fv2v import checkpoints
from fv2v.checkpoints.storage import read_safetensors
from fv2v.presets import LIVEPORTRAIT

TIMES = 5
PAGE = 4096  # bytes
WAYS: dict[str, Callable[[Path], Mapping[str, Tensor]]] = {"copied": read_safetensors, "mapped": load_file}


def touch(tensors: Mapping[str, Tensor]) -> None:
    for tensor in tensors.values():
        tensor.reshape(-1).view(torch.uint8)[::PAGE].sum()


def measured(read: Callable[[Path], Mapping[str, Tensor]], path: Path) -> tuple[float, float]:
    """Seconds by the clock and of the processor, in a child."""
    receiver, sender = os.pipe()
    if os.fork() == 0:
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        touch(read(path))
        clock, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        os.write(sender, f"{clock} {processor}".encode())
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as file:
        clock, processor = map(float, file.read().split())
    os.wait()
    return clock, processor


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "liveportrait.safetensors"
        checkpoints.save(checkpoints.random(LIVEPORTRAIT), path)
        print(f"{path.stat().st_size / 1e6:.0f} MB")
        for name, read in WAYS.items():
            clock, processor = (
                min(each) for each in zip(*(measured(read, path) for _ in range(TIMES)), strict=True)
            )
            print(f"{name}: {clock:.3f} s by the clock, {processor:.3f} s of the processor")


if __name__ == "__main__":
    main()
