"""Chance for training pairs: colours, mirrors and time reversal, the same for both frames of a pair.

Defaults are those of first-order-motion's public VoxCeleb configuration, which public face-vid2vid code kept.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from fv2v.data.pairs import Pairs, Truth

GREY = (0.299, 0.587, 0.114)  # of R, G, B: ITU-R BT.601


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How likely, and how far. The factors of brightness, contrast and saturation are 1 ± so much."""

    flip: float = (
        0.5  # probability of a mirror image; never of pairs with a truth, it would swap left and right
    )
    reversal: float = 0.5  # probability that source and driving change places
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    hue: float = 0.1  # ± so much of a full turn

    def __post_init__(self) -> None:
        for field in fields(self):
            value, most = getattr(self, field.name), 0.5 if field.name == "hue" else 1.0
            if not 0 <= value <= most:
                raise ValueError(f"AugmentConfig: expected {field.name} from 0 to {most:g}, got {value!r}")


def augmented(pairs: Pairs, config: AugmentConfig, seed: int) -> Pairs:
    """Changed as `seed` says, all pairs of the batch alike; the pictures keep their dtype.

    Args:
        pairs: uint8, or float in [0, 1].
        config: how likely, and how far.
        seed: all that is random depends on it alone.
    """
    rng = np.random.default_rng((seed, 1 << 32))  # not the chance that a data set draws from the same seed
    mirrored, turned = rng.random(2) < (config.flip, config.reversal)
    pictures = jitter(torch.cat([pairs.source, pairs.driving]), config, rng)
    if mirrored and pairs.truth is None:
        pictures = pictures.flip(-1)
    source, driving = pictures.chunk(2)
    truth = pairs.truth
    if turned:
        source, driving = driving, source
        truth = truth and Truth(truth.canonical, source=truth.driving, driving=truth.source)
    return Pairs(source, driving, truth)


def jitter(pictures: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue of (B, 3, H, W), in an order that is random, too."""
    images = pictures / 255 if pictures.dtype == torch.uint8 else pictures
    changes = (
        (brightened, config.brightness),
        (contrasted, config.contrast),
        (saturated, config.saturation),
        (hue_turned, config.hue),
    )
    amounts = rng.uniform(-1, 1, len(changes))
    for place in rng.permutation(len(changes)):
        change, reach = changes[place]
        if reach:
            images = change(images, float(reach * amounts[place]))
    if pictures.dtype == torch.uint8:
        return images.mul(255).round().to(torch.uint8)
    return images


def brightened(images: Tensor, amount: float) -> Tensor:
    """(B, 3, H, W) in [0, 1], away from black by so much; clipped, as all of these."""
    return (images * (1 + amount)).clamp(0, 1)


def contrasted(images: Tensor, amount: float) -> Tensor:
    """(B, 3, H, W) in [0, 1], away from the mean grey of each picture."""
    mean = grey(images).mean((-2, -1), keepdim=True)
    return torch.lerp(mean, images, 1 + amount).clamp(0, 1)


def saturated(images: Tensor, amount: float) -> Tensor:
    """(B, 3, H, W) in [0, 1], away from each pixel's grey."""
    return torch.lerp(grey(images).expand_as(images), images, 1 + amount).clamp(0, 1)


def hue_turned(images: Tensor, amount: float) -> Tensor:
    """(B, 3, H, W) in [0, 1], with the hue of HSV moved on by so much of a full turn (red to green: 1/3)."""
    red, green, blue = images.unbind(1)
    value, strongest = images.max(1)
    chroma = value - images.amin(1)
    from_strongest = torch.stack([green - blue, blue - red, red - green]).gather(0, strongest[None])[0]
    sector = from_strongest / chroma.clamp(min=1e-12) + 2 * strongest + 6 * amount  # of six
    # Smith 1978, in closed form: each channel is the value, less the chroma where its sector is far
    away = [(sector + shift).remainder(6) for shift in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in away], 1).clamp(0, 1)


def grey(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W)."""
    weights = torch.tensor(GREY, dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True)
