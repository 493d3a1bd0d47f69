# SPDX-License-Identifier: Apache-2.0
"""What the codec computes in float64 is what whole numbers give, on every machine."""

from importlib.resources import files
from math import isqrt

import numpy as np
import pytest
import torch
from codec_cases import one_by_one, wild

import fv2v
from fv2v.codec import MotionEncoder
from fv2v.codec.model import _DECAY, BINS, LARGEST, ONE, WEIGHT_BITS, Distribution, Frame, network
from fv2v.codec.quantize import DEGREES, LIMIT, Quantizer
from fv2v.codec.range_coder import TOTAL
from fv2v.geometry import euler_degrees

CONFIGS = [config for config in fv2v.PRESETS.values() if not config.direct]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_angles_are_those_of_the_geometry(config):
    quantizer, geometry = Quantizer(config, 0.01), config.geometry
    for motion in one_by_one(wild(config, 30, seed=2)):
        expected = euler_degrees(motion.rotation.double(), geometry.euler_order, pi=geometry.pi)
        found = quantizer.measure(motion)[:3] * quantizer.step * DEGREES
        assert np.abs(found - torch.cat(expected).numpy()).max() < 1e-9


def test_float64_is_exact_where_it_stands_for_whole_numbers():
    """Of the network: its weights are multiples of 2^-12, and no sum of products can reach 2^53."""
    shipped = network()
    assert shipped.largest_sum() < 2**53
    rng = np.random.default_rng(0)
    features = rng.choice([-LARGEST, -1, 0, 77, LARGEST], (500, 12))
    with files("fv2v.codec").joinpath("model.npz").open("rb") as file:
        stored = {name: value.astype(np.int64) for name, value in np.load(file).items()}
    x = features
    for layer in range(3):
        x = x @ stored[f"weight{layer}"] + stored[f"bias{layer}"] >> WEIGHT_BITS
        x = x.clip(0, LARGEST) if layer < 2 else x
    assert np.array_equal(shipped(features.astype(float)), x)


def test_no_feature_is_larger_than_said():
    for config in CONFIGS:
        encoder = MotionEncoder(config, step=1e-4)
        for motion in one_by_one(wild(config, 20, seed=3)):
            encoder.encode(motion)
            frame = Frame(encoder.contexts, encoder.quantizer.pose)
            for group in encoder.quantizer.groups(encoder.keypoints):
                assert np.abs(frame.enter(group)).max() <= LARGEST
                frame.leave(group, np.full(group.stop - group.start, LIMIT))


def test_distributions_are_those_of_whole_numbers():
    """The frequencies of float64's quotients, against Python's whole numbers, from still to extreme."""
    rng = np.random.default_rng(0)
    centre = rng.integers(-(1 << 40), 1 << 40, 300) >> rng.integers(0, 40, 300)
    scales = rng.integers(0, 400, (2, 300))
    weight = rng.integers(0, ONE, 300)
    distribution = Distribution(centre, scales, weight)
    found = distribution._starts(np.arange(2 * BINS + 2))
    for i in range(300):
        assert found[i].tolist() == frequencies(int(centre[i]), *scales[:, i].tolist(), int(weight[i]))


def frequencies(centre: int, near: int, far: int, weight: int) -> list[int]:
    near, far = (min(max(scale, 16), 328) for scale in (near, far))
    shift = max(near // 8 - 8, 0)
    first = (centre + 128 >> 8) - ((1 << shift) >> 1)
    starts = [0]
    for cell in range(1 - BINS, BINS + 1):
        at = (first + (cell << shift)) * 256 - 128 - centre
        parts = []
        for scale in (near, far):
            tail = int(_DECAY[min(abs(at) * 32 // isqrt(isqrt(isqrt(1 << scale))), len(_DECAY) - 1)]) >> 1
            parts.append(tail if at < 0 else TOTAL - tail)
        below = parts[0] * (256 - weight) + parts[1] * weight >> 8
        starts.append((below * (TOTAL - 21) >> 16) + len(starts))
    return [*starts, TOTAL]
