# SPDX-License-Identifier: Apache-2.0
"""D: what a scale computes, what the scales see, and how it trains."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d, instance_norm, leaky_relu

from fv2v.config import DiscriminatorConfig
from fv2v.losses import discriminator_loss
from fv2v.networks import Discriminator
from fv2v.networks.spade import SpectralConv2d

TINY = DiscriminatorConfig(widths=(4, 6), scales=2)


def convolutions(model: Discriminator) -> list[SpectralConv2d]:
    return [layer for layer in model.modules() if isinstance(layer, SpectralConv2d)]


AT_256, AT_512 = [126, 61, 29, 26], [254, 125, 61, 58]  # sides of the feature maps


@pytest.mark.parametrize(("size", "sides"), [(256, [AT_256]), (512, [AT_512, AT_256])])
def test_the_papers_sizes(size, sides):
    """One scale at 256 px, two at 512, the second of which sees 256."""
    with torch.device("meta"):
        scales = Discriminator(DiscriminatorConfig(scales=len(sides)))(torch.empty(2, 3, size, size))
    assert [[tuple(each.shape) for each in scale.features] for scale in scales] == [
        [(2, width, side, side) for width, side in zip((64, 128, 256, 512), of_scale, strict=True)]
        for of_scale in sides
    ]
    assert [scale.scores.shape for scale in scales] == [(2, 1, side[-1], side[-1]) for side in sides]


def test_a_scale_is_its_formula():
    model = Discriminator(DiscriminatorConfig(widths=(4, 6, 5))).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter)
    image = torch.rand(2, 3, 40, 36)
    (actual,) = model(image)

    def spectral(x: torch.Tensor, conv: SpectralConv2d) -> torch.Tensor:
        sigma = conv.weight_u @ conv.weight.flatten(1) @ conv.weight_v
        return conv2d(x, conv.weight / sigma, conv.bias)

    first, second, third = model.scales[0].blocks
    one = avg_pool2d(leaky_relu(spectral(image, first.conv), 0.2), 2)
    two = instance_norm(spectral(one, second.conv), weight=second.norm.weight, bias=second.norm.bias)
    two = avg_pool2d(leaky_relu(two, 0.2), 2)
    three = instance_norm(spectral(two, third.conv), weight=third.norm.weight, bias=third.norm.bias)
    three = leaky_relu(three, 0.2)
    torch.testing.assert_close(actual.features, (one, two, three))
    torch.testing.assert_close(actual.scores, spectral(three, model.scales[0].score))


def test_the_second_scale_sees_means_of_four_pixels_with_weights_of_its_own():
    model, image = Discriminator(TINY).eval(), torch.rand(2, 3, 32, 48)
    halved = image.unflatten(3, (24, 2)).unflatten(2, (16, 2)).mean((3, 5))
    full, half = model(image)
    torch.testing.assert_close(half.scores, model.scales[1](halved).scores)
    torch.testing.assert_close(full.scores, model.scales[0](image).scores)
    assert not torch.equal(model.scales[0].score.weight, model.scales[1].score.weight)


def test_norms_are_one_after_some_runs():
    model = Discriminator(TINY)
    with torch.no_grad():
        for conv in convolutions(model):
            conv.weight.mul_(7)
        for _ in range(50):
            model(torch.rand(1, 3, 32, 32))
    assert len(convolutions(model)) == 6
    for conv in convolutions(model):
        norm = torch.linalg.matrix_norm(conv.quotient().flatten(1), 2).item()
        assert norm == pytest.approx(1, abs=0.02)


def test_it_learns_to_tell_light_specks_from_dark_ones():
    """Real and fake both pass before a gradient is taken."""
    model = Discriminator(DiscriminatorConfig(widths=(8, 8)))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(60):
        light, dark = (torch.rand(2, 4, 3, 32, 32) < 0.02).float()
        loss = discriminator_loss(model(light), model(1 - dark))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.9, "it starts without an opinion: 2"
    assert losses[-1] < 1.6


@pytest.mark.parametrize(
    "config", [TINY, DiscriminatorConfig(widths=(4, 4, 4, 4)), DiscriminatorConfig(widths=(4,))]
)
def test_the_smallest_picture_leaves_two_patches_a_side(config):
    model, side = Discriminator(config), config.smallest
    assert model(torch.rand(1, 3, side, side))[-1].scores.shape == (1, 1, 2, 2)
    with pytest.raises(ValueError, match=f"pictures of {side} px a side at least"):
        model(torch.rand(1, 3, side, side - config.scales))


def test_a_picture_that_does_not_halve_is_an_error():
    with pytest.raises(ValueError, match="halve 1 times"):
        Discriminator(TINY)(torch.rand(1, 3, 33, 32))


@pytest.mark.parametrize("wrong", [{"widths": ()}, {"scales": 0}])
def test_a_config_without_layers_or_scales_is_an_error(wrong):
    with pytest.raises(ValueError, match="expected a width at least and scales >= 1"):
        DiscriminatorConfig(**wrong)
