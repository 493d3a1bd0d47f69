# SPDX-License-Identifier: Apache-2.0
"""The frame path of a GPU: two graphs, small tensors between them, and transfers beside them.

    extract   pixels -> Motion                   a graph for each size of driving frame
    between   steadiness, edits, views, `place`  operations on a few hundred numbers, as they come
    render    where keypoints go -> pixels       a graph for each number of frames

So whatever moves a portrait (frames, a file, a sender), and however it is edited, the same graphs run.

While one frame is rendered, the next comes to the GPU and its motion is extracted, and the one before leaves
it. Each has a stream of its own, and frames pass through two slots in turn:

    uploads     sent -> received
    current             received -> extract -> Motion ... Placement
    renders                                               Placement -> render -> painted
    downloads                                                                    painted -> shown
"""

import threading
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fv2v.engine.cuda_graph import Capture, Captured
from fv2v.geometry import Motion, Placement, Source
from fv2v.io.resize import AxisWeights, axis_weights
from fv2v.io.tensors import to_images, to_uint8
from fv2v.networks import FaceVid2Vid


class Pending:
    """Pictures under way, or there already."""

    def __init__(self, pictures: Tensor, done: Any = None, graph: object = None) -> None:
        self._pictures, self._done = pictures, done
        self._graph = graph  # not to be let go before they are there
        self._lock = threading.Lock()

    @property
    def under_way(self) -> bool:
        """Whether `result` may have to wait: time for the frame after this one."""
        return self._done is not None

    def result(self) -> np.ndarray:
        """(B, n, n, 3) uint8, once they are there."""
        with self._lock:
            if self._done is not None:
                self._done.synchronize()
                # the next frame but one comes to the same place
                self._pictures, self._done, self._graph = self._pictures.clone(), None, None
            return self._pictures.numpy()


class Lanes(NamedTuple):
    """A device's streams beside the current one, of a priority that no capture's has.

    torch gives its streams of one priority out in turn; work on a capture's would become part of the graph.
    """

    uploads: Any
    renders: Any
    downloads: Any


@cache
def lanes_of(device: torch.device) -> Lanes:
    """The same ones for all graphs of the device."""
    module = torch.get_device_module(device)
    return Lanes(*(module.Stream(priority=-1) for _ in Lanes._fields))


def extract(
    networks: FaceVid2Vid, driving: Tensor, dtype: torch.dtype, weights: AxisWeights | None
) -> Motion:
    """H and Δ: driving frames, resized and scaled on the device.

    Args:
        driving: (B, H, W, 3) uint8, or what the networks take, in float32.
        dtype: of the networks.
        weights: what resizes it, prepared (`axis_weights`).
    """
    config = networks.config
    if driving.dtype == torch.uint8:
        return networks.extract(to_images(driving, config.image_size, config.resize, weights, dtype))
    return networks.extract(driving.to(dtype))


class ExtractGraph:
    """The first stage, for driving frames of one shape and dtype."""

    def __init__(
        self, networks: FaceVid2Vid, driving: Tensor, device: torch.device, dtype: torch.dtype, by: Capture
    ) -> None:
        # made before the capture, and kept: a graph reads them where they lie
        self._weights = weights = _axis_weights(networks, driving, device)

        def function(driving: Tensor) -> Sequence[Tensor]:
            return _tensors(extract(networks, driving, dtype, weights))

        self._captured = Captured(function, [driving], [], device, by)
        self._module, lanes = torch.get_device_module(device), lanes_of(device)
        self._uploads = lanes.uploads
        self._slots = [_Upload(driving, device, lanes) for _ in range(2)]
        self._lock = threading.Lock()

    def run(self, driving: Tensor) -> Motion:
        """Their motion, under way on the current stream."""
        motion = [torch.empty_like(result) for result in self._captured.results]
        if driving.is_cuda:
            self._captured.run([driving], [], motion)
            return Motion(*motion)
        with self._lock:
            slot = self._slots[0]
            self._slots.reverse()
            slot.arrived.synchronize()  # the frame before the last: long ago
            slot.sent.copy_(driving)
            with self._module.stream(self._uploads):
                self._uploads.wait_event(slot.taken)
                slot.received.copy_(slot.sent, non_blocking=True)
                slot.arrived.record(self._uploads)
            current = self._module.current_stream()
            current.wait_event(slot.arrived)
            self._captured.run([slot.received], [], motion)
            slot.taken.record(current)
        return Motion(*motion)


