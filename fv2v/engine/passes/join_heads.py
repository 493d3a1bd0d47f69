# SPDX-License-Identifier: Apache-2.0
"""H and Δ after their trunk: one matrix product for all heads, and three angles made a rotation at once.

Separate heads are some fifty operations on a few numbers each, whose launches cost a GPU far more than their
arithmetic. Here they are a dozen operations of stock PyTorch.
"""

from typing import Any

import torch
from torch import Tensor, nn

from fv2v.engine.passes.layers import linear_of
from fv2v.geometry import Motion, coordinate_dtype
from fv2v.networks import FaceVid2Vid, HeadEstimate, HeadEstimator


def join_heads(model: FaceVid2Vid) -> None:
    """In place: `model.head`, where there is one."""
    if model.head is not None:
        model.add_module("head", JoinedHeads(model.head))


class JoinedHeads(nn.Module):
    """As `HeadEstimator`: what the trunk reads, (B, ...) -> `HeadEstimate`."""

    # constants, in the coordinates' dtype: (3, 3, 3, 3) the three matrices of `_turn` for each factor of the
    # product, and (bins,) the angle that each bin stands for, in radians
    turns: Tensor
    angles: Tensor

    def __init__(self, head: HeadEstimator) -> None:
        super().__init__()
        self.trunk = head.trunk
        geometry, pitch = head.geometry, head.pitch
        angles = {"x": head.pitch, "y": head.yaw, "z": head.roll}
        binned = [angles[axis].bins for axis in geometry.euler_order]  # in the order of the product
        others = [head.translation, head.expression, head.scale, head.canonical]
        layers = [*binned, *(layer for layer in others if layer is not None)]
        self.bins = pitch.bins.out_features
        used = layers[0].weight.new_tensor([axis in geometry.translation for axis in "xyz"])
        weights, biases = ([getattr(layer, name) for layer in layers] for name in ("weight", "bias"))
        weights[3], biases[3] = weights[3] * used.unsqueeze(1), biases[3] * used
        if head.scale is None:  # it is 1
            weights.insert(5, torch.zeros_like(weights[3][:1]))
            biases.insert(5, torch.ones_like(biases[3][:1]))
        self.sizes = [3 * self.bins, *map(len, biases[3:])]
        self.heads = linear_of(torch.cat(weights), torch.cat(biases))
        last = pitch.per_bin * (self.bins - 1) - pitch.offset
        self.first, self.last = (degrees / 180 * geometry.pi for degrees in (-pitch.offset, last))
        self.order = geometry.euler_order
        for name in ("turns", "angles"):
            self.register_buffer(name, torch.empty(0), persistent=False)
        self._set_constants()

    def _apply(self, *args: Any, **kwargs: Any) -> "JoinedHeads":
        """What `.half()` and `.to()` do, but that constants are made anew rather than rounded to half."""
        super()._apply(*args, **kwargs)
        self._set_constants()
        return self

    def _set_constants(self) -> None:
        weight = self.heads.weight
        place: Any = {"device": weight.device, "dtype": coordinate_dtype(weight.dtype)}
        self.turns = torch.stack([_turn("xyz".index(axis)) for axis in self.order]).to(**place)
        self.angles = torch.linspace(self.first, self.last, self.bins, **place)

    def forward(self, driving: Tensor) -> HeadEstimate:
        output = self.heads(self.trunk(driving))
        output = output.to(coordinate_dtype(output.dtype))
        logits, translation, expression, scale, *canonical = output.split(self.sizes, dim=1)
        weights = logits.unflatten(1, (3, self.bins)).softmax(-1)
        radians = (weights @ self.angles)[..., None, None]  # (B, 3, 1, 1), expected over bins
        cosine, sine, rest = self.turns.unbind(1)
        turns = torch.addcmul(torch.addcmul(rest, radians.cos(), cosine), radians.sin(), sine)
        first, second, third = turns.unbind(1)  # (B, 3, 3) each
        motion = Motion(first @ second @ third, translation, expression.unflatten(1, (-1, 3)), scale)
        return HeadEstimate(motion, canonical[0].unflatten(1, (-1, 3)) if canonical else None)


def _turn(axis: int) -> Tensor:
    """Three matrices: a rotation about x, y or z is cos × the first + sin × the second + the third."""
    following, last = (axis + 1) % 3, (axis + 2) % 3
    parts = torch.zeros(3, 3, 3)
    parts[0, following, following] = parts[0, last, last] = 1
    parts[1, last, following], parts[1, following, last] = 1, -1
    parts[2, axis, axis] = 1
    return parts
