# SPDX-License-Identifier: Apache-2.0
"""A frame stays on its device: no tensor is made of numbers of the host, and none is read back.

No GPU is needed to see it. Tensors of the device "meta" have no data, so that reading one is an error, and
meet no tensors of the host; and every tensor must be an input, a weight, or what an operation made of them.
"""

import pytest
import torch
from tiny import TINIES, encoded
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fv2v import Reenactor, View
from fv2v.engine import arrange
from fv2v.engine.frame import FrameKind, FrameNetwork
from fv2v.geometry import apply_view
from fv2v.geometry.view import view_tensors

VIEWS = [View(yaw=5), View(pitch=5, translation=(0.1, 0.0, 0.0), mode="replace")]


class Watch(TorchDispatchMode):
    """Operations on tensors it knows, which make the tensors it will know."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self.known, self.operations = known, 0
        self.storages = {each.untyped_storage()._cdata for each in known}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor):
                assert tensor.untyped_storage()._cdata in self.storages, f"{function}: made on the host"
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                assert tensor.device.type == "meta", f"{function}: a result on {tensor.device}"
                self.known.append(tensor)  # or another storage could take its address
                self.storages.add(tensor.untyped_storage()._cdata)
        self.operations += 1
        return result


def inputs_of(network: FrameNetwork, reenactor: Reenactor) -> list[Tensor]:
    """For two frames."""
    config, source = reenactor.config, encoded(reenactor)
    shape = (config.head.inputs, config.head.window) if config.head.window else (3, *2 * [config.image_size])
    view = view_tensors(VIEWS, source.keypoints)
    movement = source.keypoints.new_ones(1, 1, 1)
    inputs = network.arguments(torch.rand(2, *shape), source, source.motion, movement, view)
    return [tensor.to("meta") for tensor in inputs]


@pytest.mark.parametrize("view", [None, "compose", "replace"])
@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
@pytest.mark.parametrize("config", TINIES, ids=lambda config: config.name)
@torch.inference_mode()
def test_a_frame_stays_on_its_device(config, relative, view):
    reenactor = Reenactor(config, weights="random")
    adapt = relative and config.geometry.transfer == "keypoint"
    networks = arrange(reenactor.model)  # as on a GPU
    network = FrameNetwork(networks, FrameKind(relative=relative, adapt_scale=adapt, view=view))
    inputs = inputs_of(network, reenactor)
    network.to("meta")
    with Watch([*inputs, *network.parameters(), *network.buffers()]) as watch:
        image = network(*inputs)
    assert image.shape == (2, 3, config.output_size, config.output_size)
    assert watch.operations > 100


@pytest.mark.parametrize("view", [VIEWS[0], VIEWS], ids=["one", "each"])
@torch.inference_mode()
def test_views_are_filled_in_on_the_device(view):
    reenactor = Reenactor(TINIES[0], weights="random")
    motion = encoded(reenactor).motion[[0, 0]].to(torch.device("meta"), torch.float32)
    known = [motion.rotation, motion.translation, motion.expression, motion.scale]
    with Watch(known):
        assert apply_view(motion, view, reenactor.config.geometry).rotation.is_meta


@pytest.mark.parametrize(
    "made",
    [
        lambda t: t * t.new_tensor([1.0, 0.0]),
        lambda t: t * torch.tensor([1.0, 0.0], device="meta"),
        lambda t: t * torch.tensor(0.5),
        lambda t: t + torch.ones(2).to("meta"),
    ],
)
def test_what_the_host_makes_is_seen(made):
    known = torch.empty(2, device="meta")
    with pytest.raises(AssertionError, match=r"made on the host|a result on cpu"), Watch([known]):
        made(known)
