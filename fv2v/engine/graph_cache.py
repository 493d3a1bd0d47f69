# SPDX-License-Identifier: Apache-2.0
"""Which stages of a Runner's frames run as CUDA graphs."""

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

from fv2v.engine.cuda_graph import Capture, capture
from fv2v.engine.stages import ExtractGraph, Pending, RenderGraph
from fv2v.geometry import Motion, Placement, Source
from fv2v.networks import FaceVid2Vid
from fv2v_kernels import preferred_backend

MAX_GRAPHS = 8  # each holds the memory of a stage
Graph = TypeVar("Graph", ExtractGraph, RenderGraph)


class FrameGraphs:
    """The two stages of one set of networks on a GPU: one graph for each kind, from its second frame on.

    Kinds differ by sizes, by how many frames there are at once, and by the operators' backend; not by the
    options of an animation. The first of a kind runs as it is, so that a picture alone does not pay for a
    capture; so do those of more kinds than `MAX_GRAPHS`.

    Args:
        networks, device, dtype: as `Runner` has them.
        capture: what makes graphs.
    """

    def __init__(
        self, networks: FaceVid2Vid, device: torch.device, dtype: torch.dtype, capture: Capture = capture
    ) -> None:
        self.capture = capture
        self._networks, self._device, self._dtype = networks, device, dtype
        self._graphs: dict[Hashable, Any] = {}
        self._lock = threading.Lock()

    @torch.inference_mode()
    def extract(self, driving: Tensor) -> Motion | None:
        """Motion of driving frames as `Runner.batch` returns them; None where there is no graph yet."""
        with self._on_device():
            graph = self._graph(
                ExtractGraph,
                [driving],
                lambda: ExtractGraph(self._networks, driving, self._device, self._dtype, self.capture),
            )
            return None if graph is None else graph.run(driving)

    @torch.inference_mode()
    def render(self, source: Source, placement: Placement) -> Tensor | None:
        """Pictures (B, 3, n, n), as `FaceVid2Vid.render` makes them; None where there is no graph yet."""
        with self._on_device():
            graph = self._render_graph(source, placement)
            return None if graph is None else graph.image(source, placement)

    @torch.inference_mode()
    def begin(self, source: Source, placement: Placement) -> Pending | None:
        """The same pictures as levels, under way; None where there is no graph yet."""
        with self._on_device():
            graph = self._render_graph(source, placement)
            return None if graph is None else graph.begin(source, placement)

    def _render_graph(self, source: Source, placement: Placement) -> RenderGraph | None:
        tensors = [source.features, source.compressed, source.keypoints, *source.detail, *placement]
        return self._graph(
            RenderGraph, tensors, lambda: RenderGraph(self._networks, source, placement, self.capture)
        )

    def _graph(
        self, stage: type[Graph], tensors: Sequence[Tensor | None], make: Callable[[], Graph]
    ) -> Graph | None:
        shapes = tuple((each.shape, each.dtype) for each in tensors if each is not None)
        key = (stage, preferred_backend(), shapes)
        with self._lock:
            if key not in self._graphs:
                self._graphs[key] = None
            elif self._graphs[key] is None and sum(map(bool, self._graphs.values())) < MAX_GRAPHS:
                self._graphs[key] = make()
            return self._graphs[key]

    def _on_device(self) -> AbstractContextManager[object]:
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()
