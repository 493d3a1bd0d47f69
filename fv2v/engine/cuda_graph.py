# SPDX-License-Identifier: Apache-2.0
"""The frame path of a GPU: pictures in, pictures out, one CUDA graph between, transfers beside it.

A frame is some two hundred kernels, which a GPU runs sooner than a host can ask for them one by one. A graph
asks for all at once. What it reads and writes lies at fixed places: inputs are copied there, those of the
source and the anchor only when they change.

Frames pass through two slots in turn, each with pinned buffers of its own. While one is computed, the next
may come to the GPU and the last one leave it, on streams of their own:

    uploads     sent -> received
    current             received -> the graph's input, replay, its result -> painted
    downloads                                                                painted -> shown

Only `capture` needs a GPU. On the CPU the streams do nothing, and a function stands in for the graph.
"""

import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fv2v.engine.frame import FrameNetwork
from fv2v.io.resize import AxisWeights, axis_weights
from fv2v.io.tensors import to_images, to_uint8

WARM_UPS = 3  # runs before a capture, in which libraries choose kernels and take their memory

Function = Callable[..., Tensor]
Replay = Callable[[], object]
Capture = Callable[[Callable[[], Tensor]], tuple[Replay, Tensor]]  # what replays, and where its result lies

_capturing = threading.Lock()  # a process captures one graph at a time


def capture(function: Callable[[], Tensor]) -> tuple[Replay, Tensor]:
    """A CUDA graph of what `function` does, with memory of its own, released with it."""
    # Of its own too: the end of a graph takes from all that were captured on its stream what cuBLAS
    # keeps for that stream (pytorch issue 193402).
    aside = torch.cuda.Stream()
    benchmark = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True  # cuDNN's fastest kernels, found in the first warm-up
    try:
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                function()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # other threads, which decode and encode, may do as they like meanwhile
        with _capturing, torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            result = function()
    finally:
        torch.backends.cudnn.benchmark = benchmark
    return graph.replay, result


class Pending:
    """Pictures under way."""

    def __init__(self, pictures: Tensor, done: Any = None, graph: object = None) -> None:
        self._pictures, self._done = pictures, done
        self._graph = graph  # not to be let go before they are there
        self._lock = threading.Lock()

    def result(self) -> np.ndarray:
        """(B, n, n, 3) uint8, once they are there."""
        with self._lock:
            if self._done is not None:
                self._done.synchronize()
                # the next frame but one comes to the same place
                self._pictures, self._done, self._graph = self._pictures.clone(), None, None
            return self._pictures.numpy()


class Captured:
    """A function of tensors as a graph: of some that are new at every run, and some that are often kept."""

    def __init__(
        self, function: Function, new: Sequence[Tensor], kept: Sequence[Tensor], by: Capture
    ) -> None:
        device = kept[0].device
        self._lanes = torch.get_device_module(device)
        inputs = [tensor.to(device, copy=True) for tensor in (*new, *kept)]
        self._new, self._kept = inputs[: len(new)], inputs[len(new) :]
        self._given = list(kept)
        self._replay, self.result = by(lambda: function(*inputs))
        self._ended = self._lanes.Event()
        self._lock = threading.Lock()

    def run(self, new: Sequence[Tensor], kept: Sequence[Tensor], into: Tensor) -> None:
        """Tensors shaped as the first ones were; those that are the last run's own are not copied again."""
        with self._lock:
            current = self._lanes.current_stream()
            current.wait_event(self._ended)  # whichever stream that was on
            for place, tensor in zip(self._new, new, strict=True):
                place.copy_(tensor)
            for i, tensor in enumerate(kept):
                if tensor is not self._given[i]:
                    self._kept[i].copy_(tensor)
                    self._given[i] = tensor
            self._replay()
            into.copy_(self.result)
            self._ended.record(current)


