# SPDX-License-Identifier: Apache-2.0
"""SPADE's parts. What whole decoders compute is in test_parity.py."""

import subprocess
import sys

import pytest
import torch
from torch.nn.functional import conv2d, instance_norm, leaky_relu, relu

from fv2v.config import GeneratorConfig
from fv2v.networks.spade import Spade, SpadeBlock, SpectralConv2d

CONFIG = GeneratorConfig(width=6, decoder="spade", widths=(8, 4), residual_blocks=1, modulation_width=5)


@pytest.fixture
def conv() -> SpectralConv2d:
    torch.manual_seed(0)
    return SpectralConv2d(3, 4, 3, padding=1)


def test_without_storage_nothing_is_computed():
    """On the device "meta" power iterations would import the compiler of PyTorch, which takes a second."""
    code = """
import sys, torch
from fv2v.networks.spade import SpectralConv2d
with torch.device("meta"):
    assert SpectralConv2d(3, 4, 3).weight_u.is_meta
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sigma_is_made_of_the_stored_vectors(conv):
    """Not of converged ones: weights were trained, and recorded, with those in the file."""
    x = torch.randn(2, 3, 5, 6)
    conv.eval()
    sigma = conv.weight_u @ conv.weight.flatten(1) @ conv.weight_v
    assert abs(sigma - torch.linalg.matrix_norm(conv.weight.flatten(1), 2)) > 0.1
    expected = conv2d(x, conv.weight / sigma, conv.bias, padding=1)
    torch.testing.assert_close(conv(x), expected)
    assert set(conv.state_dict()) == {"weight", "bias", "weight_u", "weight_v"}


def test_sigma_is_made_once_and_again_for_new_weights(conv):
    conv.eval()
    once = conv.divided
    conv(torch.randn(1, 3, 4, 4))
    assert conv.divided is once
    other = SpectralConv2d(3, 4, 3, padding=1)
    conv.load_state_dict(other.state_dict())
    torch.testing.assert_close(conv.divided, other.eval().divided)
    assert conv.train().divided is None


def test_half_weights_come_from_an_exact_quotient(conv):
    exact = conv.eval().divided.clone()
    assert torch.equal(conv.bfloat16().divided, exact.bfloat16())


def test_training_finds_the_norm_and_has_a_gradient(conv):
    conv.double()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    for _ in range(300):
        conv(x)
    norm = torch.linalg.matrix_norm(conv.weight.flatten(1), 2)
    torch.testing.assert_close(conv.weight_u @ conv.weight.flatten(1) @ conv.weight_v, norm)
    conv(x).square().sum().backward()
    expected = torch.autograd.functional.jacobian(
        lambda w: (
            conv2d(x, w / torch.linalg.matrix_norm(w.flatten(1), 2), conv.bias, padding=1).square().sum()
        ),
        conv.weight.detach(),
    )
    torch.testing.assert_close(conv.weight.grad, expected)


def test_a_gradient_is_of_its_own_run(conv):
    """Real and fake pictures pass before the gradients of either are taken, and each run refines u and v."""
    conv.double()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    first = conv(x).square().sum()
    u, v = conv.weight_u.clone(), conv.weight_v.clone()
    conv(x)
    assert not torch.equal(conv.weight_u, u)
    (actual,) = torch.autograd.grad(first, conv.weight)
    expected = torch.autograd.functional.jacobian(
        lambda w: conv2d(x, w / (u @ w.flatten(1) @ v), conv.bias, padding=1).square().sum(),
        conv.weight.detach(),
    )
    torch.testing.assert_close(actual, expected)


def test_autocast_leaves_the_norm_exact(conv):
    x = torch.randn(1, 3, 4, 4)
    other = SpectralConv2d(3, 4, 3, padding=1)
    other.load_state_dict(conv.state_dict())
    other(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
        quotient = conv.quotient()
    assert torch.equal(conv.weight_u, other.weight_u)
    assert torch.equal(quotient, other.quotient())


def test_a_block_is_its_formula():
    torch.manual_seed(0)
    block = SpadeBlock(8, 4, CONFIG).eval()
    x, guide = torch.randn(2, 8, 6, 6), torch.randn(2, 6, 3, 3)

    def modulated(spade: Spade, y: torch.Tensor) -> torch.Tensor:
        shared = relu(spade.shared(guide.repeat_interleave(2, 2).repeat_interleave(2, 3)))
        return instance_norm(y) * (1 + spade.gamma(shared)) + spade.beta(shared)

    y = block.conv_0(leaky_relu(modulated(block.spade_0, x), 0.2))
    y = block.conv_1(leaky_relu(modulated(block.spade_1, y), 0.2))
    torch.testing.assert_close(block(x, guide), block.conv_s(modulated(block.spade_s, x)) + y)
    same = SpadeBlock(8, 8, CONFIG)
    assert same.conv_s is None
    assert same.conv_0.out_channels == 8
