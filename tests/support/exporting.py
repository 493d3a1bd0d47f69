# SPDX-License-Identifier: Apache-2.0
"""Models whose pictures move, what an exported frame of them is fed, and what the Reenactor shows of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tiny import driving, encoded
from torch import Tensor, nn

from fv2v import ModelConfig, Reenactor, View
from fv2v.export import known_inputs
from fv2v.geometry import place
from fv2v.geometry.hull import movement_scale
from fv2v.geometry.view import view_tensors
from fv2v.motion.coefficients import driving_windows

BOUND = 1e-4  # of [0, 1]: a fortieth of what a pixel of 8 bits can tell
MOVED = 50 * BOUND  # how much a pixel must change from one frame to another for a test to mean something
VIEWS = {
    "compose": [View(yaw=5, pitch=-3, translation=(0.1, 0.0, 0.0)), View(roll=4)],
    "replace": [View(yaw=5, translation=(0.1, 0.0, 0.0), mode="replace"), View(roll=4)],
}


@torch.no_grad()
def awake(config: ModelConfig, seen: Sequence[np.ndarray]) -> Reenactor:
    """Random weights, louder in places, and norms of H whose statistics are those of the pictures `seen`.

    With statistics of nothing H hardly tells one picture from another. M and G keep them: so deep, with
    statistics of their own, random weights make rounding a hundred times larger at every network.
    """
    reenactor = Reenactor(config, weights="random", device="cpu", optimize=False)
    model = reenactor.model
    model.dense_motion.mask.weight.mul_(30)
    if config.direct:
        model.canonical.heatmap.weight.mul_(30)
    if config.generator.decoder == "residual":  # SPADE normalises
        model.generator.decoder.final.weight.mul_(30)
    if config.head.trunk == "resnet":  # the other trunks have no such norms
        for module in model.head.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train()
                module.momentum = 1.0
        model.head(torch.from_numpy(_pictures(seen)))
        model.eval()
    if config.head.scale:
        model.head.scale.bias.fill_(1)  # there are no faces of no size, or of less
    return reenactor


@torch.inference_mode()
def fed_and_shown(reenactor: Reenactor, options: dict[str, Any]) -> tuple[dict[str, np.ndarray], Tensor]:
    """The inputs by name, and the pictures (B, 3, n, n); `options` as `export_onnx` takes them."""
    config, B = reenactor.config, options.get("batch_size", 1)
    relative = options.get("relative", config.geometry.relative)
    source, driven = encoded(reenactor), driving(config, 3, seed=1)
    motion = reenactor.extract(driven if config.head.window else list(driven))
    anchor = motion[:1] if relative else None
    form = options.get("view")
    views = VIEWS[form][:B] if form else None
    movement = movement_scale(source, anchor) if options.get("adapt_scale") and anchor else None

    def shown(frames: slice) -> Tensor:
        factor = 1.0 if movement is None else movement
        placement = place(source, motion[frames], anchor, views, geometry=config.geometry, movement=factor)
        if options.get("stitch", True):
            placement = reenactor.networks.stitch(source, placement)
        return reenactor.networks.render(source, placement)

    view = view_tensors(views, source.keypoints, form) if views else None
    known = known_inputs(source, anchor, movement=movement, view=view)
    pictures = shown(slice(3 - B, 3))
    assert (pictures - shown(slice(0, B))).abs().max() > MOVED
    seen = _windows(config, driven) if config.head.window else _pictures(driven)
    return {"driving": np.ascontiguousarray(seen[3 - B :]), **known}, pictures


def _pictures(seen: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(seen).transpose(0, 3, 1, 2).astype(np.float32) / 255


def _windows(config: ModelConfig, coefficients: np.ndarray) -> np.ndarray:
    return driving_windows(coefficients, config.head).copy()
