# SPDX-License-Identifier: Apache-2.0
"""Where live pictures go: a window of the user's OpenCV, a virtual camera, a film."""

import os
import re
import sys
from typing import Any, Protocol

import cv2
import numpy as np

NAME = "fv2v"
VIRTUAL = (
    "--virtual needs pyvirtualcam, which is no part of fv2v (its licence is GPL-2): pip install pyvirtualcam"
)
FPS = 25  # what a virtual camera states


class Screen(Protocol):
    """Shows pictures."""

    def show(self, image: np.ndarray) -> object:
        """(n, n, 3) uint8 RGB."""

    def close(self) -> None: ...


class Window:
    """A window, and the keys pressed in it.

    Raises:
        ValueError: no window can be shown; it says why.
    """

    def __init__(self) -> None:
        if (why := no_window()) is not None:
            raise ValueError(f"no window can be shown: {why}")
        cv2.namedWindow(NAME, cv2.WINDOW_NORMAL)

    def show(self, image: np.ndarray) -> None:
        cv2.imshow(NAME, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def key(self) -> str:
        """The key pressed since this was last asked; "" for none."""
        code = cv2.waitKey(1)
        return "" if code < 0 else chr(code & 0xFF)

    def close(self) -> None:
        cv2.destroyWindow(NAME)


def no_window() -> str | None:
    """Why OpenCV can show no window here; None: it can."""
    gui = re.search(r"GUI:\s*(\S+)", cv2.getBuildInformation())
    if gui is None or gui[1] == "NONE":
        return "this OpenCV was built without any (opencv-python has them, opencv-python-headless has not)"
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    return None


class VirtualCamera:
    """A camera that other programs see, by the user's own pyvirtualcam.

    Raises:
        ValueError: it is not installed, or finds no driver of a virtual camera.
    """

    def __init__(self) -> None:
        try:
            import pyvirtualcam
        except ImportError:
            raise ValueError(VIRTUAL) from None
        self._make = pyvirtualcam.Camera
        self._camera: Any = None

    def show(self, image: np.ndarray) -> None:
        if self._camera is None:
            H, W, _ = image.shape
            try:
                self._camera = self._make(width=W, height=H, fps=FPS)
            except RuntimeError as error:  # as it tells that there is no driver
                raise ValueError(f"--virtual: {' '.join(str(error).split())}") from None
        self._camera.send(image)

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