class RenderGraph:
    """The second stage, for sources and placements of one shape."""

    def __init__(self, networks: FaceVid2Vid, source: Source, placement: Placement, by: Capture) -> None:
        places = sum(tensor is not None for tensor in placement)

        def function(*inputs: Tensor) -> Sequence[Tensor]:
            placed, (features, compressed, kp_source, *detail) = inputs[:places], inputs[places:]
            kp_driving, affine = placed[0], placed[1] if places > 1 else None
            image = networks.synthesize(features, compressed, kp_source, kp_driving, affine, detail)
            return image, to_uint8(image, truncate=networks.config.truncates, inside=True)

        device = source.features.device
        self._captured = Captured(function, *_inputs(source, placement), device, by)
        self._module, self._lanes = torch.get_device_module(device), lanes_of(device)
        self._slots = [_Download(self._captured.results[1], self._lanes) for _ in range(2)]
        self._lock = threading.Lock()

    def image(self, source: Source, placement: Placement) -> Tensor:
        """(B, 3, n, n) in [0, 1], under way on the current stream."""
        image = torch.empty_like(self._captured.results[0])
        self._captured.run(*_inputs(source, placement), [image, None])
        return image

    def begin(self, source: Source, placement: Placement) -> Pending:
        """Pictures under way on a stream of their own.

        Waits for the frame before the last, if that is not done yet.
        """
        _, renders, downloads = self._lanes
        with self._lock:
            slot = self._slots[0]
            self._slots.reverse()
            if slot.pending is not None:
                slot.pending.result()  # out of the way, whether somebody has asked for it or not
            slot.placed.record(self._module.current_stream())
            with self._module.stream(renders):
                renders.wait_event(slot.placed)
                self._captured.run(*_inputs(source, placement), [None, slot.painted])
                slot.ready.record(renders)
            with self._module.stream(downloads):
                downloads.wait_event(slot.ready)
                slot.shown.copy_(slot.painted, non_blocking=True)
                slot.done.record(downloads)
            slot.pending = Pending(slot.shown, slot.done, self)
            return slot.pending


class _Upload:
    """Where one driving frame at a time passes by; copies go on beside a GPU's work from pinned memory."""

    def __init__(self, driving: Tensor, device: torch.device, lanes: Lanes) -> None:
        module = torch.get_device_module(device)
        self.sent, self.received = _pinned(driving, device), torch.empty_like(driving, device=device)
        _lend(self.received, lanes.uploads)
        self.arrived, self.taken = module.Event(), module.Event()


class _Download:
    """Where the pictures of one frame at a time pass by."""

    def __init__(self, levels: Tensor, lanes: Lanes) -> None:
        module = torch.get_device_module(levels.device)
        self.painted, self.shown = torch.empty_like(levels), _pinned(levels, levels.device)
        for lane in (lanes.renders, lanes.downloads):
            _lend(self.painted, lane)
        self.placed, self.ready, self.done = module.Event(), module.Event(), module.Event()
        self.pending: Pending | None = None


def _pinned(like: Tensor, device: torch.device) -> Tensor:
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=device.type == "cuda")


def _lend(tensor: Tensor, lane: Any) -> None:
    """To a stream: its memory was others', who may still be at work, and is theirs when the lane is done."""
    if tensor.is_cuda:
        lane.wait_stream(torch.cuda.current_stream(tensor.device))
        tensor.record_stream(lane)


def _tensors(motion: Motion) -> list[Tensor]:
    every = (getattr(motion, field.name) for field in fields(Motion))
    return [tensor for tensor in every if tensor is not None]


def _inputs(source: Source, placement: Placement) -> tuple[list[Tensor], list[Tensor]]:
    """What M and G read: what is new with each frame, and what stays while the source does."""
    placed = [tensor for tensor in placement if tensor is not None]
    return placed, [source.features, source.compressed, source.keypoints, *source.detail]


def _axis_weights(networks: FaceVid2Vid, driving: Tensor, device: torch.device) -> AxisWeights | None:
    """Of driving frames that `extract` resizes."""
    config = networks.config
    if driving.dtype != torch.uint8:
        return None
    return axis_weights(config.resize, (driving.shape[1], driving.shape[2]), config.image_size, device)
