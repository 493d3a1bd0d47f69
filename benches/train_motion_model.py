# SPDX-License-Identifier: Apache-2.0
"""Trains the network of fv2v/codec/model.py and writes its model.npz.

`python benches/train_motion_model.py MOTION ... -o fv2v/codec/model.npz`, files as `fv2v.read_motion` reads
them. Each is seen at many steps, as it is, with every other frame left out, and with noise. With
`--held-out FILE` that one is left out and measured: bytes a frame, without headers.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import fv2v
from fv2v.codec.model import ONE, WEIGHT_BITS, Contexts, Frame
from fv2v.codec.quantize import Quantizer

MEASURED = (0.004, 0.001, 0.0005)
STEPS = np.geomspace(0.00035, 0.007, 14)
HIDDEN, EPOCHS, BATCH = 16, 14, 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("motion", nargs="+", type=Path)
    parser.add_argument("--held-out", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    files = [path for path in given.motion if path != given.held_out]
    parts = [
        samples(path, step * rng.uniform(0.95, 1.05), variant, rng)
        for path in files
        for step in STEPS
        for variant in ("plain", "plain", "sparse", "noisy")
    ]
    features, changes, units = (torch.cat(part) for part in zip(*parts, strict=True))
    network = train(features, changes, units)
    if given.output:
        write(network, given.output)
    for path in [given.held_out] if given.held_out else files:
        for step in MEASURED:
            x, y, unit = samples(path, step, "plain", rng)
            frames = len(fv2v.read_motion(path)) - 1
            bits = cost(network(x), y, unit).sum().item()
            print(f"{path.name} {step}: {bits / 8 / frames:.2f}")


def samples(path: Path, step: float, variant: str, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Features (N, 12), changes (N,) and units (N,), in units and steps."""
    sequence = fv2v.read_motion(path)
    quantizer = Quantizer(fv2v.preset(sequence.preset), step)
    motion = sequence.motion
    numbers = np.stack([quantizer.measure(motion[i : i + 1]) for i in range(len(motion))])
    if variant == "sparse":
        numbers = numbers[::2]
    if variant == "noisy":
        size = 0.5 * rng.uniform() * np.abs(np.diff(numbers, axis=0)).mean(0)
        numbers = numbers + size * rng.normal(size=numbers.shape)
    whole = np.rint(numbers).astype(np.int64)
    contexts = Contexts.after_refresh(whole[0], quantizer.config.keypoints)
    seen = []
    for now in whole[1:]:
        change = now - contexts.numbers
        frame = Frame(contexts, quantizer.pose)
        for group in quantizer.groups(quantizer.config.keypoints):
            frame.enter(group)
            frame.leave(group, change[group])
        seen.append((frame.features.copy(), change, frame.unit))
        contexts = contexts.after(change, frame.expected, quantizer.config.keypoints)
    x, y, unit = (np.concatenate(part) for part in zip(*seen, strict=True))
    return tuple(torch.from_numpy(part / scale).float() for part, scale in ((x, ONE), (y, 1), (unit, ONE)))


def cost(output: Tensor, changes: Tensor, units: Tensor) -> Tensor:
    """Bits of each change."""
    centre, near, wider, weight = output.unbind(1)
    scale = (units * torch.exp2(near.clamp(-8, 6))).clamp(min=1 / 64)
    far = scale * torch.exp2(wider.clamp(min=0))
    weight = weight.clamp(0, 240 / 256)
    at = changes - centre * units
    share = (1 - weight) * _mass(at, scale) + weight * _mass(at, far)
    return -torch.log2(share * (1 - 21 / 65536) + 1 / 65536)


def _mass(at: Tensor, scale: Tensor) -> Tensor:
    return _below((at + 0.5) / scale) - _below((at - 0.5) / scale)


def _below(x: Tensor) -> Tensor:
    return torch.where(x < 0, 0.5 * x.clamp(max=0).exp(), 1 - 0.5 * (-x.clamp(min=0)).exp())


def train(x: Tensor, y: Tensor, units: Tensor) -> nn.Sequential:
    network = nn.Sequential(
        nn.Linear(x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 4)
    )
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    with torch.no_grad():
        network[-1].weight.mul_(0.1)
        network[-1].bias.copy_(torch.tensor([0.0, -0.5, 1.5, 0.3]))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    batches = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * batches)
    normal = (x - mean) / deviation
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x))[: batches * BATCH].split(BATCH):
            optimizer.zero_grad()
            cost(network(normal[chosen]), y[chosen], units[chosen]).mean().backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():  # the first layer takes features as they are
        network[0].weight.div_(deviation)
        network[0].bias.sub_(network[0].weight @ mean)
    return network.requires_grad_(False)


def write(network: nn.Sequential, path: Path) -> None:
    arrays = {}
    for i, layer in enumerate(each for each in network if isinstance(each, nn.Linear)):
        arrays[f"weight{i}"] = (layer.weight.T * (1 << WEIGHT_BITS)).round().numpy().astype(np.int32)
        arrays[f"bias{i}"] = (layer.bias * ONE * (1 << WEIGHT_BITS)).round().numpy().astype(np.int64)
    np.savez(path, **arrays)


if __name__ == "__main__":
    main()
