# SPDX-License-Identifier: Apache-2.0
"""YuNet from the user's own file (OpenCV's zoo has it as face_detection_yunet_*.onnx), run by OpenCV."""

import cv2
import numpy as np

from fv2v.io.paths import PathLike, check_input

LEAST = 0.2  # the score below which a hit is not worth a second look


class YuNet:
    """Boxes and points: a `search.Network`.

    Args:
        path: the .onnx.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is none that OpenCV can run as YuNet.
    """

    def __init__(self, path: PathLike) -> None:
        self._path = check_input(path)
        try:
            self._network = cv2.FaceDetectorYN.create(str(self._path), "", (32, 32), LEAST)
            self(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            raise ValueError(
                f"{path}: expected a YuNet that OpenCV can run (face_detection_yunet_*.onnx), "
                f"got one that fails with: {error.err or error.msg}"
            ) from None

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """(n, 15): see `search.Network`."""
        H, W = picture.shape[:2]
        self._network.setInputSize((W, H))
        _, found = self._network.detect(np.ascontiguousarray(picture[..., ::-1]))
        return np.roll(np.asarray(found, np.float64), 1, axis=1) if found is not None else np.empty((0, 15))
