# SPDX-License-Identifier: Apache-2.0
"""Transparent pictures: (H, W, 4) uint8 RGBA, the colours not multiplied by the opacity."""

import numpy as np


def with_opacity(image: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """(H, W, 4): what shows `image` (H, W, 3) when it is laid over white, as opaque as (H, W) uint8 says.

    `read_image` lays transparent pictures over white: their own colours come back, and no white edge with
    them, as far as 8 bits hold them. Where nothing can be seen they are white.
    """
    share = opacity[..., None].astype(np.float32) / 255
    colours = 255 - (255 - image.astype(np.float32)) / np.maximum(share, 1 / 255)
    return np.concatenate([np.rint(colours).clip(0, 255).astype(np.uint8), opacity[..., None]], axis=2)
