# SPDX-License-Identifier: Apache-2.0
"""A model that makes no mistakes: it reads in a picture what it was drawn from, and draws what is asked."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from tiny import TINY
from torch import Tensor

from fv2v.data.synthetic import LANDMARKS, Expression, Pose, render
from fv2v.geometry import Motion, Source, View, apply_view, keypoints_of
from fv2v.io.tensors import to_images, to_uint8
from fv2v.metrics.held_out import HeadFrames, HeldOut, SceneRecipe
from fv2v.metrics.protocols import Scene

TINY_HEADS = replace(TINY, name="tiny-heads", keypoints=len(LANDMARKS))
VOXELS = TINY_HEADS.image_size // TINY_HEADS.volume_stride


class Perfect:
    """A `Reenactor` for the scenes of `heads` alone. `yaw_error`: degrees added to every view."""

    def __init__(self, heads: HeldOut, scenes: Sequence[Scene], yaw_error: float = 0.0) -> None:
        self.config, self.device = TINY_HEADS, torch.device("cpu")
        self.yaw_error = yaw_error
        self._recipes = [heads.recipe(number) for number in range(len(heads))]
        self._sources: dict[bytes, Source] = {}
        self._motions: dict[bytes, Motion] = {}
        self._expressions: dict[bytes, Expression] = {}  # by δ
        for number, scene in enumerate(scenes):
            self._learn(number, scene, self._recipes[number])

    def encode(self, picture: Tensor) -> Source:
        return self._sources[key(picture[0])]

    def extract(self, frames: Tensor) -> Motion:
        return Motion.cat([self._motions[key(frame)] for frame in frames])

    def render(
        self,
        source: Source,
        motion: Motion,
        anchor: Motion | None = None,
        view: Sequence[View] | None = None,
    ) -> Tensor:
        expression = self._shown(motion.expression)
        if anchor is not None:
            assert_equal(self._shown(anchor.expression), self._shown(source.motion.expression))
            own = source.motion
            motion = replace(
                motion,
                rotation=motion.rotation @ anchor.rotation.mT @ own.rotation,
                translation=own.translation + motion.translation - anchor.translation,
            )
        if view is not None:
            view = [View(yaw=wish.yaw + self.yaw_error) for wish in view]
        motion = apply_view(motion, view, self.config.geometry)
        pose = Pose(motion.rotation, motion.translation * (VOXELS - 1) / VOXELS)
        who = self._recipes[int(source.features)].identity.repeat(len(pose))
        return to_images(to_uint8(render(who, expression, pose, 32)), 32)

    def frontalize(self, source: Source) -> np.ndarray:
        straight = replace(source.motion, rotation=torch.eye(3)[None])
        return to_uint8(self.render(source, straight)).cpu().numpy()[0]

    def _learn(self, number: int, scene: Scene, recipe: SceneRecipe) -> None:
        truth = scene.truth.on_lattice(VOXELS)
        self._sources[key(scene.frames[0])] = Source(
            features=torch.full((1, 1, 1, 1, 1), number),
            compressed=torch.empty(1, 1, 1, 1, 1),
            canonical=truth.canonical,
            jacobians=None,
            motion=truth.source,
            keypoints=keypoints_of(truth.canonical, truth.source),
        )
        self._know(scene.frames, Motion.cat([truth.source, truth.driving]), [recipe.source, recipe.driving])
        if scene.driver is not None:
            other = scene.driver_truth.on_lattice(VOXELS)
            self._know(
                scene.driver, Motion.cat([other.source, other.driving]), [recipe.source, recipe.driver]
            )

    def _know(self, frames: Tensor, motion: Motion, acts: list[HeadFrames]) -> None:
        expressions = HeadFrames.cat(acts).expression
        for i, frame in enumerate(frames):
            self._motions[key(frame)] = motion[i : i + 1]
            self._expressions[key(motion.expression[i])] = expressions[i : i + 1]

    def _shown(self, deltas: Tensor) -> Expression:
        """The expressions that are seen in δ (B, K, 3)."""
        return Expression.cat([self._expressions[key(delta)] for delta in deltas])


def assert_equal(one: Expression, other: Expression) -> None:
    """Else no expression that can be drawn is the answer to a change from one of them."""
    assert all(torch.equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))


def key(tensor: Tensor) -> bytes:
    return tensor.numpy().tobytes()
