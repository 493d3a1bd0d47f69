# SPDX-License-Identifier: Apache-2.0
"""Between pictures and the frames of WebRTC, with as little work as there is: both happen for every frame."""

from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter


class Decoded:
    """Frames of one track as (H, W, 3) uint8 RGB.

    The converter is kept from frame to frame: its tables take longer than a frame does.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def picture(self, frame: av.VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8, of its own memory."""
        return self._reformatter.reformat(frame, format="rgb24").to_ndarray()


def to_frame(picture: np.ndarray) -> av.VideoFrame:
    """(H, W, 3) uint8 of even sides, as the encoder takes it: YUV 4:2:0, BT.601, limited range."""
    planes: Any = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")
