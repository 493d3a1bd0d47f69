# SPDX-License-Identifier: Apache-2.0
"""Decoded frames as players show them: their colours, their shape, and which way up."""

from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace

from fv2v.io import hdr

UNSPECIFIED = 2  # matrix of Y'CbCr: ITU-T H.273
WIDEST_PIXEL = 10  # a sample aspect ratio beyond it, or below its inverse, is an error in the file


class Display:
    """Makes the pictures of one video stream: (H, W, 3) uint8 RGB, of square pixels, upright."""

    def __init__(self, stream: av.VideoStream) -> None:
        ratio = float(stream.sample_aspect_ratio or 1)
        self._pixel_width = ratio if 1 / WIDEST_PIXEL <= ratio <= WIDEST_PIXEL else 1.0
        self._first = True
        self._matrix: np.ndarray | None = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        if self._first:  # once: side data puts a frame into a reference cycle
            self._matrix, self._first = display_matrix(frame), False
        return upright(self._with_square_pixels(_rgb(frame)), self._matrix)

    def _with_square_pixels(self, image: np.ndarray) -> np.ndarray:
        """Stretched where its pixels are not square, never shrunk."""
        H, W = image.shape[:2]
        size = round(W * max(1.0, self._pixel_width)), round(H * max(1.0, 1 / self._pixel_width))
        return image if size == (W, H) else cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)


def _rgb(frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) uint8, as stored."""
    matrix = _assumed_matrix(frame)
    if frame.color_trc in hdr.CURVES:
        return hdr.to_sdr(frame.to_ndarray(format="gbrp10le", src_colorspace=matrix), frame.color_trc)
    return frame.to_ndarray(format="rgb24", src_colorspace=matrix)


def _assumed_matrix(frame: av.VideoFrame) -> Colorspace | None:
    """The matrix of Y'CbCr that players assume where a file does not state it; None: FFmpeg's choice."""
    if frame.colorspace != UNSPECIFIED or frame.format.is_rgb or frame.format.has_palette:
        return None
    if frame.color_trc in hdr.CURVES:
        return Colorspace.BT2020
    return Colorspace.ITU709 if frame.width >= 1280 or frame.height > 576 else None


def display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """((a, b), (c, d)): a stored point (x, y) is shown at (a x + c y, b x + d y); None: as it is stored."""
    stored: Any = frame.side_data.get("DISPLAYMATRIX")
    if stored is None:
        return None
    fixed_point = np.frombuffer(stored, np.int32).reshape(3, 3)[:2, :2]
    return np.rint(fixed_point / 65536).astype(int)


def upright(image: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """(H, W, 3) as it should be shown: quarter turns and mirrors."""
    if matrix is None:
        return image
    (a, b), (c, d) = matrix
    if a == 0 and d == 0:
        image, a, d = image.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
