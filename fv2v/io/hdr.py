# SPDX-License-Identifier: Apache-2.0
"""High dynamic range shown on an ordinary screen: PQ and HLG of BT.2020 (ITU-R BT.2100) as 8-bit BT.709."""

from functools import cache

import cv2
import numpy as np
from av.video.reformatter import ColorTrc

BITS = 10  # of the R'G'B' that is read
DIFFUSE_WHITE = 203.0  # candela a square metre: ITU-R BT.2408
PEAK = 1000 / DIFFUSE_WHITE  # the brightest light that is still told apart
KNEE = 0.75  # light up to here is shown as it is, of a screen's 1; beyond it is compressed
SCREEN_GAMMA = 2.4  # ITU-R BT.1886
CURVES = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
TO_BT709 = np.array(  # ITU-R BT.2087, from BT.2020
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
LUMINANCE = np.array([[0.2627, 0.6780, 0.0593]], np.float32)  # of BT.2020


def to_sdr(signal: np.ndarray, curve: int) -> np.ndarray:
    """(H, W, 3) R'G'B' of 10 bit in uint16 -> uint8. `curve`: one of `CURVES`, as H.273 numbers them.

    Light is 1 at diffuse white. A pixel brighter than `KNEE` is dimmed as a whole, so that its hue stays.
    """
    light = _light(curve)[signal]
    if curve == ColorTrc.ARIB_STD_B67:  # the curve gives the scene's light; a screen of 1000 cd/m2 bends it
        scene = np.maximum(cv2.transform(light, LUMINANCE), 1e-6)
        light *= (PEAK * np.power(scene, 0.2))[..., None]
    brightest = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])
    light = cv2.transform(light, TO_BT709)
    light *= (_compressed(brightest) / np.maximum(brightest, 1e-6))[..., None]
    return np.rint(255 * np.power(np.clip(light, 0, 1), 1 / SCREEN_GAMMA)).astype(np.uint8)


def _compressed(light: np.ndarray) -> np.ndarray:
    """0 to `PEAK` -> 0 to 1, smooth at the knee (Reinhard's curve beyond it)."""
    beyond = np.maximum((light - KNEE) / (1 - KNEE), 0)
    white = (PEAK - KNEE) / (1 - KNEE)
    return np.minimum(light, KNEE) + (1 - KNEE) * beyond * (1 + beyond / white**2) / (1 + beyond)


@cache
def _light(curve: int) -> np.ndarray:
    """(1024,) float32 of every signal: of PQ a screen's light, of HLG the scene's, 1 at its peak."""
    signal = np.arange(1 << BITS) / ((1 << BITS) - 1)
    if curve == ColorTrc.SMPTE2084:
        power = np.power(signal, 1 / 78.84375)
        ratio = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        return (np.power(ratio, 1 / 0.1593017578125) * 10000 / DIFFUSE_WHITE).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)