class Slot:
    """Where one frame at a time passes by; copies go on beside a GPU's work where memory is pinned."""

    def __init__(self, driving: Tensor, result: Tensor, lanes: Any) -> None:
        def host(like: Tensor) -> Tensor:
            return torch.empty(like.shape, dtype=like.dtype, pin_memory=result.is_cuda)

        self.sent, self.received = host(driving), torch.empty_like(driving, device=result.device)
        self.painted, self.shown = torch.empty_like(result), host(result)
        self.arrived, self.ready, self.done = lanes.Event(), lanes.Event(), lanes.Event()
        self.pending: Pending | None = None


class FrameGraph:
    """Frames of one kind: what `paint` does, captured, between two slots."""

    def __init__(self, network: FrameNetwork, driving: Tensor, kept: Sequence[Tensor], by: Capture) -> None:
        # made before the capture, and kept: a graph reads them where they lie
        self._weights = weights = _axis_weights(network, driving, kept[0].device)

        def function(driving: Tensor, *kept: Tensor) -> Tensor:
            return paint(network, driving, *kept, weights=weights)

        self._captured = Captured(function, [driving], kept, by)
        result = self._captured.result
        self._lanes = torch.get_device_module(result.device)
        self._uploads, self._downloads = _copy_streams(result.device)
        self._slots = [Slot(driving, result, self._lanes) for _ in range(2)]
        if result.is_cuda:
            # their memory was others', who may still be at work, and is theirs until these streams are done
            self._uploads.wait_stream(self._lanes.current_stream())
            for slot in self._slots:
                slot.received.record_stream(self._uploads)
                slot.painted.record_stream(self._downloads)
        self._lock = threading.Lock()

    def begin(self, driving: Tensor, kept: Sequence[Tensor]) -> Pending:
        """A frame's pictures, under way. Waits for the frame before the last, if that is not done yet."""
        with self._lock:
            slot = self._slots[0]
            self._slots.reverse()
            if slot.pending is not None:
                slot.pending.result()  # out of the way, whether somebody has asked for it or not
            current = self._lanes.current_stream()
            if driving.is_cuda:
                slot.received.copy_(driving)
            else:
                slot.sent.copy_(driving)
                with self._lanes.stream(self._uploads):
                    slot.received.copy_(slot.sent, non_blocking=True)
                    slot.arrived.record(self._uploads)
                current.wait_event(slot.arrived)
            self._captured.run([slot.received], kept, slot.painted)
            slot.ready.record(current)
            with self._lanes.stream(self._downloads):
                self._downloads.wait_event(slot.ready)
                slot.shown.copy_(slot.painted, non_blocking=True)
                slot.done.record(self._downloads)
            slot.pending = Pending(slot.shown, slot.done, self)
            return slot.pending


@cache
def _copy_streams(device: torch.device) -> tuple[Any, Any]:
    """For uploads and downloads, of a priority that no capture has: torch gives its streams out in turn."""
    lanes = torch.get_device_module(device)
    return lanes.Stream(priority=-1), lanes.Stream(priority=-1)


def paint(
    network: FrameNetwork, driving: Tensor, *others: Tensor, weights: AxisWeights | None = None
) -> Tensor:
    """A frame from pixels to pixels: resized and scaled, and made levels in the end, on the device.

    Args:
        driving: (B, H, W, 3) uint8, or what `network` takes, in float32; others: the rest of its inputs.
        weights: what resizes it, where that is prepared already.

    Returns:
        (B, n, n, 3) uint8.
    """
    config, images = network.model.config, driving
    if driving.dtype == torch.uint8:
        images = to_images(driving, config.image_size, config.resize, weights)
    return to_uint8(network(images.to(others[0].dtype), *others), truncate=config.truncates)


def _axis_weights(network: FrameNetwork, driving: Tensor, device: torch.device) -> AxisWeights | None:
    """Of driving frames that `paint` resizes."""
    config = network.model.config
    if driving.dtype != torch.uint8:
        return None
    return axis_weights(config.resize, (driving.shape[1], driving.shape[2]), config.image_size, device)
