"""Drawn heads that nobody trained on, and what the renderer answers to each protocol.

Their stream of identities is set apart: training draws streams of small seeds. Faces are the stream's items
0, 2, 4, ..., and those that drive them across identities 1, 3, 5, ...

A source looks within 12 degrees to the side, since from there a view 40 degrees on is still a face; frames
that drive go as far as training's. Cross identity has an exact answer: the source's person with the
driver's expression, and in its pose. The driver's first frame, which counts as no change, has the source's
own expression and pose, so the answer is the same whether motion is absolute or relative, by the rule of any
preset.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fv2v.data.pairs import Truth
from fv2v.data.synthetic import Expression, Identity, Pose, SyntheticHeads, render, truth
from fv2v.geometry.rotation import rotation_from_euler
from fv2v.io.tensors import to_images, to_uint8
from fv2v.metrics.protocols import YAWS, Answers, Scene

HELD_OUT = 1_000_000_000  # streams from here on are for evaluation alone
STEP = 10  # degrees between the true views that the yaw check tells apart
SOURCE_EXTENT = 0.3  # of the poses that drive
SOURCE, DRIVING, DRIVER = 2, 3, 4  # what a seed is used for, beside those of SyntheticHeads


@dataclass(frozen=True, slots=True)
class Acted:
    """What a face does in B frames."""

    expression: Expression
    pose: Pose

    def __len__(self) -> int:
        return len(self.pose)

    @classmethod
    def cat(cls, parts: Sequence["Acted"]) -> "Acted":
        """One part after another."""
        expressions, poses = [part.expression for part in parts], [part.pose for part in parts]
        return cls(Expression.cat(expressions), Pose.cat(poses))


@dataclass(frozen=True, slots=True)
class Cast:
    """Who is in a scene, and what they do."""

    who: Identity
    other: Identity  # whose face drives `who`
    source: Acted  # of 1 frame: by `who` in its source, and by `other` where it counts as no change
    driving: Acted  # by `who`
    driver: Acted | None  # by `other`, and by `who` in the true answer


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Scenes of held-out heads, drawn when they are asked for: `held_out[3]`.

    Args:
        size: pixels across.
        identities: how many.
        frames: of each, the source included.
        seed: which of the streams set apart. 0 is for numbers that are told; whatever is chosen by results
            is chosen on others.
        pairs: so many of the first identities are also driven by another face.
        driven: frames of such a pair.
        device: where they are drawn.

    Raises:
        ValueError: a number that is no count.
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
                "expected identities >= 1, driven >= 1 and frames >= 2, a source and one that drives; "
                f"got {self.identities}, {self.driven} and {self.frames}"
            )
        if not 0 <= self.seed < HELD_OUT:
            raise ValueError(f"expected a seed from 0 to {HELD_OUT - 1}, got {self.seed}")

    def __len__(self) -> int:
        return self.identities

    def __iter__(self) -> Iterator[Scene]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Scene:
        cast = self.cast(number)
        source = cast.source
        clip = Acted.cat([source, cast.driving])
        straight = Acted(source.expression, replace(source.pose, rotation=torch.eye(3)[None]))
        frames, views, front = self._drawn(cast.who, clip, _turned(source), straight)
        driver = driver_truth = cross = None
        if cast.driver is not None:
            moved = Acted.cat([source, cast.driver])
            (driver,) = self._drawn(cast.other, moved)
            (cross,) = self._drawn(cast.who, cast.driver)
            driver_truth = _truth(cast.other, moved)
        return Scene(
            frames=frames,
            driver=driver,
            answers=Answers(frames[1:], views, front, cross),
            truth=_truth(cast.who, clip),
            driver_truth=driver_truth,
        )

    def cast(self, number: int) -> Cast:
        """What scene `number` is drawn from."""
        if not 0 <= number < len(self):
            raise IndexError(f"expected a scene from 0 to {len(self) - 1}, got {number}")
        stream = SyntheticHeads(self.size, 2 * len(self), HELD_OUT + self.seed)
        return Cast(
            who=stream.identity(2 * number),
            other=stream.identity(2 * number + 1),
            source=self._acted(SOURCE, number, 1, SOURCE_EXTENT),
            driving=self._acted(DRIVING, number, self.frames - 1),
            driver=self._acted(DRIVER, number, self.driven) if number < self.pairs else None,
        )

    def _acted(self, use: int, number: int, count: int, extent: float = 1.0) -> Acted:
        rng = np.random.default_rng((HELD_OUT + self.seed, use, number))
        return Acted(Expression.sample(rng, count), Pose.sample(rng, count, extent))

    def _drawn(self, who: Identity, *parts: Acted) -> list[Tensor]:
        """Of each part a person's frames, (B, 3, n, n), of 256 levels as data sets have them."""
        frames = Acted.cat(parts)
        person = who.repeat(len(frames)).to(self.device)
        expression, pose = frames.expression.to(self.device), frames.pose.to(self.device)
        levels = to_uint8(render(person, expression, pose, self.size)).cpu()
        return list(to_images(levels, self.size).split([len(part) for part in parts]))


def _turned(source: Acted) -> Acted:
    """One frame, its head turned on as `View` does: by each of YAWS, and by a step more to either side."""
    yaw = torch.arange(YAWS[0] - STEP, YAWS[-1] + STEP + 1, STEP, dtype=torch.float32)
    turn = rotation_from_euler(torch.zeros_like(yaw), yaw, torch.zeros_like(yaw))
    return Acted(source.expression.repeat(len(yaw)), source.pose.repeat(len(yaw)).turned(turn))


def _truth(who: Identity, frames: Acted) -> Truth:
    """In picture coordinates; the first frame is the source."""
    canonical, motion = truth(who.repeat(len(frames)), frames.expression, frames.pose)
    return Truth(canonical[:1], motion[:1], motion[1:])
