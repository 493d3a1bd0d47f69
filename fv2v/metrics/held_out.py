# SPDX-License-Identifier: Apache-2.0
"""Drawn heads that no training uses, with the true pictures of every protocol.

Their seeds are reserved: training draws identities of small seeds. The sources are a seed's identities 0, 2,
4, ..., and those that drive them across identities 1, 3, 5, ...

Sources are turned by 12 degrees at most, so that a view turned by 40 degrees more still shows a face; driving
frames have the same range as in training. Cross identity has an exact true picture: the source's person with
the driver's expression and pose. The driver's first frame, which is the anchor of relative motion, has the
source's own expression and pose. So the true picture is the same for absolute and relative motion, by the
rule of any preset.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fv2v.batch import Batched
from fv2v.data.pairs import Truth
from fv2v.data.synthetic import Expression, Identity, Pose, SyntheticHeads, regions, render, truth
from fv2v.geometry.rotation import rotation_from_euler
from fv2v.io.tensors import to_images, to_uint8
from fv2v.metrics.protocols import YAWS, Scene, TruePictures

HELD_OUT = 1_000_000_000  # seeds from here on are for evaluation alone
STEP = 10  # degrees between the true views that the yaw check tells apart
SOURCE_EXTENT = 0.3  # of the range of driving poses
SOURCE, DRIVING, DRIVER = 2, 3, 4  # keys of random streams, beside those of SyntheticHeads


@dataclass(frozen=True, slots=True)
class HeadFrames(Batched):
    """Expressions and poses of a head in B frames."""

    expression: Expression
    pose: Pose


@dataclass(frozen=True, slots=True)
class SceneRecipe:
    """The parameters that a scene is drawn from."""

    identity: Identity
    other: Identity  # of the face that drives across identities
    source: HeadFrames  # 1 frame: the source of `identity`, and the anchor of `other`
    driving: HeadFrames  # of `identity`
    driver: HeadFrames | None  # of `other`, and of `identity` in the true pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Scenes of held-out heads, drawn at each access: `held_out[3]`.

    Args:
        size: side of the pictures, in pixels.
        identities: how many.
        frames: of each, the source included.
        seed: which of the reserved seeds. 0 is for reported numbers; whatever is tuned by results is tuned on
            others.
        pairs: how many identities, from the first on, are also driven by another face.
        driven: frames of such a pair.
        device: where they are drawn.

    Raises:
        ValueError: a number out of range.
    """

    size: int
    identities: int = 64
    frames: int = 16
    seed: int = 0
    pairs: int = 32
    driven: int = 4
    device: str | torch.device = "cpu"

    def __post_init__(self) -> None:
        if self.identities < 1 or self.frames < 2 or self.driven < 1:
            raise ValueError(
                "expected identities >= 1, driven >= 1 and frames >= 2, a source and a driving frame; "
                f"got {self.identities}, {self.driven} and {self.frames}"
            )
        if not 0 <= self.seed < HELD_OUT:
            raise ValueError(f"expected a seed from 0 to {HELD_OUT - 1}, got {self.seed}")

    def __len__(self) -> int:
        return self.identities

    def __iter__(self) -> Iterator[Scene]:
        return (self[number] for number in range(len(self)))

    def scene(self, number: int) -> Scene:
        """As `held_out[number]`."""
        return self[number]

    def __getitem__(self, number: int) -> Scene:
        recipe = self.recipe(number)
        source = recipe.source
        clip = HeadFrames.cat([source, recipe.driving])
        straight = HeadFrames(source.expression, replace(source.pose, rotation=torch.eye(3)[None]))
        frames, views, front = self._drawn(recipe.identity, clip, _turned(source), straight)
        driver = driver_truth = cross = None
        if recipe.driver is not None:
            moved = HeadFrames.cat([source, recipe.driver])
            (driver,) = self._drawn(recipe.other, moved)
            (cross,) = self._drawn(recipe.identity, recipe.driver)
            driver_truth = _truth(recipe.other, moved)
        return Scene(
            frames=frames,
            driver=driver,
            true=TruePictures(frames[1:], views, front, cross, self._regions(recipe)),
            truth=_truth(recipe.identity, clip),
            driver_truth=driver_truth,
        )

    def recipe(self, number: int) -> SceneRecipe:
        """The parameters of scene `number`."""
        if not 0 <= number < len(self):
            raise IndexError(f"expected a scene from 0 to {len(self) - 1}, got {number}")
        stream = SyntheticHeads(self.size, 2 * len(self), HELD_OUT + self.seed)
        return SceneRecipe(
            identity=stream.identity(2 * number),
            other=stream.identity(2 * number + 1),
            source=self._frames(SOURCE, number, 1, SOURCE_EXTENT),
            driving=self._frames(DRIVING, number, self.frames - 1),
            driver=self._frames(DRIVER, number, self.driven) if number < self.pairs else None,
        )

    def _frames(self, use: int, number: int, count: int, extent: float = 1.0) -> HeadFrames:
        rng = np.random.default_rng((HELD_OUT + self.seed, use, number))
        return HeadFrames(Expression.sample(rng, count), Pose.sample(rng, count, extent))

    def _drawn(self, identity: Identity, *parts: HeadFrames) -> list[Tensor]:
        """Each part's pictures of a person, (B, 3, n, n), rounded to 256 levels as in data sets."""
        frames = HeadFrames.cat(parts).to(self.device)
        person = identity.repeat(len(frames)).to(self.device)
        levels = to_uint8(render(person, frames.expression, frames.pose, self.size)).cpu()
        return list(to_images(levels, self.size).split([len(part) for part in parts]))

    def _regions(self, recipe: SceneRecipe) -> Tensor:
        """(T-1, n, n) of the driven frames."""
        frames = recipe.driving.to(self.device)
        person = recipe.identity.repeat(len(frames)).to(self.device)
        return regions(person, frames.expression, frames.pose, self.size).cpu()


def _turned(source: HeadFrames) -> HeadFrames:
    """One frame, its head turned further as by `View`: by each of YAWS, and a step beyond both ends."""
    yaw = torch.arange(YAWS[0] - STEP, YAWS[-1] + STEP + 1, STEP, dtype=torch.float32)
    turn = rotation_from_euler(torch.zeros_like(yaw), yaw, torch.zeros_like(yaw))
    views = source.repeat(len(yaw))
    return replace(views, pose=views.pose.turned(turn))


def _truth(identity: Identity, frames: HeadFrames) -> Truth:
    """In picture coordinates; the first frame is the source."""
    canonical, motion = truth(identity.repeat(len(frames)), frames.expression, frames.pose)
    return Truth(canonical[:1], motion[:1], motion[1:])
