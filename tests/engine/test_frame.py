# SPDX-License-Identifier: Apache-2.0
"""One driving frame as a function of tensors is what the Reenactor shows."""

import numpy as np
import pytest
import torch
from tiny import TINIES, TINY_VOX, driving, encoded, lively
from torch import Tensor

from fv2v import Reenactor, View
from fv2v.engine.frame import FrameKind, FrameNetwork
from fv2v.geometry.hull import movement_scale
from fv2v.geometry.view import view_tensors
from fv2v.motion.coefficients import driving_windows

VIEWS = {
    None: None,
    "compose": View(yaw=20, pitch=-5, translation=(0.1, 0.0, 0.0)),
    "replace": View(yaw=20, translation=(0.1, 0.0, 0.05), mode="replace"),
}


@pytest.fixture(scope="module", params=TINIES, ids=lambda config: config.name)
def reenactor(request) -> Reenactor:
    return lively(Reenactor(request.param, weights="random", dtype="float64"))


def as_tensor(reenactor: Reenactor, driven) -> Tensor:
    """What drives, as the networks take it."""
    if reenactor.config.head.window:
        return torch.from_numpy(driving_windows(driven, reenactor.config.head).copy()).double()
    return torch.from_numpy(np.stack(driven)).permute(0, 3, 1, 2) / torch.tensor(255.0, dtype=torch.float64)


@pytest.mark.parametrize("form", VIEWS)
@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
@torch.inference_mode()
def test_it_is_what_render_shows(reenactor, relative, form):
    source, driven = encoded(reenactor), driving(reenactor.config, 3, seed=1)
    motion = reenactor.extract(driven if reenactor.config.head.window else list(driven))
    anchor, view = motion[:1] if relative else None, VIEWS[form]
    tensors = view and view_tensors([view], source.keypoints)
    for stitch in (True, False):
        network = FrameNetwork(reenactor.networks, FrameKind(relative=relative, stitch=stitch, view=form))
        inputs = network.arguments(as_tensor(reenactor, driven), source, anchor, view=tensors)
        expected = reenactor.render(source, motion, anchor, view, stitch=stitch)
        torch.testing.assert_close(network(*inputs), expected, rtol=0, atol=1e-6)
    if view is None:  # which may turn keypoints, louder than any face's, out of the volume
        assert (expected[1] - expected[2]).abs().max() > 1e-3, "the test would see no motion"


@torch.inference_mode()
def test_adapted_movement(reenactor):
    if reenactor.config.geometry.transfer != "keypoint":
        pytest.skip("movement is adapted by the rule `keypoint` alone")
    source, driven = encoded(reenactor), driving(reenactor.config, 2, seed=1)
    anchor = reenactor.extract(driven if reenactor.config.head.window else list(driven))[:1]
    movement = movement_scale(source, anchor)
    network = FrameNetwork(reenactor.networks, FrameKind(relative=True, adapt_scale=True))
    images = network(*network.arguments(as_tensor(reenactor, driven), source, anchor, movement))
    animated = reenactor.animate(source, driven, relative=True, adapt_scale=True)
    for image, expected in zip(images, animated, strict=True):
        levels = image.permute(1, 2, 0) * 255
        assert (levels - torch.from_numpy(expected)).abs().max() <= 0.5 + 1e-3, "rounding, and float32's"


@torch.inference_mode()
def test_views_of_any_kind_beside_each_other(reenactor):
    source, driven = encoded(reenactor), driving(reenactor.config, 3, seed=1)
    views = [View(yaw=25), View(yaw=25, mode="replace"), View(translation=(0.0, 0.1, 0.0), mode="replace")]
    network = FrameNetwork(reenactor.networks, FrameKind(relative=False, view="replace"))
    tensors = view_tensors(views, source.keypoints)
    images = network(*network.arguments(as_tensor(reenactor, driven), source, view=tensors))
    motion = reenactor.extract(driven if reenactor.config.head.window else list(driven))
    for i, view in enumerate(views):
        expected = reenactor.render(source, motion[i : i + 1], view=view)
        torch.testing.assert_close(images[i : i + 1], expected, rtol=0, atol=1e-6)


def test_what_is_missing_is_named():
    reenactor = Reenactor(TINY_VOX, weights="random")
    network = FrameNetwork(reenactor.networks, FrameKind(relative=True, adapt_scale=True, view="replace"))
    source = encoded(reenactor)
    view = view_tensors([View(yaw=5)], source.keypoints)
    with pytest.raises(ValueError, match=r"got none for movement, view_keeps$"):
        network.arguments(torch.zeros(1, 3, 32, 32), source, source.motion, view=view)
