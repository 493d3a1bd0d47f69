# SPDX-License-Identifier: Apache-2.0
"""Pairs of drawn frames with their truth, for training and evaluation without videos."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fv2v.data.pairs import Draw, Pairs, Truth
from fv2v.data.synthetic.acting import performance
from fv2v.data.synthetic.expression import Expression
from fv2v.data.synthetic.hand import Hand
from fv2v.data.synthetic.identity import Identity
from fv2v.data.synthetic.landmarks import truth
from fv2v.data.synthetic.photo import Camera, Photo, photographed
from fv2v.data.synthetic.pose import Pose
from fv2v.data.synthetic.render import check_size, render

IDENTITY, FRAMES, CLIP = 0, 1, 2  # keys of random streams of one seed
PHOTO, HANDS, CAMERA = 5, 6, 7  # of "photograph" alone; metrics/held_out.py has those between
LOOKS = ("plain", "photograph")
PLAIN_EVERY = 4  # of photographed identities one is plain, as the held-out heads are


class SyntheticHeads:
    """A `PairData` of drawn heads. Items are identities, from an endless list that `seed` determines.

    Drawing is slow (benches/bench_heads.py): training reads `HeadShards`.

    Args:
        size: side of the pictures, in pixels.
        identities: how many.
        seed: of the list of identities.
        first: the number of the first identity in the list. Disjoint ranges have no identity in common.
        look: "plain"; or "photograph": skin, shadows and a camera as in photographs, hats, hands, and wider
            expressions. Faces are those of the same identities. One in four keeps its plain skin and camera.

    Raises:
        ValueError: a number out of range, or a size that `render` does not draw.
    """

    def __init__(self, size: int, identities: int, seed: int, first: int = 0, look: str = "plain") -> None:
        if identities < 1 or seed < 0 or first < 0:
            raise ValueError(
                f"expected identities >= 1, seed >= 0 and first >= 0, got {identities}, {seed} and {first}"
            )
        check_size(size)
        if look not in LOOKS:
            raise ValueError(f"expected a look, one of {', '.join(LOOKS)}; got {look!r}")
        self.look = look
        self.size, self.identities, self.seed, self.first = size, identities, seed, first

    def __len__(self) -> int:
        return self.identities

    def __getitem__(self, draw: Draw) -> Pairs:
        identity = self.identity(draw.index).repeat(2)
        expression, pose = self.frames(draw.index, 2, draw.seed)
        canonical, motion = truth(identity, expression, pose)
        pictures = self.pictures(draw.index, draw.seed, expression, pose)
        return Pairs(pictures[:1], pictures[1:], Truth(canonical[:1], motion[:1], motion[1:]))

    def identity(self, index: int) -> Identity:
        """Item `index`, a batch of one."""
        if not 0 <= index < self.identities:
            raise IndexError(f"expected an identity from 0 to {self.identities - 1}, got {index}")
        identity = Identity.sample(self._stream(IDENTITY, index), 1)
        if self.look == "plain" or (self.first + index) % PLAIN_EVERY == PLAIN_EVERY - 1:
            return identity
        return replace(identity, photo=Photo.sample(self._stream(PHOTO, index), 1))

    def frames(self, index: int, count: int, seed: int) -> tuple[Expression, Pose]:
        """Expressions and poses of item `index` in `count` frames, a function of the arguments alone."""
        rng, wide = self._stream(FRAMES, index, seed), self.look != "plain"
        expression, pose = Expression.sample(rng, count, wide=wide), Pose.sample(rng, count)
        return expression, replace(
            pose, hand=Hand.sample(self._stream(HANDS, index, seed), count)
        ) if wide else pose

    def pictures(self, index: int, seed: int, expression: Expression, pose: Pose) -> Tensor:
        """Of item `index` in the B frames that `frames` returns for `seed`: (B, 3, size, size) uint8."""
        count, identity = len(pose), self.identity(index)
        drawn = render(identity.repeat(count), expression, pose, self.size)
        if identity.photo is not None:
            camera = Camera.sample(self._stream(CAMERA, index), 1)
            frames = camera.of_a_clip(self._stream(CAMERA, index, seed), count)
            drawn = photographed(drawn, frames)
        return to_bytes(drawn)

    def clip(self, index: int, frames: int, fps: float = 25.0) -> Iterator[np.ndarray]:
        """Frames of item `index`, who turns, blinks and speaks: (size, size, 3) uint8 each."""
        identity = self.identity(index)
        rng = self._stream(CLIP, index)
        expression, pose = performance(rng, frames, fps)
        for frame in range(frames):
            now = slice(frame, frame + 1)
            picture = to_bytes(render(identity, expression[now], pose[now], self.size))
            yield picture[0].permute(1, 2, 0).contiguous().numpy()

    def _stream(self, use: int, index: int, *more: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, use, self.first + index, *more))


def to_bytes(pictures: Tensor) -> Tensor:
    """[0, 1] -> uint8. Halves are rounded up, unlike io/tensors.py, so that data sets stay as they are."""
    return (255 * pictures + 0.5).to(torch.uint8)
