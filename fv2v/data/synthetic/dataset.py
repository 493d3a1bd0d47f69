"""Pairs of drawn frames, with the truth: what training and evaluation take in place of videos."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fv2v.data.pairs import Draw, Pairs, Truth
from fv2v.data.synthetic.acting import performance
from fv2v.data.synthetic.expression import Expression
from fv2v.data.synthetic.identity import Identity
from fv2v.data.synthetic.landmarks import truth
from fv2v.data.synthetic.pose import Pose
from fv2v.data.synthetic.render import check_size, render

WHO, HOW, CLIP = 0, 1, 2  # what a seed is used for


class SyntheticHeads:
    """A `PairData` of drawn heads: its items are identities, of a stream of them that `seed` names.

    Drawing takes its time (benches/bench_heads.py): training reads `HeadShards`.

    Args:
        size: pixels across.
        identities: how many.
        seed: of the stream; other seeds have other people.
        first: where in the stream they start. Ranges that do not meet have no face in common.

    Raises:
        ValueError: a number that is no count, or a size that `render` does not draw.
    """

    def __init__(self, size: int, identities: int, seed: int, first: int = 0) -> None:
        if identities < 1 or seed < 0 or first < 0:
            raise ValueError(
                f"expected identities >= 1, seed >= 0 and first >= 0, got {identities}, {seed} and {first}"
            )
        check_size(size)
        self.size, self.identities, self.seed, self.first = size, identities, seed, first

    def __len__(self) -> int:
        return self.identities

    def __getitem__(self, draw: Draw) -> Pairs:
        identity = self.identity(draw.index).repeat(2)
        expression, pose = self.frames(draw.index, 2, draw.seed)
        canonical, motion = truth(identity, expression, pose)
        pictures = to_bytes(render(identity, expression, pose, self.size))
        return Pairs(pictures[:1], pictures[1:], Truth(canonical[:1], motion[:1], motion[1:]))

    def identity(self, index: int) -> Identity:
        """Item `index`, a batch of one."""
        if not 0 <= index < self.identities:
            raise IndexError(f"expected an identity from 0 to {self.identities - 1}, got {index}")
        return Identity.sample(np.random.default_rng((self.seed, WHO, self.first + index)), 1)

    def frames(self, index: int, count: int, seed: int) -> tuple[Expression, Pose]:
        """What item `index` does in `count` frames, a function of the arguments alone."""
        rng = np.random.default_rng((self.seed, HOW, self.first + index, seed))
        return Expression.sample(rng, count), Pose.sample(rng, count)

    def clip(self, index: int, frames: int, fps: float = 25.0) -> Iterator[np.ndarray]:
        """Item `index` as it turns, blinks and speaks: pictures (size, size, 3) uint8."""
        identity = self.identity(index)
        rng = np.random.default_rng((self.seed, CLIP, self.first + index))
        expression, pose = performance(rng, frames, fps)
        for frame in range(frames):
            now = slice(frame, frame + 1)
            picture = to_bytes(render(identity, expression[now], pose[now], self.size))
            yield picture[0].permute(1, 2, 0).contiguous().numpy()


def to_bytes(pictures: Tensor) -> Tensor:
    """[0, 1] -> uint8, rounded."""
    return (255 * pictures + 0.5).to(torch.uint8)
