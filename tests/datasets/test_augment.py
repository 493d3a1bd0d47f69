# SPDX-License-Identifier: Apache-2.0
"""Augmentation against formulas written otherwise, and what it must leave alone."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch

from fv2v.data.augment import (
    AugmentConfig,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    augment_pairs,
)
from fv2v.data.pairs import Pairs, Truth
from fv2v.geometry import Motion

NOTHING = AugmentConfig(flip=0, reversal=0, brightness=0, contrast=0, saturation=0, hue=0)
AMOUNTS = (-0.4, -0.1, 0.0, 0.1, 0.4)


def pictures(seed: int = 0, B: int = 2) -> torch.Tensor:
    images = torch.rand(B, 3, 6, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    images[0, :, 0] = torch.tensor([[0, 1, 1, 0.5, 0.2]] * 3, dtype=torch.float64)  # greys
    images[0, :, 1, :3] = torch.eye(3, dtype=torch.float64)
    return images


def pixelwise(images: torch.Tensor, change) -> torch.Tensor:
    flat = [change(*rgb) for rgb in images.permute(0, 2, 3, 1).reshape(-1, 3).tolist()]
    B, _, H, W = images.shape
    return torch.tensor(flat, dtype=images.dtype).reshape(B, H, W, 3).permute(0, 3, 1, 2)


def motion(B: int, seed: int) -> Motion:
    generator = torch.Generator().manual_seed(seed)
    return Motion(
        *(torch.randn(shape, generator=generator) for shape in ((B, 3, 3), (B, 3), (B, 5, 3), (B, 1)))
    )


def with_truth(B: int = 2) -> Pairs:
    source, driving = (pictures(seed, B).mul(255).to(torch.uint8) for seed in (0, 1))
    return Pairs(source, driving, Truth(torch.randn(B, 5, 3), motion(B, 0), motion(B, 1)))


@pytest.mark.parametrize("amount", AMOUNTS)
def test_hue_is_that_of_colorsys(amount):
    def turned(r, g, b):
        h, s, v = colorsys.rgb_to_hsv(r, g, b)
        return colorsys.hsv_to_rgb((h + amount) % 1, s, v)

    torch.testing.assert_close(adjust_hue(pictures(), amount), pixelwise(pictures(), turned))


def test_a_third_of_a_turn_makes_red_green():
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    assert adjust_hue(red, 1 / 3).flatten().tolist() == pytest.approx([0, 1, 0], abs=1e-6)


@pytest.mark.parametrize("amount", AMOUNTS)
def test_brightness_contrast_and_saturation(amount):
    images, factor = pictures().numpy(), 1 + amount
    luma = 0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2]
    expected = {
        adjust_brightness: images * factor,
        adjust_contrast: np.stack(
            [factor * i + (1 - factor) * y.mean() for i, y in zip(images, luma, strict=True)]
        ),
        adjust_saturation: factor * images + (1 - factor) * luma[:, None],
    }
    for change, result in expected.items():
        np.testing.assert_allclose(change(pictures(), amount), np.clip(result, 0, 1), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_both_frames_change_alike_and_keep_their_dtype(dtype):
    image = pictures()
    image = image.mul(255).to(torch.uint8) if dtype == torch.uint8 else image.float()
    for seed in range(10):
        changed = augment_pairs(Pairs(image, image), AugmentConfig(), seed)
        assert changed.source.dtype == dtype
        assert torch.equal(changed.source, changed.driving)
        assert not torch.equal(changed.source, image)
        assert changed.source.shape == image.shape


def test_the_same_seed_gives_the_same_pair():
    pairs = Pairs(pictures(0), pictures(1))
    results = [augment_pairs(pairs, AugmentConfig(), seed).source for seed in (5, 6, 5)]
    assert torch.equal(results[0], results[2])
    assert not torch.equal(results[0], results[1])


def test_nothing_asked_for_changes_nothing():
    levels = torch.arange(256, dtype=torch.uint8).repeat(3, 1).view(1, 3, 16, 16)
    pairs = augment_pairs(Pairs(levels, levels.flip(2)), NOTHING, 0)
    assert torch.equal(pairs.source, levels)
    assert torch.equal(pairs.driving, levels.flip(2))


def test_jitter_stays_within_its_reach_and_fills_it():
    config = AugmentConfig(flip=0, reversal=0, brightness=0.2, contrast=0, saturation=0, hue=0)
    half = torch.full((1, 3, 4, 4), 0.5)
    factors = [
        2 * float(augment_pairs(Pairs(half, half), config, seed).source[0, 0, 0, 0]) for seed in range(300)
    ]
    assert 0.8 <= min(factors) < 0.81
    assert 1.19 < max(factors) <= 1.2


def test_mirrors_and_reversals_are_as_frequent_as_asked_for():
    pairs = Pairs(pictures(0), pictures(1))
    config = replace(NOTHING, flip=0.25, reversal=0.6)
    found = [augment_pairs(pairs, config, seed) for seed in range(400)]
    mirrored = [
        any(torch.equal(each.source, i.flip(3)) for i in (pairs.source, pairs.driving)) for each in found
    ]
    turned = [
        any(torch.equal(each.source, i) for i in (pairs.driving, pairs.driving.flip(3))) for each in found
    ]
    assert np.mean(mirrored) == pytest.approx(0.25, abs=0.08)
    assert np.mean(turned) == pytest.approx(0.6, abs=0.08)
    assert np.corrcoef(mirrored, turned)[0, 1] == pytest.approx(0, abs=0.15)


def test_a_pair_with_a_truth_is_never_mirrored_and_its_truth_turns_with_it():
    pairs, swaps = with_truth(), 0
    for seed in range(20):
        changed = augment_pairs(pairs, replace(NOTHING, flip=1, reversal=0.5), seed)
        truth = changed.truth
        assert torch.equal(truth.canonical, pairs.truth.canonical)
        if torch.equal(changed.source, pairs.driving):
            swaps += 1
            assert torch.equal(changed.driving, pairs.source)
            assert (truth.source, truth.driving) == (pairs.truth.driving, pairs.truth.source)
        else:
            assert torch.equal(changed.source, pairs.source)
            assert (truth.source, truth.driving) == (pairs.truth.source, pairs.truth.driving)
    assert 0 < swaps < 20


@pytest.mark.parametrize(
    ("name", "value"), [("flip", 1.5), ("reversal", -0.1), ("hue", 0.6), ("contrast", float("nan"))]
)
def test_amounts_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"AugmentConfig: expected {name} from 0 to"):
        AugmentConfig(**{name: value})
