# SPDX-License-Identifier: Apache-2.0
"""One preset's networks on one device: from what users give to what the networks take, and back."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fv2v.config import ModelConfig
from fv2v.engine.graph_cache import FrameGraphs
from fv2v.engine.stages import Pending
from fv2v.geometry import Motion, Source, check_motion, coordinate_dtype, used_translation
from fv2v.io.tensors import as_batch, to_images, to_uint8
from fv2v.motion.coefficients import source_windows
from fv2v.motion.edit import Edit
from fv2v.networks import FaceVid2Vid
from fv2v.reenactor.placement import FrameInputs, place_edited


class Runner:
    """Runs the networks of one preset: one call a stage, in inference mode.

    Args:
        networks: trained, or arranged for inference; on `device`, in `dtype`.
        device, dtype: of the networks.
        graphs: whether frames become CUDA graphs where `device` is a GPU.

    Attributes:
        networks, device, dtype: as given.
        graphs: the CUDA graphs of both stages of frames; None: every frame runs operation by operation.
    """

    def __init__(
        self, networks: FaceVid2Vid, device: torch.device, dtype: torch.dtype, *, graphs: bool = True
    ) -> None:
        self.networks, self.device, self.dtype = networks, device, dtype
        self.graphs = FrameGraphs(networks, device, dtype) if graphs and device.type == "cuda" else None
        self._squeezed: set[tuple[int, int]] = set()  # sizes that were warned of

    @property
    def config(self) -> ModelConfig:
        """The preset's."""
        return self.networks.config

    def batch(self, driving: Sequence[Any]) -> Tensor | Motion:
        """B driving frames as one value: pictures by `as_batch`, windows of coefficients, or motion."""
        if driving and isinstance(driving[0], Motion):
            return Motion.cat(driving)
        if self.config.driven_by == "coefficients":
            return torch.from_numpy(np.stack(driving))
        return self._as_batch(driving, self.config.image_size)

    def images(self, pictures: Tensor, size: int | None = None) -> Tensor:
        """What `as_batch` returns, as the networks take it: (B, 3, n, n) in [0, 1], n = `image_size`."""
        size = size or self.config.image_size
        return to_images(pictures.to(self.device), size, self.config.resize, dtype=self.dtype)

    def levels(self, images: Tensor) -> Tensor:
        """What `render` returns as (B, n, n, 3) uint8, rounded or truncated as the preset's release does."""
        return to_uint8(images, truncate=self.config.truncates)

    def _as_batch(self, pictures: Sequence[Any], size: int) -> Tensor:
        return as_batch(pictures, size, self.device, self.config.resize, on_size=self._warn_if_squeezed)

    def received(self, motion: Motion, frames: str) -> Motion:
        """A motion from outside, checked and brought here; senders may have stored it in half precision.

        `frames` is what errors call its frames. Raises ValueError as `check_motion`.
        """
        config = self.config
        jacobians = config.direct and config.jacobian
        check_motion(motion, config.keypoints, frames, scales=config.head.scales, jacobians=jacobians)
        motion = motion.to(self.device, coordinate_dtype(self.dtype))
        return replace(motion, translation=used_translation(motion.translation, self.config.geometry))

    def encode(self, portrait: Any, coefficients: Any = None) -> Source:
        """F, L, H and Δ on a portrait, as `Reenactor.encode` takes it."""
        pictures = self._as_batch([portrait], self.config.portrait_size)
        with torch.inference_mode():
            images = self.images(pictures)
            windows = source_windows(coefficients, self.config, len(images))
            seen = images if windows is None else torch.from_numpy(windows).to(images)
            size = self.config.portrait_size
            return self.networks.encode(
                images if size == self.config.image_size else self.images(pictures, size), seen
            )

    def _warn_if_squeezed(self, height: int, width: int) -> None:
        """Warn of pictures that are not square, once of each size."""
        if height == width or (height, width) in self._squeezed:
            return
        self._squeezed.add((height, width))
        n = self.config.image_size
        warnings.warn(
            f"a picture of {width}x{height} pixels is squeezed to {n}x{n}, and its face with it: expected a "
            "square crop around the face, as fv2v.crop_face(picture); fv2v.reenact and the commands crop by "
            "themselves",
            stacklevel=6,  # whoever calls the Reenactor
        )

    @torch.inference_mode()
    def extract(self, batch: Tensor | Motion) -> Motion:
        """H and Δ on what `batch` returns; a motion passes as it is."""
        if isinstance(batch, Motion):
            return batch
        motion = None if self.graphs is None else self.graphs.extract(batch)
        if motion is not None:
            return motion
        if self.config.driven_by == "coefficients":
            return self.networks.extract(batch.to(self.device, self.dtype))
        return self.networks.extract(self.images(batch))

    @torch.inference_mode()
    def begin(self, frames: FrameInputs, edits: Sequence[Edit] = ()) -> Pending:
        """Pictures as `render` makes them, as levels, and under way where there is a graph."""
        placement = place_edited(self.networks, frames, edits)
        pending = None if self.graphs is None else self.graphs.begin(frames.source, placement)
        if pending is not None:
            return pending
        return Pending(self.levels(self.networks.render(frames.source, placement)).cpu())

    @torch.inference_mode()
    def render(self, frames: FrameInputs, edits: Sequence[Edit] = (), *, graph: bool = True) -> Tensor:
        """M and G: (B, 3, n, n) in [0, 1], n = `config.output_size`.

        Args:
            edits: none, one for all frames, or one each.
            graph: use a CUDA graph where there is one.
        """
        placement = place_edited(self.networks, frames, edits)
        image = self.graphs.render(frames.source, placement) if graph and self.graphs is not None else None
        return self.networks.render(frames.source, placement) if image is None else image
