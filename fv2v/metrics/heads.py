"""Drawn heads that nobody trained on, and what the renderer answers to each protocol.

Their stream of identities is set apart: training draws streams of small seeds. Faces are the stream's items
0, 2, 4, ..., and those that drive them across identities 1, 3, 5, ...

A source looks within 12 degrees to the side, since from there a view 40 degrees on is still a face; frames
that drive go as far as training's. Cross identity has an exact answer: the source's person with the
driver's expression, and in its pose. The driver's first frame, which counts as no change, has the source's
own expression and pose, so the answer is the same whether motion is absolute or relative, by the rule of any
preset.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fv2v.data.heads import Expression, Identity, Pose, SyntheticHeads, render, truth
from fv2v.data.pairs import Truth
from fv2v.metrics.protocols import YAWS, Answers, Scene
from fv2v.rotation import rotation_from_euler

HELD_OUT = 1_000_000_000  # streams from here on are for evaluation alone
STEP = 10  # degrees between the true views that the yaw check tells apart
SOURCE_EXTENT = 0.3  # of the poses that drive
SOURCE, DRIVEN, DRIVER = 2, 3, 4  # what a seed is used for, beside those of SyntheticHeads


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Held-out heads, drawn when they are asked for: `held_out[3]`.

    Args:
        size: pixels across.
        identities: how many.
        frames: of each, the source included.
        seed: which of the streams set apart. Whatever is chosen by its results must not be reported of it:
            tune on other seeds than those of the numbers told.
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
    device: torch.device = torch.device("cpu")

    def __post_init__(self) -> None:
        if self.identities < 1 or self.frames < 2 or self.driven < 1 or not 0 <= self.seed < HELD_OUT:
            raise ValueError(
                "expected identities >= 1, frames >= 2 (a source and one that drives), driven >= 1 and a seed "
                f"from 0 on, got {self.identities}, {self.frames}, {self.driven} and {self.seed}"
            )

    def __len__(self) -> int:
        return self.identities

    def __iter__(self) -> Iterator[Scene]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Scene:
        if not 0 <= number < len(self):
            raise IndexError(f"expected a head from 0 to {len(self) - 1}, got {number}")
        stream = SyntheticHeads(self.size, 2 * len(self), HELD_OUT + self.seed)
        who, other = (stream.identity(2 * number + i) for i in range(2))
        how = self._drawn(SOURCE, number, 1, SOURCE_EXTENT)
        driving = self._drawn(DRIVEN, number, self.frames - 1)
        views = _turned(how, [*range(YAWS[0] - STEP, YAWS[-1] + STEP + 1, STEP)])
        straight = replace(how, pose=replace(how.pose, rotation=torch.eye(3)[None]))
        frames, turned, front = self._rendered(who, how.then(driving), views, straight)
        driver = driver_truth = cross = None
        if number < self.pairs:
            moved = self._drawn(DRIVER, number, self.driven)
            (driver,) = self._rendered(other, how.then(moved))
            (cross,) = self._rendered(who, moved)
            driver_truth = _truth(other, how.then(moved))
        return Scene(
            frames=frames,
            truth=_truth(who, how.then(driving)),
            driver=driver,
            driver_truth=driver_truth,
            answers=Answers(frames[1:], turned, front, cross),
        )

    def _drawn(self, use: int, number: int, count: int, extent: float = 1.0) -> "_Frames":
        rng = np.random.default_rng((HELD_OUT + self.seed, use, number))
        return _Frames(Expression.sample(rng, count), Pose.sample(rng, count, extent))

    def _rendered(self, who: Identity, *parts: "_Frames") -> list[Tensor]:
        """A person's frames, (B, 3, n, n) of each part, of 256 levels as data sets have them."""
        frames = _Frames(
            Expression.cat([part.expression for part in parts]), Pose.cat([part.pose for part in parts])
        )
        device = self.device
        person = who.repeat(len(frames.pose)).to(device)
        pictures = render(person, frames.expression.to(device), frames.pose.to(device), self.size)
        levels = (255 * pictures.cpu()).round() / 255
        return list(levels.split([len(part.pose) for part in parts]))


@dataclass(frozen=True, slots=True)
class _Frames:
    """What a face does."""

    expression: Expression
    pose: Pose

    def then(self, others: "_Frames") -> "_Frames":
        return _Frames(
            Expression.cat([self.expression, others.expression]), Pose.cat([self.pose, others.pose])
        )


def _turned(frames: _Frames, yaws: list[int]) -> _Frames:
    """One frame (1), its head turned on by each of so many degrees, as `View` does."""
    yaw = torch.tensor(yaws, dtype=torch.float32)
    turn = rotation_from_euler(torch.zeros_like(yaw), yaw, torch.zeros_like(yaw))
    return _Frames(frames.expression.repeat(len(yaws)), frames.pose.repeat(len(yaws)).turned(turn))


def _truth(who: Identity, frames: _Frames) -> Truth:
    """In picture coordinates; the first frame is the source."""
    canonical, motion = truth(who.repeat(len(frames.pose)), frames.expression, frames.pose)
    return Truth(canonical[:1], motion[:1], motion[1:])
