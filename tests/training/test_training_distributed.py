# SPDX-License-Identifier: Apache-2.0
"""Two processes learn what one learns from both their batches."""

import random
import socket
from contextlib import suppress

import pytest
import torch
from runs import CPU, WITHOUT_JACOBIANS, clips, gradients_of_a_step, start_child, trained
from safetensors.torch import load_file
from torch.nn import BatchNorm2d, BatchNorm3d

from fv2v.training import state as run_state
from fv2v.training.sync_norm import SharedBatchNorm, synchronise_norms
from fv2v.training.trainer import MODEL


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes left: `one_of_two` in training_children.py."""
    folder = tmp_path_factory.mktemp("distributed")
    clips(folder / "clips")
    there = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    children = [start_child("one_of_two", folder, RANK=str(i), LOCAL_RANK=str(i), **there) for i in range(2)]
    for child in children:
        out, _ = child.communicate(timeout=600)
        assert child.returncode == 0, out
    return folder


def free_port() -> int:
    """Below those that the system gives to whoever asks for any, for it is listened at seconds later."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm().clamp(min=1e-12))


def test_gradients_and_statistics_are_those_of_the_whole_batch(folder):
    two = torch.load(folder / "gradients.pt", weights_only=True)
    one = gradients_of_a_step(CPU)
    for name in ("model", "discriminator"):
        assert relative(two[name], one[name]) <= 1e-8
        assert float(one[name].norm()) > 0.1
    assert two["norms"].keys() == one["norms"].keys()
    for name, statistics in one["norms"].items():
        assert relative(two["norms"][name], statistics) <= 1e-8, name
    for name, value in one["values"].items():
        assert two["values"][name] == pytest.approx(value, rel=1e-8, abs=1e-12), name


def test_the_first_writes_for_both(folder, tmp_path):
    run = folder / "run"
    assert [path.name for path in run_state.found(run)] == ["step-00000002.pt", "step-00000004.pt"]
    assert len(list(run.glob("events*"))) == 1
    settings = {"accumulate": 2, "losses": WITHOUT_JACOBIANS}
    alone = trained(folder, output=tmp_path / "alone", **settings)
    both, own = load_file(run / MODEL), alone.model.state_dict()
    assert both.keys() == own.keys()
    start = trained(folder, output=tmp_path / "start", steps=1, **settings).model.state_dict()
    moved = sum(float((own[name] - start[name]).square().sum()) for name in own)
    apart = sum(float((own[name] - both[name]).square().sum()) for name in own)
    assert apart < 0.01 * moved


def test_norms_are_found_in_place():
    """Alone, a shared norm is torch's own: in training, in evaluation, and in what a checkpoint holds."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(BatchNorm2d(3), torch.nn.Sequential(BatchNorm2d(3)))
    names = list(model.state_dict())
    shared = synchronise_norms(model, torch.device("cpu"))
    assert shared is model
    assert list(model.state_dict()) == names
    assert isinstance(model[0], SharedBatchNorm)
    assert isinstance(model[1][0], SharedBatchNorm)
    assert not model.eval()[1][0].training
    image = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(
        model(image), torch.nn.Sequential(BatchNorm2d(3), BatchNorm2d(3)).eval()(image)
    )
    assert (
        BatchNorm3d(2).state_dict().keys()
        == synchronise_norms(torch.nn.Sequential(BatchNorm3d(2)), torch.device("cpu"))[0].state_dict().keys()
    )
