# SPDX-License-Identifier: Apache-2.0
"""Random changes of training pairs: colours, mirroring and reversal, alike for both frames of a pair.

Defaults are those of first-order-motion's public VoxCeleb configuration, which public face-vid2vid code kept.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from fv2v.data.pairs import Pairs, Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Probabilities and ranges. Brightness, contrast and saturation are scaled by 1 ± their value at most.

    Pairs with a truth are never mirrored: left and right landmarks would change places.
    """

    flip: float = 0.5  # probability of a mirror image
    reversal: float = 0.5  # probability that source and driving change places
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    hue: float = 0.1  # of a full turn, in either direction

    def __post_init__(self) -> None:
        for field in fields(self):
            value, most = getattr(self, field.name), 0.5 if field.name == "hue" else 1.0
            if not 0 <= value <= most:
                raise ValueError(f"AugmentConfig: expected {field.name} from 0 to {most:g}, got {value!r}")


def augment_pairs(pairs: Pairs, config: AugmentConfig, seed: int) -> Pairs:
    """Random changes, the same for all pairs of the batch; the pictures keep their dtype.

    Args:
        pairs: uint8, or float in [0, 1].
        config: probabilities and ranges.
        seed: all random numbers depend on it alone.
    """
    rng = np.random.default_rng((seed, 1 << 32))  # another stream than data sets use with the same seed
    mirrored, swapped = rng.random(2) < (config.flip, config.reversal)
    pictures = jitter(torch.cat([pairs.source, pairs.driving]), config, rng)
    if mirrored and pairs.truth is None:
        pictures = pictures.flip(-1)
    source, driving = pictures.chunk(2)
    truth = pairs.truth
    if swapped:
        source, driving = driving, source
        truth = truth and Truth(truth.canonical, source=truth.driving, driving=truth.source)
    return Pairs(source, driving, truth)


def jitter(pictures: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of (B, 3, H, W), in random order."""
    images = pictures / 255 if pictures.dtype == torch.uint8 else pictures
    changes = (
        (adjust_brightness, config.brightness),
        (adjust_contrast, config.contrast),
        (adjust_saturation, config.saturation),
        (adjust_hue, config.hue),
    )
    amounts = rng.uniform(-1, 1, len(changes))
    for place in rng.permutation(len(changes)):
        change, reach = changes[place]
        if reach:
            images = change(images, float(reach * amounts[place]))
    if pictures.dtype == torch.uint8:
        return images.mul(255).round().to(torch.uint8)
    return images


def adjust_brightness(images: Tensor, amount: float) -> Tensor:
    """(B, 3, H, W) in [0, 1], multiplied by 1 + amount; clipped, as in the functions below."""
    return (images * (1 + amount)).clamp(0, 1)


def adjust_contrast(images: Tensor, amount: float) -> Tensor:
    """(B, 3, H, W) in [0, 1]: distances to each picture's mean grey multiplied by 1 + amount."""
    mean = grey(images).mean((-2, -1), keepdim=True)
    return torch.lerp(mean, images, 1 + amount).clamp(0, 1)


def adjust_saturation(images: Tensor, amount: float) -> Tensor:
    """(B, 3, H, W) in [0, 1]: distances to each pixel's grey multiplied by 1 + amount."""
    return torch.lerp(grey(images).expand_as(images), images, 1 + amount).clamp(0, 1)


def adjust_hue(images: Tensor, amount: float) -> Tensor:
    """(B, 3, H, W) in [0, 1]: HSV's hue plus `amount`, in full turns (from red to green it is 1/3)."""
    red, green, blue = images.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    # in sixths of a turn: red is at 0, green at 2, blue at 4
    from_blue = red - green + 4 * chroma
    above = torch.where(
        value == red, green - blue, torch.where(value == green, blue - red + 2 * chroma, from_blue)
    )
    hue = above / chroma.clamp(min=1e-12) + 6 * amount
    turned = []
    for place in (0, 2, 4):
        away = hue - place
        away = (away - 6 * (away / 6).round()).abs()  # around the circle
        turned.append(value - chroma * (away - 1).clamp(0, 1))
    return torch.stack(turned, 1)


def grey(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W): the luma of ITU-R BT.601."""
    red, green, blue = images.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue
