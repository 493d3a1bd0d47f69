# SPDX-License-Identifier: Apache-2.0
"""The memory one call takes: what torch allocated, and what the process grew by where torch can't see it."""

import ctypes
import gc
import json
import re
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

PROC = Path("/proc/self")


def torch_peak_bytes(run: Callable[[], Any], device: str) -> int:
    """The most that one call holds at a time beyond what was held before it, allocated through torch.

    Results, intermediates, gradients and, on a GPU, the workspaces of the kernels; on a CPU not the scratch
    that oneDNN or a C++ kernel takes from malloc.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - held
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    allocations = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]")
    held = peak = 0
    for _, size in allocations:  # negative where memory is freed
        held += size
        peak = max(peak, held)
    return peak


def process_peak_bytes(run: Callable[[], Any]) -> int | None:
    """How far resident memory rises during one call, whoever allocates; None where Linux can't tell.

    The kernel keeps a high-water mark of the process's resident memory (VmHWM), which writing 5 to clear_refs
    resets; the rise is that mark after the call less what was resident before it. So that memory which the C
    library kept from earlier calls counts when it is used again, its free pages are given back first. Scratch
    that an operator keeps for its next call is resident before and does not count: to see it, measure the
    first call of that size in a fresh process.
    """
    try:
        give_back = ctypes.CDLL(None).malloc_trim
        _keep_imports()
        gc.collect()
        give_back(0)
        (PROC / "clear_refs").write_text("5")
        before = _status("VmRSS")
        run()
        return max(0, _status("VmHWM") - before)
    except (AttributeError, OSError):  # another C library, another system, or a sandbox
        return None


@cache
def _keep_imports() -> None:
    """What is there by the first call, modules above all, is not looked through at the others."""
    gc.collect()
    gc.freeze()


def held_at_most() -> int | None:
    """Resident memory's high-water mark since `process_peak_bytes` was last called, or since the start."""
    try:
        return _status("VmHWM")
    except OSError:
        return None


def _status(field: str) -> int:
    found = re.search(rf"^{field}:\s*(\d+) kB", (PROC / "status").read_text(), re.M)
    if found is None:
        raise OSError(f"no {field} in {PROC / 'status'}")
    return int(found[1]) * 1024
