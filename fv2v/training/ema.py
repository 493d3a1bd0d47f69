# SPDX-License-Identifier: Apache-2.0
"""The moving average of the weights, which is the model that training saves."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fv2v.networks import FaceVid2Vid


class Average:
    """An exponential moving average of a model's weights, in a model of its own.

    a ← d a + (1 − d) w after every step, with d = min(decay, (1 + n) / (10 + n)) at the n-th, so that the
    first weights soon count little. Parameters and running statistics of batch norms are averaged; counters
    and the vectors of spectral norms, whose average means nothing, are copied.

    `torch.optim.swa_utils.AveragedModel` pairs two models' tensors by their order, which training's spectral
    norms change, and averages all buffers or none.
    """

    def __init__(self, model: FaceVid2Vid, decay: float) -> None:
        self.model, self.decay, self.steps = model.eval().requires_grad_(False), decay, 0

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights after a step into the average: `plain_weights` of the model in training."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        own = self.model.state_dict()
        averaged = {name for name, _ in self.model.named_parameters()}
        averaged |= {name for name in own if name.endswith(("running_mean", "running_var"))}
        for name, tensor in own.items():
            if name in averaged:
                tensor.lerp_(weights[name].to(tensor.dtype), 1 - decay)
            else:
                tensor.copy_(weights[name])
