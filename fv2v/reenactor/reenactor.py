# SPDX-License-Identifier: Apache-2.0
"""Encode a portrait once, animate it many times. State that lasts is a `Source`, held by the caller."""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fv2v import checkpoints, presets
from fv2v.config import ModelConfig
from fv2v.devices import find_device, find_dtype
from fv2v.engine import arrange
from fv2v.geometry import Motion, Source, View, resting
from fv2v.geometry.view import AHEAD, check_has_pose
from fv2v.io.paths import PathLike
from fv2v.motion.coefficients import driving_windows
from fv2v.motion.edit import check_edits
from fv2v.networks import FaceVid2Vid
from fv2v.reenactor.animation import Animation, next_options, one_or_iterator, pictures
from fv2v.reenactor.film import FilmAnimation
from fv2v.reenactor.options import AnimationOptions
from fv2v.reenactor.placement import FrameInputs
from fv2v.reenactor.runner import Runner

if TYPE_CHECKING:  # torch brings typing_extensions; nothing needs it at run time
    from typing_extensions import Unpack

    from fv2v.reenactor.options import AnimationKeywords, PictureKeywords


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
            and on a GPU as two CUDA graphs (engine/stages.py), captured at the second frame of a size. Half
            precision rounds elsewhere then: errors are as large, and not the same. False runs the trained
            modules, operation by operation.

    Attributes:
        config: the preset's.
        device, dtype: of the networks.
        runner: the networks on their device, for what works below this class (runner.py).

    What a portrait alone decides is computed once, in `encode`, and kept in its `Source`: the features (F),
    the canonical keypoints (L), its own motion and keypoints, and the compressed volume that M reads. A
    driving frame costs H with Δ, M and G.

    Pictures are square crops around a face, of any size; `fv2v.crop_face` makes them. They
    are resized as the preset's release does it (`ModelConfig.resize`). One that is not square is squeezed, as
    in the releases, with a warning once of each size.

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
        config = presets.preset(preset) if isinstance(preset, str) else preset
        if weights is None:
            weights = checkpoints.shipped(config)
            if config is None:
                warnings.warn(checkpoints.STARTER_NOTE, stacklevel=2)
        self.dtype = find_dtype(dtype)
        self.device = find_device(device)
        if weights == "random" and config is None:
            raise ValueError(f'weights="random" needs one of {", ".join(presets.PRESETS)}; got no preset')
        self._weights = weights, config
        self._model: FaceVid2Vid | None = None
        self._run(self._loaded(), optimize)

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        config, arranged = self.config, "arranged for inference" if self._arranged else "as trained"
        return (
            f"Reenactor of {config.name!r}, {config.image_size} px in, {config.output_size} px out, "
            f"{config.keypoints} keypoints, {dtype} on {self.device}, {arranged}"
        )

    @property
    def config(self) -> ModelConfig:
        return self.runner.config

    @property
    def weights(self) -> checkpoints.Weights:
        """Where they came from; "random" for none."""
        return self._weights[0]

    @property
    def networks(self) -> FaceVid2Vid:
        """What runs: the trained modules, or those arranged for inference."""
        return self.runner.networks

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
        self._arranged = optimize
        if optimize:
            networks = arrange(model, self.device, self.dtype)
        else:
            networks = self._model = model.to(self.device, self.dtype)
        self.runner = Runner(networks, self.device, self.dtype, graphs=optimize)

    def encode(self, portrait: Any, coefficients: Any = None) -> Source:
        """F, L, H and Δ on a portrait, once for all frames that follow.

        Args:
            portrait: a path, a PIL image, an (H, W, 3) uint8 array, or a float tensor in [0, 1], (3, H, W) or
                (B, 3, H, W).
            coefficients: the portrait's own, (n,) or (B, n), where the preset is driven by them; only there.
        """
        return self.runner.encode(portrait, coefficients)

    def extract(self, frames: Any) -> Motion:
        """H and Δ on one frame, or on a list of them: what a sender would transmit. Kinds as in `encode`.

        Where coefficients drive, `frames` is a sequence of them, (T, n); each frame sees those around it.
        """
        if self.config.driven_by == "coefficients":
            frames = list(driving_windows(frames, self.config.head))
        elif not isinstance(frames, list | tuple):
            frames = [frames]
        return self.runner.extract(self.runner.batch(frames))

    def render(
        self,
        source: Source,
        motion: Motion,
        anchor: Motion | None = None,
        view: View | Sequence[View] | None = None,
        **options: "Unpack[PictureKeywords]",
    ) -> Tensor:
        """What a receiver would show: the source moved by a motion of B frames.

        Args:
            source: from `encode`; one portrait, or B.
            motion: from `extract`, or received; B frames.
            anchor: what counts as no change, one frame or B; None moves absolutely.
            view: the head's pose as the receiver wants it, one for all frames or B of them.
            options: the others of `AnimationOptions` that concern a picture by itself (`PictureKeywords`).

        Returns:
            (B, 3, n, n) in [0, 1], n = `config.output_size`, in the dtype of the networks.

        Raises:
            ValueError: sizes that do not fit, NaN or infinite numbers in a motion.
        """
        chosen = AnimationOptions(view=view, **options).only_of_frames("render")
        motion = self.runner.received(motion, "frames")
        if anchor is not None:
            anchor = self.runner.received(anchor, "anchor")
        frames = chosen.frame_inputs(source, motion, anchor, view).checked()
        edits = check_edits(chosen.edit, len(motion), self.config)
        return self.runner.render(frames, edits)

    def animate(
        self,
        source: Source,
        frames: Iterable[Any] | Motion,
        options: AnimationOptions | None = None,
        *,
        made: Iterable[np.ndarray] = (),
        **keywords: "Unpack[AnimationKeywords]",
    ) -> Iterator[np.ndarray]:
        """Move the source as the driving frames move.

        Args:
            source: one portrait, from `encode`.
            frames: driving frames, of any kind that `encode` takes; read `batch_size` at a time, never kept.
                Where coefficients drive: a sequence of them, (T, n), as `extract` takes it. Or the motion of
                frames, from `extract` or `fv2v.read_motion`.
            options: how the source follows them, as one value.
            made: pictures of the first frames, from an earlier call: passed on in whole batches.
            keywords: the same one by one, which win: `relative`, `anchor`, `view`, `steady`, `edit`,
                `batch_size` and the others of `fv2v.reenactor.AnimationOptions`, which says what each does.

        Returns:
            An iterator over (H, W, 3) uint8 pictures, one a driving frame, each made when it is asked for. On
            a GPU the next frames are read and begun before those that are under way come out.

        Raises:
            ValueError: at once for arguments that do not fit; at the frame for frames, their views and edits.
        """
        chosen = replace(options or AnimationOptions(), **keywords)
        if len(source) != 1:
            raise ValueError(f"expected one source to animate, got {len(source)}; animate them one by one")
        if isinstance(frames, Motion):
            motion = self.runner.received(frames, "frames")
            frames = (motion[i : i + 1] for i in range(len(motion)))
        elif self.config.driven_by == "coefficients":
            frames = driving_windows(frames, self.config.head)
        elif isinstance(frames, str | os.PathLike):
            raise ValueError(f"expected driving frames, got the path {frames!r}; fv2v.read_video reads one")
        animation = Animation(self.runner, source, chosen)
        return pictures(self.config, animation, iter(frames), self.runner.batch, iter(made))

    def animate_film(
        self,
        pairs: Iterable[tuple[Source, Any]],
        options: AnimationOptions | None = None,
        *,
        made: Iterable[np.ndarray] = (),
        **keywords: "Unpack[AnimationKeywords]",
    ) -> Iterator[np.ndarray]:
        """Move the face in a film, each frame of which is a source of its own.

        LivePortrait's preset smooths what the frames are given, as its release does, for which it reads a few
        frames ahead; where movement is scaled to the source, it is as for the first frame.

        Args:
            pairs: of each frame its source, from `encode`, and what drives it, as `animate` takes a frame;
                None leaves it at rest. Read as pictures are asked for, and not kept.
            options, made, keywords: as `animate` takes them.

        Returns:
            As `animate`; one picture a pair.

        Raises:
            ValueError: as `animate`; for a preset that coefficients drive.
        """
        if self.config.driven_by == "coefficients":
            raise ValueError(
                f"{self.config.name!r} is driven by 3DMM coefficients, which move a picture: expected no film"
            )
        animation = FilmAnimation(self.runner, replace(options or AnimationOptions(), **keywords))
        frames = animation.frames(pairs)
        return pictures(self.config, animation, frames, animation.batch, iter(made))

    def imitate(
        self,
        source: Source,
        picture: Any,
        options: AnimationOptions | None = None,
        **keywords: "Unpack[AnimationKeywords]",
    ) -> np.ndarray:
        """The source as one driving picture has it, (H, W, 3) uint8.

        Relative, where the preset's release drives by pictures so (LivePortrait; the default there), moves
        nothing but the expression, away from lips at rest; of the region "eyes", away from 0. Elsewhere a
        picture drives absolutely.

        Args:
            source: from `encode`.
            picture: the driving one, of any kind that `encode` takes.
            options, keywords: of `AnimationOptions` `relative` and those of a frame by itself.

        Raises:
            ValueError: as `animate`; `relative=True` for a preset that has no face at rest.
        """
        chosen = replace(options or AnimationOptions(), **keywords).only_of_frames("imitate", "relative")
        motion = self.extract(picture)
        edits = check_edits(chosen.edit, 1, self.config)
        anchor = self.rest(motion, chosen.relative, *(edit.region for edit in edits))
        views = next_options(one_or_iterator(chosen.view), View, 1, 0)
        frames = chosen.frame_inputs(source, motion, anchor, views)
        return self.runner.levels(self.runner.render(frames, edits))[0].cpu().numpy()

    def rest(self, motion: Motion, relative: bool | None = None, region: str = "all") -> Motion | None:
        """What a driving picture's motion is measured against, as `imitate` has it; None: nothing.

        `region` is the edit's, where there is one.
        """
        anchor = resting(motion, self.config.geometry, region) if relative is not False else None
        if relative and anchor is None:
            raise ValueError(
                "relative motion is measured against a first frame, or a face at rest, which "
                f"{self.config.name!r} has not: give a video, or leave relative out to take this pose"
            )
        return anchor

    def frontalize(self, source: Source) -> np.ndarray:
        """The portrait looking straight ahead, its place and expression kept, (H, W, 3) uint8 (Sec. 3.3)."""
        check_has_pose(self.config, "a frontal face")
        if len(source) != 1:
            raise ValueError(f"expected one source to frontalize, got {len(source)}")
        frames = FrameInputs(source, source.motion, view=AHEAD)
        return self.runner.levels(self.runner.render(frames, graph=False))[0].cpu().numpy()

    def save(self, path: PathLike) -> None:
        """Write trained weights and config to a .safetensors, whole or not at all; `weights=path` reads it.

        With `optimize` they are read once more from where they came, which must still be there.
        """
        checkpoints.save(self.model, path)
