"""Which frames of a Reenactor run as graphs."""

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

from fv2v.engine.cuda_graph import Capture, Captured, FrameGraph, Pending, capture
from fv2v.engine.frame import MOTION, FrameNetwork
from fv2v.geometry import Motion, Source
from fv2v.geometry.view import View, ViewTensors, check_views, view_form, view_tensors
from fv2v.networks import FaceVid2Vid
from fv2v_kernels import preferred_backend

MOST = 8  # graphs: each holds the memory of a frame
Graph = TypeVar("Graph", FrameGraph, Captured)


class FrameGraphs:
    """Frames of one set of networks on a GPU: one graph for each kind, from its second frame on.

    Kinds differ by options, by sizes, by how many frames there are at once, and by the operators' backend.
    The first of a kind runs as it is, so that a picture alone does not pay for a capture; so do those of more
    kinds than `MOST`.
    """

    def __init__(self, networks: FaceVid2Vid, by: Capture = capture) -> None:
        self._networks, self._by = networks, by
        self._graphs: dict[Hashable, Any] = {}
        self._lock = threading.Lock()
        self._view: tuple[Sequence[View], ViewTensors] | None = None

    @torch.inference_mode()
    def begin(
        self,
        driving: Tensor,
        source: Source,
        anchor: Motion | None,
        movement: Tensor | float,
        view: View | Sequence[View] | None,
        stitch: bool,
    ) -> Pending | None:
        """A frame's pictures under way, as `paint` makes them of `driving`, the rest as in `place`.

        None where it has no graph.
        """
        with _on(source.features.device):
            network, (_, *kept) = self._asked(driving, source, anchor, movement, view, stitch)
            graph = self._graph(
                network, [driving, *kept], lambda: FrameGraph(network, driving, kept, self._by)
            )
            return None if graph is None else graph.begin(driving, kept)

    @torch.inference_mode()
    def render(
        self,
        motion: Motion,
        source: Source,
        anchor: Motion | None,
        movement: Tensor | float,
        view: View | Sequence[View] | None,
        stitch: bool,
    ) -> Tensor | None:
        """What a motion shows, (B, 3, n, n), as `FrameNetwork` makes it. None where it has no graph."""
        with _on(source.features.device):
            network, arguments = self._asked(motion, source, anchor, movement, view, stitch)
            new, kept = arguments[: len(MOTION)], arguments[len(MOTION) :]
            graph = self._graph(network, arguments, lambda: Captured(network, new, kept, self._by))
            if graph is None:
                return None
            image = torch.empty_like(graph.result)
            graph.run(new, kept, image)
            return image

    def _asked(
        self,
        driving: Tensor | Motion,
        source: Source,
        anchor: Motion | None,
        movement: Tensor | float,
        view: View | Sequence[View] | None,
        stitch: bool,
    ) -> tuple[FrameNetwork, tuple[Tensor, ...]]:
        """The network of that kind, and its arguments."""
        views = None if view is None else check_views(view, len(driving))
        network = FrameNetwork(
            self._networks,
            extract=not isinstance(driving, Motion),
            relative=anchor is not None,
            stitch=stitch and self._networks.retargeting is not None,
            adapt_scale=isinstance(movement, Tensor),
            view=None if views is None else view_form(views),
        )
        factor = movement if isinstance(movement, Tensor) else None
        shown = None if views is None else self._view_tensors(views, source.keypoints)
        return network, network.arguments(driving, source, anchor, factor, shown)

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
        key = (network.inputs, network.stitch, preferred_backend(), shapes)
        with self._lock:
            if key not in self._graphs:
                self._graphs[key] = None
            elif self._graphs[key] is None and sum(map(bool, self._graphs.values())) < MOST:
                self._graphs[key] = make()
            return self._graphs[key]


def _on(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
