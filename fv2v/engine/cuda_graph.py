# SPDX-License-Identifier: Apache-2.0
"""Functions of tensors as CUDA graphs.

The networks of a frame are some two hundred kernels, which a GPU runs sooner than a host can ask for them one
by one. A graph asks for all at once. What it reads and writes lies at fixed places: inputs are copied there,
those that are kept from frame to frame only when they change, and results are copied from there.

Only `capture` needs a GPU. On the CPU streams and events do nothing, and a function stands in for the graph.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

WARM_UPS = 3  # runs before a capture, in which libraries choose kernels and take their memory

Function = Callable[..., Sequence[Tensor]]
Replay = Callable[[], object]
Capture = Callable[[Callable[[], Sequence[Tensor]]], tuple[Replay, Sequence[Tensor]]]
# what replays, and where its results lie

_capturing = threading.Lock()  # a process captures one graph at a time


def capture(function: Callable[[], Sequence[Tensor]]) -> tuple[Replay, Sequence[Tensor]]:
    """A CUDA graph of what `function` does, with memory of its own, released with it."""
    with _capturing, fastest_kernels():
        # Of its own too: the end of a graph takes from all that were captured on its stream what cuBLAS
        # keeps for that stream (pytorch issue 193402).
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                function()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # other threads, which decode and encode, may do as they like meanwhile
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            results = function()
    return graph.replay, results


@contextmanager
def fastest_kernels() -> Iterator[None]:
    """cuDNN tries its kernels out where it meets a new convolution. A flag of the process: one at a time."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


class Captured:
    """A function of tensors as a graph: of some that are new at every run, and some that are often kept.

    Args:
        function: takes the new ones and then the kept ones, on `device`.
        new, kept: of the first run, on any device.
        by: makes the graph.

    Attributes:
        results: those of the last run, which the next one overwrites.
    """

    def __init__(
        self,
        function: Function,
        new: Sequence[Tensor],
        kept: Sequence[Tensor],
        device: torch.device,
        by: Capture,
    ) -> None:
        self._lanes = torch.get_device_module(device)
        inputs = [tensor.to(device, copy=True) for tensor in (*new, *kept)]
        self._new, self._kept = inputs[: len(new)], inputs[len(new) :]
        self._given = list(kept)
        self._replay, self.results = by(lambda: function(*inputs))
        self._ended = self._lanes.Event()
        self._ended.record(self._lanes.current_stream())
        self._lock = threading.Lock()

    def run(self, new: Sequence[Tensor], kept: Sequence[Tensor], into: Sequence[Tensor | None]) -> None:
        """On the current stream, which may be another one each time.

        Args:
            new, kept: shaped as the first ones; the kept ones that are the last run's own are not copied.
            into: a place for each result; None for one that is not wanted.
        """
        with self._lock:
            current = self._lanes.current_stream()
            current.wait_event(self._ended)  # whichever stream that was on
            for place, tensor in zip(self._new, new, strict=True):
                self._copy(place, tensor)
            for i, tensor in enumerate(kept):
                if tensor is not self._given[i]:
                    self._copy(self._kept[i], tensor)
                    self._given[i] = tensor
            self._replay()
            for wanted, result in zip(into, self.results, strict=True):
                if wanted is not None:
                    wanted.copy_(result)
            self._ended.record(current)

    def _copy(self, place: Tensor, tensor: Tensor) -> None:
        place.copy_(tensor)
        for each in (place, tensor):
            if each.is_cuda:  # its memory may be another stream's, which is not to give it away before
                each.record_stream(self._lanes.current_stream())
