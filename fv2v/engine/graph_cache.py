# SPDX-License-Identifier: Apache-2.0
"""Which frames of a Runner run as CUDA graphs."""

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

from fv2v.engine.cuda_graph import Capture, Captured, FrameGraph, Pending, capture
from fv2v.engine.frame import MOTION, FrameInputs, FrameNetwork
from fv2v.geometry.view import View, ViewTensors, check_views, view_form, view_tensors
from fv2v.networks import FaceVid2Vid
from fv2v_kernels import preferred_backend

MAX_GRAPHS = 8  # each holds the memory of a frame
Graph = TypeVar("Graph", FrameGraph, Captured)


class FrameGraphs:
    """Frames of one set of networks on a GPU: one graph for each kind, from its second frame on.

    Kinds differ by options, by sizes, by how many frames there are at once, and by the operators' backend.
    The first of a kind runs as it is, so that a picture alone does not pay for a capture; so do those of more
    kinds than `MAX_GRAPHS`.
    """

    def __init__(self, networks: FaceVid2Vid, capture: Capture = capture) -> None:
        self.capture = capture
        self._networks = networks
        self._graphs: dict[Hashable, Any] = {}
        self._lock = threading.Lock()
        self._view: tuple[Sequence[View], ViewTensors] | None = None

    @torch.inference_mode()
    def begin(self, frames: FrameInputs) -> Pending | None:
        """Pictures of driving frames, under way as `paint` makes them; None where there is no graph yet."""
        with _on(frames.source.features.device):
            network, (driving, *kept) = self.arguments(frames)
            graph = self._graph(
                network, [driving, *kept], lambda: FrameGraph(network, driving, kept, self.capture)
            )
            return None if graph is None else graph.begin(driving, kept)

    @torch.inference_mode()
    def render(self, frames: FrameInputs) -> Tensor | None:
        """Pictures of a motion, (B, 3, n, n), as `FrameNetwork` makes them; None where there is no graph."""
        with _on(frames.source.features.device):
            network, arguments = self.arguments(frames)
            new, kept = arguments[: len(MOTION)], arguments[len(MOTION) :]
            graph = self._graph(network, arguments, lambda: Captured(network, new, kept, self.capture))
            if graph is None:
                return None
            image = torch.empty_like(graph.result)
            graph.run(new, kept, image)
            return image

    def arguments(self, frames: FrameInputs) -> tuple[FrameNetwork, tuple[Tensor, ...]]:
        """The network of the frames' kind, and what it takes."""
        views = None if frames.view is None else check_views(frames.view, len(frames.driving))
        kind = frames.kind(self._networks, None if views is None else view_form(views))
        network = FrameNetwork(self._networks, kind)
        movement = frames.movement if isinstance(frames.movement, Tensor) else None
        view = None if views is None else self._view_tensors(views, frames.source.keypoints)
        return network, network.arguments(frames.driving, frames.source, frames.anchor, movement, view)

    def _view_tensors(self, views: Sequence[View], like: Tensor) -> ViewTensors:
        """Those of the last frame, where the view has not changed."""
        last = self._view
        if last is None or list(last[0]) != list(views):
            last = self._view = list(views), view_tensors(views, like)
        return last[1]

    def _graph(
        self, network: FrameNetwork, arguments: Sequence[Tensor], make: Callable[[], Graph]
    ) -> Graph | None:
        shapes = tuple((each.shape, each.dtype) for each in arguments)
        key = (network.kind, preferred_backend(), shapes)
        with self._lock:
            if key not in self._graphs:
                self._graphs[key] = None
            elif self._graphs[key] is None and sum(map(bool, self._graphs.values())) < MAX_GRAPHS:
                self._graphs[key] = make()
            return self._graphs[key]


def _on(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
