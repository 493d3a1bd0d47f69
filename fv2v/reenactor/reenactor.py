"""Encode a portrait once, animate it many times. State that lasts is a `Source`, held by the caller."""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fv2v import checkpoints
from fv2v.config import ModelConfig
from fv2v.devices import find_device, find_dtype
from fv2v.engine import arrange
from fv2v.engine.graph_cache import FrameGraphs
from fv2v.geometry import (
    Motion,
    Source,
    View,
    check_motion,
    coordinate_dtype,
    frontal,
    resting,
    used_translation,
)
from fv2v.io.paths import PathLike
from fv2v.io.tensors import as_batch, to_images, to_uint8
from fv2v.motion.coefficients import driving_windows, source_windows
from fv2v.motion.edit import Edit, check_edit, check_edits
from fv2v.motion.smoothing import SteadyMotion
from fv2v.networks import FaceVid2Vid
from fv2v.presets import PRESETS
from fv2v.presets import preset as find_preset
from fv2v.reenactor.animation import Animation, check_wish, joined, next_wishes
from fv2v.reenactor.placement import placed


class Reenactor:
    """A preset with weights, ready to run.

    Args:
        preset: a name from `fv2v.PRESETS`, or a `ModelConfig`; None takes what the weights' file says.
        weights: the path of a release's file or folder, or of our `.safetensors`; the paths of a release's
            files; or "random". `fv2v.checkpoints.load` lists what is taken. None takes those that ship, the
            preset "starter"'s, and says so where no preset was named.
        device: where to run, as torch names it; by default a GPU where there is one.
        dtype: of the networks: "float32", "float16", "bfloat16" or "float64". Keypoints and rotations stay
            float32 (float64 beside float64). float16 is very slow on CPUs without half arithmetic; bfloat16
            is not.
        optimize: run the networks arranged for inference (engine/): the same function from fewer operations,
            and on a GPU as one CUDA graph a frame, captured at the second frame of a kind and size. Half
            precision rounds elsewhere then: errors are as large, and not the same. False runs the trained
            modules, operation by operation.

    Attributes:
        networks: what runs.

    What a portrait alone decides is computed once, in `encode`, and kept in its `Source`: the features (F),
    the canonical keypoints (L), its own motion and keypoints, and the compressed volume that M reads. A
    driving frame costs H with Δ, M and G.

    Pictures are square crops around a face, of any size; crop.py makes them.

    Raises:
        FileNotFoundError: there is no such file of weights.
        ValueError: no weights, where none ship for the preset; or a preset, file, device or dtype that cannot
            be used.
    """

    def __init__(
        self,
        preset: str | ModelConfig | None = None,
        *,
        weights: checkpoints.Weights | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype = "float32",
        optimize: bool = True,
    ) -> None:
        config = find_preset(preset) if isinstance(preset, str) else preset
        if weights is None:
            weights = checkpoints.shipped(config)
            if config is None:
                warnings.warn(checkpoints.STARTER_NOTE, stacklevel=2)
        self.dtype = find_dtype(dtype)
        self.device = find_device(device)
        if weights == "random" and config is None:
            raise ValueError(f'weights="random" needs a preset, one of {", ".join(PRESETS)}; got none')
        self._weights = weights, config
        self._model: FaceVid2Vid | None = None
        self._run(self._loaded(), optimize)

    @property
    def model(self) -> FaceVid2Vid:
        """The trained modules. With `optimize` nothing runs them: they are loaded again when asked for."""
        if self._model is None:
            self._model = self._loaded()
        return self._model

    def _loaded(self) -> FaceVid2Vid:
        weights, config = self._weights
        if weights == "random" and config is not None:
            model = checkpoints.random(config)
        else:
            model = checkpoints.load(weights, config)
        return model.eval().requires_grad_(False)

    def _run(self, model: FaceVid2Vid, optimize: bool) -> None:
        """`model` from now on: as it is, or used up by its arrangement."""
        self.config = model.config
        if optimize:
            self.networks = arrange(model, self.device, self.dtype)
        else:
            self.networks = self._model = model.to(self.device, self.dtype)
        self._path = FrameGraphs(self.networks) if optimize and self.device.type == "cuda" else None

    @torch.inference_mode()
    def encode(self, portrait: Any, coefficients: Any = None) -> Source:
        """F, L, H and Δ on a portrait, once for all frames that follow.

        Args:
            portrait: a path, a PIL image, an (H, W, 3) uint8 array, or a float tensor in [0, 1], (3, H, W) or
                (B, 3, H, W).
            coefficients: the portrait's own, (n,) or (B, n), where the preset is driven by them; only there.
        """
        images = self._images(as_batch([portrait], self.config.image_size, self.device))
        own = source_windows(coefficients, self.config, len(images))
        return self.networks.encode(images, None if own is None else torch.from_numpy(own).to(images))

    @torch.inference_mode()
    def extract(self, frames: Any) -> Motion:
        """H and Δ on one frame, or on a list of them: what a sender would transmit. Kinds as in `encode`.

        Where coefficients drive, `frames` is a sequence of them, (T, n); each frame sees those around it.
        """
        if self.config.head.window:
            return self._extract(self._seen(list(driving_windows(frames, self.config.head))))
        return self._extract(self._seen(frames if isinstance(frames, list | tuple) else [frames]))

    @torch.inference_mode()
    def render(
        self,
        source: Source,
        motion: Motion,
        anchor: Motion | None = None,
        view: View | Sequence[View] | None = None,
        *,
        stitch: bool = True,
        edit: Edit | Sequence[Edit] | None = None,
    ) -> Tensor:
        """What a receiver would show: the source moved by a motion of B frames.

        Args:
            source: from `encode`; one portrait, or B.
            motion: from `extract`, or received; B frames.
            anchor: what counts as no change, one frame or B; None moves absolutely.
            view: the head's pose as the receiver wants it, one for all frames or B of them.
            stitch: let the preset's network, where there is one (LivePortrait), fit the head to its picture.
            edit: what to change of the motion (edit.py); one for all frames, or B of them for one source.

        Returns:
            (B, 3, n, n) in [0, 1], n = `config.output_size`, in the dtype of the networks.

        Raises:
            ValueError: sizes that do not fit, NaN or infinite numbers in a motion.
        """
        motion = self._given(motion, "frames")
        if anchor is not None:
            anchor = self._given(anchor, "anchor")
        for name, batch in (("source", len(source)), ("anchor", len(anchor) if anchor is not None else 1)):
            if batch not in (1, len(motion)):
                raise ValueError(f"expected a {name} of 1 or {len(motion)}, as the motion has, got {batch}")
        edits = check_edits(edit, len(motion), len(source), self.config)
        return self._replay(source, motion, anchor, view, 1.0, stitch, edits)

    def animate(
        self,
        source: Source,
        frames: Iterable[Any] | Motion,
        *,
        relative: bool | None = None,
        anchor: Motion | None = None,
        view: View | Iterable[View] | None = None,
        adapt_scale: bool = False,
        stitch: bool = True,
        steady: SteadyMotion | None = None,
        edit: Edit | Iterable[Edit] | None = None,
        batch_size: int = 1,
    ) -> Iterator[np.ndarray]:
        """Move the source as the driving frames move.

        Args:
            source: one portrait, from `encode`.
            frames: driving frames, of any kind that `encode` takes; read `batch_size` at a time, never kept.
                Where coefficients drive: a sequence of them, (T, n), as `extract` takes it. Or the motion of
                frames, from `extract` or `fv2v.read_motion`.
            relative: True moves by the change since the anchor, False takes the driver's own pose; None does
                what the preset's release does.
            anchor: the motion that counts as no change; by default the first frame's.
            view: the head's pose as the receiver wants it; one for all frames, or an iterable of one a frame.
            adapt_scale: scale the driver's movement to the source's size of face; for `keypoint` transfer,
                relative.
            stitch: as in `render`.
            steady: what takes the tremor out of the driver's motion; it remembers the frames it has seen.
            edit: what to change of the motion (edit.py); one for all frames, or an iterable of one a frame.
            batch_size: how many driving frames go through the networks together. On a CPU it hardly matters
                (`test_batches` in benches/bench_files.py).

        Returns:
            An iterator over (H, W, 3) uint8 pictures, one a driving frame, each made when it is asked for.

        Raises:
            ValueError: at once for arguments that do not fit; at the frame for frames, their views and edits.
        """
        if len(source) != 1:
            raise ValueError(f"expected one source to animate, got {len(source)}; animate them one by one")
        if batch_size < 1:
            raise ValueError(f"expected batch_size >= 1, got {batch_size}")
        if isinstance(frames, Motion):
            motion = self._given(frames, "frames")
            frames = (motion[i : i + 1] for i in range(len(motion)))
        elif self.config.head.window:
            frames = driving_windows(frames, self.config.head)
        elif isinstance(frames, str | os.PathLike):
            raise ValueError(f"expected driving frames, got the path {frames!r}; fv2v.read_video reads one")
        views, edits = check_wish(view, View), check_wish(edit, Edit)
        if isinstance(edits, Edit):
            check_edit(edits, self.config)
        animation = Animation(
            self,
            source,
            relative=relative,
            anchor=anchor,
            adapt_scale=adapt_scale,
            stitch=stitch,
            steady=steady,
        )
        return self._animate(animation, iter(frames), views, edits, batch_size)

    def imitate(
        self,
        source: Source,
        picture: Any,
        *,
        relative: bool | None = None,
        view: View | None = None,
        stitch: bool = True,
        edit: Edit | None = None,
    ) -> np.ndarray:
        """The source as one driving picture has it, (H, W, 3) uint8.

        Relative, where the preset's release drives by pictures so (LivePortrait; the default there), moves
        nothing but the expression, away from lips at rest. Elsewhere a picture drives absolutely.

        Raises:
            ValueError: as `animate`; `relative=True` for a preset that has no face at rest.
        """
        motion = self.extract(picture)
        anchor = self.rest(motion, relative)
        return to_uint8(self.render(source, motion, anchor, view, stitch=stitch, edit=edit)).cpu().numpy()[0]

    def rest(self, motion: Motion, relative: bool | None = None) -> Motion | None:
        """What a driving picture's motion is measured against, as `imitate` has it; None: nothing."""
        anchor = resting(motion, self.config.geometry) if relative is not False else None
        if relative and anchor is None:
            raise ValueError(
                "relative motion is measured against a first frame, or a face at rest, which "
                f"{self.config.name!r} has not: give a video, or leave relative out to take this pose"
            )
        return anchor

    def frontalize(self, source: Source) -> np.ndarray:
        """The portrait looking straight ahead, its place and expression kept, (H, W, 3) uint8 (Sec. 3.3)."""
        if len(source) != 1:
            raise ValueError(f"expected one source to frontalize, got {len(source)}")
        return (
            to_uint8(self._render(source, frontal(source.motion), None, None, 1.0, stitch=True))
            .cpu()
            .numpy()[0]
        )

    def save(self, path: PathLike) -> None:
        """Write trained weights and config to a .safetensors, whole or not at all; `weights=path` reads it.

        With `optimize` they are read once more from where they came, which must still be there.
        """
        checkpoints.save(self.model, path)

    def _animate(
        self,
        animation: Animation,
        frames: Iterator[Any],
        views: View | Iterator[View] | None,
        edits: Edit | Iterator[Edit] | None,
        batch_size: int,
    ) -> Iterator[np.ndarray]:
        # inference mode is entered inside the calls below, never across a yield: it would leak to the caller
        done = 0
        while batch := list(islice(frames, batch_size)):
            seen = self._seen(batch)
            view = next_wishes(views, View, len(seen), done)
            edit = next_wishes(edits, Edit, len(seen), done)
            done += len(seen)
            checked = check_edits(edit, len(seen), 1, self.config)
            yield from animation.begin(seen, view, edits=checked).result()

    def _seen(self, driving: Sequence[Any]) -> Tensor | Motion:
        """What drives B frames: pictures, as `as_batch` has them, or windows of coefficients; or motion."""
        if driving and isinstance(driving[0], Motion):
            return joined(driving)
        if self.config.head.window:
            return torch.from_numpy(np.stack(driving))
        return as_batch(driving, self.config.image_size, self.device)

    @torch.inference_mode()
    def _extract(self, seen: Tensor | Motion) -> Motion:
        """H and Δ on what drives; motion as it is."""
        if isinstance(seen, Motion):
            return seen
        if self.config.head.window:
            return self.networks.extract(seen.to(self.device, self.dtype))
        return self.networks.extract(self._images(seen))

    def _replay(
        self,
        source: Source,
        motion: Motion,
        anchor: Motion | None,
        view: View | Sequence[View] | None,
        movement: Tensor | float,
        stitch: bool,
        edits: Sequence[Edit] = (),
    ) -> Tensor:
        """`_render`, as a graph where there is one and nothing is edited."""
        image = None
        if self._path is not None and not edits:
            image = self._path.render(motion, source, anchor, movement, view, stitch)
        return self._render(source, motion, anchor, view, movement, stitch, edits) if image is None else image

    @torch.inference_mode()
    def _render(
        self,
        source: Source,
        motion: Motion,
        anchor: Motion | None,
        view: View | Sequence[View] | None,
        movement: Tensor | float,
        stitch: bool,
        edits: Sequence[Edit] = (),
    ) -> Tensor:
        placement = placed(
            self.networks, source, motion, anchor, view, edits, movement=movement, stitch=stitch
        )
        return self.networks.render(source, placement)

    def _images(self, pictures: Tensor) -> Tensor:
        """What is `as_batch`, as the networks take it: (B, 3, n, n)."""
        return to_images(pictures.to(self.device), self.config.image_size).to(self.dtype)

    def _given(self, motion: Motion, frames: str) -> Motion:
        """A motion from outside, looked at once and brought here; senders may have stored it in half."""
        check_motion(motion, self.config.keypoints, frames, scaled=self.config.head.scale)
        motion = motion.to(self.device, coordinate_dtype(self.dtype))
        return replace(motion, translation=used_translation(motion.translation, self.config.geometry))
